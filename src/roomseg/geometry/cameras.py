"""Pinhole cameras and their poses.

A pose is a (4, 4) camera-to-world matrix; the camera looks along its +Z, with +X right and +Y down. In image
coordinates the pixel (row, col) covers [col, col + 1] x [row, row + 1]: its centre is (col + 0.5, row + 0.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

Lens = tuple[float, float, float, float]  # fx, fy, cx, cy

WORLD_UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class Pinhole:
    """Image size and focal lengths in pixels, principal point in image coordinates."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float

    @classmethod
    def from_fov(cls, width: int, height: int, fov_deg: float) -> Self:
        """Square pixels, the axis through the middle; ``fov_deg`` is the horizontal field of view."""
        focal = 0.5 * width / math.tan(0.5 * math.radians(fov_deg))
        return cls(width, height, focal, focal, 0.5 * width, 0.5 * height)

    @property
    def lens(self) -> Lens:
        return float(self.fx), float(self.fy), float(self.cx), float(self.cy)

    def rays(self) -> np.ndarray:  # (H, W, 3) float64
        """Camera-frame rays through the pixel centres, scaled to z = 1: a depth times its ray is the point seen."""
        x = (np.arange(self.width) + 0.5 - self.cx) / self.fx
        y = (np.arange(self.height) + 0.5 - self.cy) / self.fy
        return np.stack(np.broadcast_arrays(x, y[:, None], 1.0), axis=-1)


def look_at(eye: np.ndarray, target: np.ndarray) -> np.ndarray:  # (3,), (3,) -> (4, 4) float64
    """The pose at ``eye`` that looks at ``target``, upright; straight up or down, +Y of the world is its up."""
    forward = np.asarray(target, np.float64) - np.asarray(eye, np.float64)
    length = np.linalg.norm(forward)
    assert length > 0, "look_at: eye and target are the same point"
    forward /= length
    right = np.cross(forward, WORLD_UP)
    if np.linalg.norm(right) < 1e-6:
        right = np.cross(forward, np.array([0.0, 1.0, 0.0]))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3] = right, np.cross(forward, right), forward, eye
    return pose
