"""Boxes as meshes."""

from __future__ import annotations

import numpy as np

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.boxes import Box
from roomseg.scenes.surfaces import Finish, quads

# Corners of a cuboid's six faces (0 low, 1 high along x, y, z), counter-clockwise from outside.
CUBOID_FACES = np.array(
    [
        [(0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1)],
        [(1, 1, 0), (0, 1, 0), (0, 1, 1), (1, 1, 1)],
        [(0, 1, 0), (0, 0, 0), (0, 0, 1), (0, 1, 1)],
        [(1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1)],
        [(0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)],
        [(0, 1, 0), (1, 1, 0), (1, 0, 0), (0, 0, 0)],
    ]
)


def cuboid(box: Box, label: int, finish: Finish) -> TriangleMesh:
    """The six sides of a box."""
    (half_x, half_y), cos, sin = np.array(box.size_m) / 2, np.cos(box.yaw_rad), np.sin(box.yaw_rad)
    low = np.array([-half_x, -half_y, box.low_m])
    high = np.array([half_x, half_y, box.high_m])
    local = np.where(CUBOID_FACES == 0, low, high)  # (6, 4, 3)
    turned = local @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    return quads(turned + np.array([*box.center_m, 0]), label, finish)
