"""A room as a scene: its mesh, its outline, and what stands where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roomseg.config import RoomType
from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.boxes import Box
from roomseg.scenes.floorplan import FloorPlan
from roomseg.scenes.layout import PlacedObject
from roomseg.scenes.shell import Opening


@dataclass(frozen=True)
class SceneRoom:
    id: str
    house_id: str
    room_type: RoomType
    mesh: TriangleMesh  # everything, metres, +Z up, floor at z = 0
    plan: FloorPlan
    height_m: float
    credits: tuple[str, ...]  # "creator, library, licence" of the models used, sorted
    objects: tuple[PlacedObject, ...]
    openings: tuple[Opening, ...]  # doors and windows

    @property
    def outline(self) -> np.ndarray:  # (n, 2) counter-clockwise floor polygon, metres
        return self.plan.outline

    @property
    def floor_bounds(self) -> np.ndarray:  # (2, 2) lowest and highest x, y, metres
        return np.stack([self.outline.min(axis=0), self.outline.max(axis=0)])

    @property
    def object_names(self) -> tuple[str, ...]:
        return tuple(placed.name for placed in self.objects)

    @property
    def obstacles(self) -> tuple[Box, ...]:
        return tuple(placed.box for placed in self.objects)

    def is_free(self, points: np.ndarray, clearance_m: float) -> np.ndarray:  # (n, 3) -> (n,) bool
        """Whether points are inside the room and at least the clearance away from its shell and from every object."""
        points = np.asarray(points, np.float64)
        free = self.plan.contains(points[:, :2]) & (self.plan.wall_distance(points[:, :2]) >= clearance_m)
        free &= (points[:, 2] >= clearance_m) & (points[:, 2] <= self.height_m - clearance_m)
        for box in self.obstacles:
            free &= box.distance(points) >= clearance_m
        return free

    def ahead_m(self, point: tuple[float, float], direction: tuple[float, float]) -> float:
        """The way along a unit direction on the floor plan from a point in the room to its wall."""
        return self.plan.ray_m(point, direction)
