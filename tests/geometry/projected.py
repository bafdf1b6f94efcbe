"""From directions to pixels and from pixels to points: what the product's cameras and panoramas are checked by."""

from __future__ import annotations

import numpy as np

from roomseg.geometry.cameras import Pinhole


def pixel_of(direction: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray]:  # (..., 3) -> (...), (...) int64
    """Row and column of the pixel that each direction, of any length, falls into."""
    x, y, z = np.moveaxis(np.asarray(direction, np.float64), -1, 0)
    theta, phi = np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))
    row = np.floor((np.pi / 2 - phi) * (height / np.pi)).astype(np.int64)
    col = np.floor((theta + np.pi) * (height / np.pi)).astype(np.int64)
    return np.clip(row, 0, height - 1), col % (2 * height)


def world_points(depth: np.ndarray, camera: Pinhole, pose: np.ndarray) -> np.ndarray:  # (H, W) -> (H, W, 3) metres
    """The points that a depth image along the optical axis shows; meaningless where depth is 0."""
    return (camera.rays() * depth[..., None]) @ pose[:3, :3].T + pose[:3, 3]
