"""A coarse grid of the points that a depth picture shows."""

from __future__ import annotations

import numpy as np

from roomseg.geometry.cameras import Pinhole


def grid_points(
    depth: np.ndarray,  # (H, W) metres, 0 = none
    camera: Pinhole,
    pose: np.ndarray,  # (4, 4)
    across: int,
) -> tuple[np.ndarray, np.ndarray]:  # (h, w, 3) metres in the world, (h, w) bool: has depth
    """Every so many pixels that about ``across`` of a row are left."""
    step = max(1, camera.width // across)
    rows, cols = (np.arange(step // 2, side, step) for side in (camera.height, camera.width))
    z = depth[np.ix_(rows, cols)].astype(np.float64)
    x, y = (cols + 0.5 - camera.cx) / camera.fx * z, (rows[:, None] + 0.5 - camera.cy) / camera.fy * z
    return np.stack([x, y, z], axis=-1) @ pose[:3, :3].T + pose[:3, 3], z > 0
