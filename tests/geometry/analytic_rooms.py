"""Rooms whose distance to the nearest surface is a formula: a box, a box with furniture, a cylinder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

VOXEL_M, TRUNCATION, MARGIN = 0.04, 5, 5
SIZE_M = np.array([3.2, 2.8, 2.4])
CAMERA_M = np.array([1.33, 1.41, 1.45])
CAMERA_VOXEL = CAMERA_M / VOXEL_M + MARGIN
Distance = Callable[[np.ndarray], np.ndarray]  # (..., 3) metres -> (...) metres, + in free space


def distance_to_box(p: np.ndarray, low: list[float], high: list[float]) -> np.ndarray:
    """Signed, + outside."""
    q = np.maximum(np.array(low) - p, p - np.array(high))
    return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(axis=-1), 0)


def box(p: np.ndarray) -> np.ndarray:
    return -distance_to_box(p, [0, 0, 0], SIZE_M.tolist())


def furnished(p: np.ndarray) -> np.ndarray:
    """With a cupboard, a bed, a table top of 1.5 voxels and its leg."""
    cupboard = distance_to_box(p, [2.2, 0.0, 0.0], [3.2, 0.6, 1.7])
    bed = distance_to_box(p, [0.0, 0.2, 0.0], [0.9, 1.0, 0.5])
    table_top = distance_to_box(p, [0.3, 1.9, 0.70], [1.9, 2.5, 0.76])
    leg = distance_to_box(p, [1.0, 2.1, 0.0], [1.1, 2.2, 0.7])
    return np.minimum.reduce([box(p), cupboard, bed, table_top, leg])


def cylinder(p: np.ndarray) -> np.ndarray:
    """A round room with a pillar."""
    from_axis = np.hypot(p[..., 0] - 1.5, p[..., 1] - 1.4)
    pillar = np.hypot(p[..., 0] - 2.3, p[..., 1] - 1.7) - 0.2
    return np.minimum.reduce([1.39 - from_axis, pillar, p[..., 2], SIZE_M[2] - p[..., 2]])


ROOMS: dict[str, Distance] = {"box": box, "furnished": furnished, "cylinder": cylinder}


def sampled(distance: Distance) -> np.ndarray:  # (X, Y, Z) int8
    """The room's TSDF, unseen deep behind surfaces, with the margin around the walls."""
    shape = np.rint(SIZE_M / VOXEL_M).astype(int) + 1 + 2 * MARGIN
    points = (np.stack(np.indices(shape), axis=-1) - MARGIN) * VOXEL_M
    tsdf = distance(points) / (TRUNCATION * VOXEL_M)
    return np.rint(127 * np.where(tsdf < -1, 1, np.clip(tsdf, -1, 1))).astype(np.int8)


def true_depth_m(distance: Distance, rays: np.ndarray) -> np.ndarray:  # (..., 3) unit -> (...)
    """How far the first surface is, by sphere tracing the exact distance."""
    depth = np.zeros(rays.shape[:-1])
    for _ in range(500):
        depth += np.maximum(distance(CAMERA_M + depth[..., None] * rays), 1e-7)
    return depth
