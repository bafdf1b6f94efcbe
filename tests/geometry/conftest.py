"""Small scenes with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from roomseg.geometry.mesh import TriangleMesh, join_meshes, plain_mesh
from roomseg.labels import PANOROOMS3D

ROOM_M = np.array([[0.0, 0.0, 0.0], [4.0, 3.0, 2.5]])
TABLE_M = np.array([[2.4, 1.8, 0.0], [3.4, 2.6, 0.8]])
CAMERA_M = np.array([1.53, 1.21, 1.47])


def box_mesh(corners_m: np.ndarray, label: int, color: tuple[int, int, int]) -> TriangleMesh:
    """The 12 triangles of an axis-aligned box from its lowest and highest corner."""
    low, high = corners_m
    vertices = np.array([[(low, high)[i][0], (low, high)[j][1], (low, high)[k][2]] for i, j, k in np.ndindex(2, 2, 2)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [(a, b, c) for a, b, c, _ in quads] + [(a, c, d) for a, _, c, d in quads]
    return plain_mesh(vertices, np.array(faces), label, color)


@pytest.fixture(scope="session")
def box_room() -> TriangleMesh:
    """A room of 4 x 3 x 2.5 m, all wall, with a solid table."""
    walls = box_mesh(ROOM_M, PANOROOMS3D.id("wall"), (200, 190, 180))
    return join_meshes([walls, box_mesh(TABLE_M, PANOROOMS3D.id("table"), (140, 90, 50))])


@pytest.fixture(scope="session")
def room_m() -> np.ndarray:
    return ROOM_M


@pytest.fixture(scope="session")
def table_m() -> np.ndarray:
    return TABLE_M


@pytest.fixture(scope="session")
def camera_m() -> np.ndarray:
    return CAMERA_M
