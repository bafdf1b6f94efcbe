"""Upright boxes turned about +Z: what placed objects collide with."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Box:
    """A box of local axes +X right, +Y back, -Y front, turned counter-clockwise by ``yaw_rad``."""

    center_m: tuple[float, float]
    size_m: tuple[float, float]  # along the local x and y
    low_m: float
    high_m: float
    yaw_rad: float = 0.0

    @property
    def front(self) -> tuple[float, float]:
        """The unit vector of the local -Y."""
        return math.sin(self.yaw_rad), -math.cos(self.yaw_rad)

    def at(self, x_m: float, y_m: float) -> tuple[float, float]:
        """The floor position of a point of the box's own frame."""
        cos, sin = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        return self.center_m[0] + cos * x_m - sin * y_m, self.center_m[1] + sin * x_m + cos * y_m

    def reach(self, direction: tuple[float, float]) -> float:
        """Half the box's extent along a unit vector of the floor, metres."""
        cos, sin = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        along_x = abs(direction[0] * cos + direction[1] * sin)
        along_y = abs(direction[1] * cos - direction[0] * sin)
        return (self.size_m[0] * along_x + self.size_m[1] * along_y) / 2

    def distance(self, points: np.ndarray) -> np.ndarray:  # (n, 3) -> (n,) metres, 0 inside
        cos, sin = math.cos(self.yaw_rad), math.sin(self.yaw_rad)
        offset = points[:, :2] - np.array(self.center_m)
        local = offset @ np.array([[cos, -sin], [sin, cos]])  # (n, 2) in the box's frame
        aside = np.maximum(np.abs(local) - np.array(self.size_m) / 2, 0)
        above = np.maximum(np.maximum(self.low_m - points[:, 2], points[:, 2] - self.high_m), 0)
        return np.sqrt((aside**2).sum(axis=1) + above**2)


def penetration_m(a: Box, b: Box) -> float:
    """How deep two boxes overlap: the shortest way to part them; zero or less: they do not overlap.

    Separating axes: the vertical and the four side normals.
    """
    depth = min(a.high_m, b.high_m) - max(a.low_m, b.low_m)
    if depth <= 0:
        return depth
    offset = b.center_m[0] - a.center_m[0], b.center_m[1] - a.center_m[1]
    radii = math.hypot(*a.size_m) / 2 + math.hypot(*b.size_m) / 2
    if math.hypot(*offset) >= radii:
        return radii - math.hypot(*offset)
    for yaw in (a.yaw_rad, b.yaw_rad):
        cos, sin = math.cos(yaw), math.sin(yaw)
        for axis in ((cos, sin), (-sin, cos)):
            gap = abs(offset[0] * axis[0] + offset[1] * axis[1])
            depth = min(depth, a.reach(axis) + b.reach(axis) - gap)
            if depth <= 0:
                return depth
    return depth
