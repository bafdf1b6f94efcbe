"""Random floor and wall textures, one of each a room (the paper's augmentation, section 5).

They come from 3D-FRONT-texture where it is there: those that houses of the collection lay on floors and on walls, at
the size that they have there. Else they are what the caller has.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from roomseg.errors import UserError
from roomseg.geometry.mesh import TriangleMesh, face_areas, face_normals
from roomseg.scenes.front3d.house import House, StructureMesh
from roomseg.scenes.front3d.structure import NO_MATERIAL, TextureStore, mesh_arrays, texture_coordinates
from roomseg.scenes.textures import Texture

TILE_M = (0.1, 5.0)  # one repeat of a texture; fillers, which have no size of their own, are outside
CREDIT = "Alibaba Group, 3D-FRONT-texture, research use only (its terms of use)"
FLOOR_TYPE, WALL_TYPE = "floor", "wallinner"  # mesh types, lower case, that are dressed


@dataclass(frozen=True)
class Look:
    """What floor and walls are dressed with; None: what the house has."""

    floor: Texture | None = None
    wall: Texture | None = None

    @property
    def credits(self) -> tuple[str, ...]:
        return tuple(texture.credit for texture in (self.floor, self.wall) if texture is not None)


class Finishes:
    """Draws each room's look from its id: no matter which rooms came before."""

    def __init__(
        self,
        houses: Iterable[House],  # a sample, which says what lies on floors and walls
        textures: TextureStore,
        own: tuple[Sequence[Texture], Sequence[Texture]],  # the caller's floors and walls
        seed: int,
    ) -> None:
        self._textures, self._own, self._seed = textures, own, seed
        used: tuple[dict[str, float], dict[str, float]] = ({}, {})
        for house in houses:
            for mesh in house.meshes.values():
                for sizes, mesh_type in zip(used, (FLOOR_TYPE, WALL_TYPE), strict=True):
                    repeat = self._repeat(house, mesh) if mesh.type.lower() == mesh_type else None
                    if repeat is not None:
                        sizes.setdefault(*repeat)
        self._used = tuple(sorted(sizes.items()) for sizes in used)

    def look(self, room_id: str) -> Look:
        digest = hashlib.sha256(f"{self._seed}/{room_id}".encode()).digest()
        floor, wall = np.random.default_rng(list(digest)).random(2).tolist()
        return Look(self._pick(0, floor), self._pick(1, wall))

    def _pick(self, which: int, share: float) -> Texture | None:
        used, own = self._used[which], self._own[which]
        first = int(share * len(used))
        for jid, tile_m in used[first:] + used[:first]:
            with contextlib.suppress(UserError):  # a dead texture: the next one will do
                return Texture(f"3d-front/{jid}", self._textures.image(jid), (tile_m, tile_m), CREDIT)
        return own[int(share * len(own))] if own else None

    def _repeat(self, house: House, mesh: StructureMesh) -> tuple[str, float] | None:
        """The mesh's texture and the side of one repeat of it, metres; None where it has none of a real size."""
        material = house.materials.get(mesh.material, NO_MATERIAL)
        jid = self._textures.jid(material)
        if jid is None:
            return None
        try:
            vertices, faces = mesh_arrays(house, mesh)
        except UserError:  # told when its own room is loaded
            return None
        uv = texture_coordinates(mesh, material, len(vertices))
        if uv is None:
            return None
        repeats = face_areas(np.column_stack([uv, np.zeros(len(uv))])[faces]).sum()
        tile_m = float(np.sqrt(face_areas(vertices[faces]).sum() / max(repeats, 1e-12)))
        return (jid, tile_m) if TILE_M[0] <= tile_m <= TILE_M[1] else None


def repainted(mesh: TriangleMesh, mesh_type: str, look: Look) -> TriangleMesh:
    """A floor or a wall (+Z up) in the room's look, its texture laid out in metres; others as they are."""
    texture = {FLOOR_TYPE: look.floor, WALL_TYPE: look.wall}.get(mesh_type)
    if texture is None:
        return mesh
    corners = mesh.vertices[mesh.faces].astype(np.float64)  # (F, 3, 3)
    uv_m = _flat(corners) if mesh_type == FLOOR_TYPE else _upright(corners)
    return replace(
        mesh,
        uv=(uv_m / texture.tile_m).astype(np.float32),
        face_texture=np.zeros(len(mesh), np.int32),
        textures=(texture.image,),
    )


def _flat(corners: np.ndarray) -> np.ndarray:  # (F, 3, 3) -> (F, 3, 2) metres
    return corners[..., :2]


def _upright(corners: np.ndarray) -> np.ndarray:  # (F, 3, 3) -> (F, 3, 2) metres
    """To the right of one who faces the wall, and up."""
    normal = face_normals(corners)[:, :2]
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    right = np.stack([-normal[:, 1], normal[:, 0]], axis=1)
    return np.stack([np.einsum("fcx,fx->fc", corners[..., :2], right), corners[..., 2]], axis=-1)
