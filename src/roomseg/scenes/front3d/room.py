"""A room of a 3D-FRONT house as a scene: its part of the building, furnished with 3D-FUTURE models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roomseg.config import RoomType
from roomseg.geometry.mesh import TriangleMesh, join_meshes
from roomseg.scenes.front3d.building import (
    building_parts,
    ceiling_height_m,
    floor_level_m,
    room_matrix,
    shared_openings,
)
from roomseg.scenes.front3d.finishes import Look, repainted
from roomseg.scenes.front3d.floor import FloorGrid, floor_grid
from roomseg.scenes.front3d.furniture import PlacedModel, cut_above, furniture_of, place_model
from roomseg.scenes.front3d.house import House, HouseRoom
from roomseg.scenes.front3d.models import ModelStore
from roomseg.scenes.front3d.structure import TextureStore

CREDITS = (
    "Alibaba Group, 3D-FRONT, research use only (its terms of use)",
    "Alibaba Group, 3D-FUTURE, research use only (its terms of use)",
)
REACH_M = 0.3  # furniture whose middle is farther from the floor, more than a wall's thickness, is in another room


@dataclass(frozen=True)
class Front3dRoom:
    id: str
    house_id: str
    room_type: RoomType
    mesh: TriangleMesh  # everything, metres, +Z up, floor at z = 0
    height_m: float
    floor: FloorGrid
    furniture: tuple[PlacedModel, ...]
    credits: tuple[str, ...]

    @property
    def floor_bounds(self) -> np.ndarray:  # (2, 2) lowest and highest x, y, metres
        return self.floor.bounds

    @property
    def object_names(self) -> tuple[str, ...]:
        return tuple(f"3d-future/{model.jid}" for model in self.furniture)

    def is_free(self, points: np.ndarray, clearance_m: float) -> np.ndarray:  # (n, 3) -> (n,) bool
        """Whether points are inside the room and at least the clearance away from its shell and from every object."""
        points = np.asarray(points, np.float64)
        free = self.floor.is_clear(points, clearance_m) & (points[:, 2] <= self.height_m - clearance_m)
        for model in self.furniture:
            free &= model.box.distance(points) >= clearance_m
        return free

    def ahead_m(self, point: tuple[float, float], direction: tuple[float, float]) -> float:
        """The way along a unit direction on the floor plan from a point in the room to its wall."""
        return self.floor.ray_m(point, direction)


def assemble_room(
    house: House, room: HouseRoom, room_type: RoomType, models: ModelStore, textures: TextureStore, look: Look
) -> Front3dRoom:
    """Raises ``UserError`` for a room without a floor, and for what in it is broken."""
    parts = building_parts(house, room, textures)
    level_m = floor_level_m(parts)
    parts = [part.lowered(level_m) for part in parts]
    floor = floor_grid(
        [part.mesh for part in parts if part.name == "floor"], [part.mesh for part in parts if part.name != "floor"]
    )
    parts += [part.lowered(level_m) for part in shared_openings(house, room, textures, floor)]
    top_m = max(float(part.mesh.bounds[1, 2]) for part in parts)
    to_room = room_matrix(house, room)
    to_room[2, 3] -= level_m
    furniture = [place_model(*piece, models, to_room) for piece in furniture_of(house, room, models)]
    furniture = [cut_above(model, top_m) for model in furniture if floor.distance_m(*model.box.center_m) <= REACH_M]
    furniture = [model for model in furniture if len(model.mesh)]
    dressed = [repainted(part.mesh, part.name, look) for part in parts]
    return Front3dRoom(
        id=f"{house.id}_{room.index}",
        house_id=house.id,
        room_type=room_type,
        mesh=join_meshes([*dressed, *(model.mesh for model in furniture)]),
        height_m=ceiling_height_m(parts),
        floor=floor,
        furniture=tuple(furniture),
        credits=tuple(sorted({*CREDITS, *look.credits})),
    )
