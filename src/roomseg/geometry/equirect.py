"""Equirectangular panoramas: height H, width 2H, +Z up.

The centre of pixel (row, col) looks along (cos(phi) cos(theta), cos(phi) sin(theta), sin(phi)), theta from -pi at the
left edge to +pi at the right one, phi from +pi/2 at the top edge to -pi/2 at the bottom one.
"""

from __future__ import annotations

import numpy as np


def _latitudes(height: int) -> np.ndarray:  # (H,) phi of the rows, radians
    return np.pi / 2 - (np.arange(height) + 0.5) * (np.pi / height)


def directions(height: int) -> np.ndarray:  # (H, 2H, 3) float32
    """Unit vectors through the pixel centres."""
    phi = _latitudes(height)[:, None]
    theta = -np.pi + (np.arange(2 * height) + 0.5) * (np.pi / height)
    unit = np.broadcast_arrays(np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi))
    return np.stack(unit, axis=-1).astype(np.float32)


def pixel_of(direction: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray]:  # (..., 3) -> (...), (...) int64
    """Row and column of the pixel that each direction, of any length, falls into."""
    x, y, z = np.moveaxis(np.asarray(direction, np.float64), -1, 0)
    theta, phi = np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))
    row = np.floor((np.pi / 2 - phi) * (height / np.pi)).astype(np.int64)
    col = np.floor((theta + np.pi) * (height / np.pi)).astype(np.int64)
    return np.clip(row, 0, height - 1), col % (2 * height)


def solid_angle_weights(height: int) -> np.ndarray:  # (H,) float32
    """cos(phi) of each row, scaled to a mean of 1."""
    weights = np.cos(_latitudes(height))
    return (weights / weights.mean()).astype(np.float32)
