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


def solid_angle_weights(height: int) -> np.ndarray:  # (H,) float32
    """cos(phi) of each row, scaled to a mean of 1."""
    weights = np.cos(_latitudes(height))
    return (weights / weights.mean()).astype(np.float32)
