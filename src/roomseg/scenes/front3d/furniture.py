"""3D-FUTURE models where a house puts them.

A model's front, +Z in its file, is -Y once +Z is up: as that of all our furniture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from roomseg.front3d_names import MERGED, NAMES
from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.boxes import Box
from roomseg.scenes.front3d.building import Z_UP
from roomseg.scenes.front3d.classes import furniture_raw_id
from roomseg.scenes.front3d.house import Furniture, House, HouseRoom, Placement
from roomseg.scenes.front3d.models import ModelStore


@dataclass(frozen=True)
class PlacedModel:
    jid: str
    name: str  # of the 99
    label: int
    mesh: TriangleMesh
    box: Box


def furniture_of(house: House, room: HouseRoom, models: ModelStore) -> Iterator[tuple[Furniture, Placement]]:
    """What of the room's furniture is to be seen: its model was released (then it must be here), or is here."""
    for child in room.children:
        furniture = house.furniture.get(child.ref)
        if furniture is not None and (furniture.valid or models.has(furniture.jid)):
            yield furniture, child.placement


def place_model(furniture: Furniture, placement: Placement, models: ModelStore, to_room: np.ndarray) -> PlacedModel:
    """The model under ``to_room`` (4, 4), and the box around it that is turned with it.

    Raises ``UserError`` for a model without a known name and for a broken one.
    """
    raw = furniture_raw_id(furniture.category, furniture.title)
    mesh = models.mesh(furniture.jid).transformed(to_room @ placement.matrix()).relabelled(int(MERGED[raw]))
    turn = to_room @ Placement(rot=placement.rot).matrix() @ Z_UP.T
    yaw = math.atan2(turn[1, 0], turn[0, 0])
    return PlacedModel(furniture.jid, NAMES[raw], int(MERGED[raw]), mesh, turned_box(mesh.vertices, yaw))


def turned_box(vertices: np.ndarray, yaw_rad: float) -> Box:  # (V, 3)
    """The smallest box of that yaw around vertices."""
    cos, sin = math.cos(yaw_rad), math.sin(yaw_rad)
    turn = np.array([[cos, -sin], [sin, cos]])  # box -> room
    local = vertices[:, :2].astype(np.float64) @ turn
    low, high = local.min(axis=0), local.max(axis=0)
    x, y = (turn @ ((low + high) / 2)).tolist()
    width, depth = (high - low).tolist()
    return Box((x, y), (width, depth), float(vertices[:, 2].min()), float(vertices[:, 2].max()), yaw_rad)


def cut_above(model: PlacedModel, height_m: float) -> PlacedModel:
    """The model without the faces that are wholly above the ceiling, as a lamp's that hangs too high."""
    if model.box.high_m <= height_m:
        return model
    mesh = model.mesh
    kept = mesh.vertices[mesh.faces][..., 2].min(axis=1) <= height_m
    used, faces = np.unique(mesh.faces[kept], return_inverse=True)
    below = replace(
        mesh,
        vertices=mesh.vertices[used],
        faces=faces.reshape(-1, 3).astype(np.int32),
        face_label=mesh.face_label[kept],
        face_color=mesh.face_color[kept],
        face_texture=mesh.face_texture[kept],
        uv=mesh.uv[kept],
    )
    return replace(model, mesh=below)
