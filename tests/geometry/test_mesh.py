"""Normals and areas of triangles, by hand."""

from __future__ import annotations

import numpy as np

from roomseg.geometry.mesh import face_areas, face_normals


def test_a_triangle_that_lies_flat_and_one_that_stands() -> None:
    corners = np.array([[(0, 0, 1), (3, 0, 1), (0, 4, 1)], [(0, 0, 0), (0, 0, 2), (0, 5, 0)]], float)
    np.testing.assert_array_equal(face_areas(corners), [6, 5])
    np.testing.assert_array_equal(face_normals(corners), [(0, 0, 12), (-10, 0, 0)])
    np.testing.assert_array_equal(face_normals(corners[:, ::-1]), [(0, 0, -12), (10, 0, 0)])
