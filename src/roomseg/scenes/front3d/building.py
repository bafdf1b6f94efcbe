"""What a room is made of before it is furnished: its meshes of the building, +Z up.

The house files have +Y up; (x, y, z) -> (x, -z, y) is a rotation, so nothing is mirrored.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roomseg.errors import UserError
from roomseg.front3d_names import MERGED, NAMES
from roomseg.geometry.mesh import TriangleMesh, face_areas
from roomseg.scenes.front3d.classes import mesh_raw_id
from roomseg.scenes.front3d.floor import FloorGrid
from roomseg.scenes.front3d.house import House, HouseRoom
from roomseg.scenes.front3d.structure import TextureStore, structure_mesh

Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
OUTSIDE = ("wallouter", "walltop", "wallbottom", "slabside", "slabtop", "slabbottom")  # never seen from a room
OPENINGS = ("door", "window", "hole", "pocket", "baywindow")
WALL_REACH_M = 0.25  # from a floor's edge to the middle of what lines an opening in the wall there


@dataclass(frozen=True)
class Part:
    """A mesh of the building."""

    name: str  # of the 99
    mesh: TriangleMesh

    def lowered(self, by_m: float) -> Part:
        down = np.eye(4)
        down[2, 3] = -by_m
        return Part(self.name, self.mesh.transformed(down))


def room_matrix(house: House, room: HouseRoom) -> np.ndarray:  # (4, 4)
    """From a room's children to +Z up."""
    return Z_UP @ house.placement.matrix() @ room.placement.matrix()


def building_parts(
    house: House, room: HouseRoom, textures: TextureStore, names: Sequence[str] | None = None
) -> list[Part]:
    """The room's meshes of the building without what is outside of its walls; with ``names``, only those.

    Raises ``UserError`` for an unknown type, a broken mesh or a dead texture.
    """
    parts = []
    for child in room.children:
        if child.ref not in house.meshes or (names and house.meshes[child.ref].type.lower() not in names):
            continue
        raw = mesh_raw_id(house.meshes[child.ref].type)
        if NAMES[raw] in OUTSIDE:
            continue
        mesh = structure_mesh(house, house.meshes[child.ref], int(MERGED[raw]), textures)
        if mesh is not None:
            parts.append(Part(NAMES[raw], mesh.transformed(room_matrix(house, room) @ child.placement.matrix())))
    return parts


def shared_openings(house: House, room: HouseRoom, textures: TextureStore, floor: FloorGrid) -> list[Part]:
    """What lines the doors and windows in this room's walls, but belongs to the rooms on their other side."""
    found = []
    for other in house.rooms:
        if other.index != room.index:
            for part in building_parts(house, other, textures, OPENINGS):
                x, y, _ = part.mesh.bounds.mean(axis=0).tolist()
                if floor.distance_m(x, y) <= WALL_REACH_M:
                    found.append(part)
    return found


def floor_level_m(parts: Sequence[Part]) -> float:
    """The height that most of the floor has; raises ``UserError`` where there is no floor."""
    floors = [part.mesh for part in parts if part.name == "floor"]
    if not floors:
        raise UserError("no floor: the room has no mesh of type Floor")
    return _usual_height_m(floors)


def ceiling_height_m(parts: Sequence[Part]) -> float:
    """The height that most of the ceiling has, or else the top of the walls; inf where there are none."""
    ceilings = [part.mesh for part in parts if part.name == "ceiling"]
    if ceilings:
        return _usual_height_m(ceilings)
    return max((float(part.mesh.bounds[1, 2]) for part in parts if part.name == "wallinner"), default=math.inf)


def _usual_height_m(meshes: Sequence[TriangleMesh]) -> float:
    """The median over the area."""
    corners = np.concatenate([mesh.vertices[mesh.faces] for mesh in meshes]).astype(np.float64)  # (F, 3, 3)
    heights = corners[..., 2].mean(axis=1)
    order = heights.argsort()
    summed = face_areas(corners)[order].cumsum()
    return float(heights[order][np.searchsorted(summed, summed[-1] / 2)])
