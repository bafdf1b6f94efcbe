"""A cloud of points as little squares, so that it can be drawn as a mesh is."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from roomseg.errors import UserError
from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.user_scan.samples import fitted_normals

GRAIN_M = 0.02  # one square for all points in a cube of this side
HALF_M = (0.012, 0.06)  # least and largest half side
OVERLAP = 0.75  # half side, as a share of the way to the neighbours
MAX_SQUARES = 5_000_000


def surfels(points: np.ndarray, color: np.ndarray) -> TriangleMesh:  # (N, 3) metres, (N, 3) uint8
    """Two triangles a square, across the cloud's normal, as large as the gaps between the squares ask."""
    points, color = _grains(points, color)
    if len(points) > MAX_SQUARES:
        raise UserError(f"got a cloud with {len(points):,} places of 2 cm; expected at most {MAX_SQUARES:,}: cut it up")
    normal = fitted_normals(points, points)
    gap = cKDTree(points).query(points, min(5, len(points)), workers=-1)[0][:, -1]  # (N,)
    half = np.clip(OVERLAP * gap, *HALF_M)[:, None]
    helper = np.where(np.abs(normal[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    u = np.cross(normal, helper)
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    v = np.cross(normal, u)
    n = len(points)
    vertices = np.stack([points + half * (a * u + b * v) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))], axis=1)
    faces = 4 * np.arange(n)[:, None, None] + np.array([[0, 1, 2], [0, 2, 3]])
    return TriangleMesh(
        vertices=vertices.reshape(-1, 3).astype(np.float32),
        faces=faces.reshape(-1, 3).astype(np.int32),
        face_label=np.zeros(2 * n, np.uint8),
        face_color=np.repeat(color, 2, axis=0),
        face_texture=np.full(2 * n, -1, np.int32),
        uv=np.zeros((2 * n, 3, 2), np.float32),
    )


def _grains(points: np.ndarray, color: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The means of the points and colours in each cube."""
    cube = np.unique(np.floor(points / GRAIN_M).astype(np.int64), axis=0, return_inverse=True)[1].ravel()
    count = np.bincount(cube)[:, None]
    place, paint = (np.stack([np.bincount(cube, axis) for axis in a.T.astype(np.float64)], 1) for a in (points, color))
    return place / count, np.rint(paint / count).astype(np.uint8)
