"""Flat surfaces with a colour or a texture: what a room's shell is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.textures import Texture

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Finish:
    """What a surface looks like: a texture, or a plain colour where there is none."""

    color: Color
    texture: Texture | None = None


def quads(corners_m: np.ndarray, label: int, finish: Finish, uv_m: np.ndarray | None = None) -> TriangleMesh:
    """Quadrilaterals (n, 4, 3), counter-clockwise seen from their visible side.

    ``uv_m`` (n, 4, 2) places the texture, in metres to the right and up; without it, each starts at its first corner.
    """
    corners_m = np.asarray(corners_m, np.float64).reshape(-1, 4, 3)
    n = len(corners_m)
    if uv_m is None:
        uv_m = _own_uv(corners_m)
    first = 4 * np.arange(n)[:, None, None]
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    uv = np.zeros((n, 4, 2)) if finish.texture is None else uv_m / np.asarray(finish.texture.tile_m)
    return TriangleMesh(
        vertices=corners_m.reshape(-1, 3).astype(np.float32),
        faces=(first + triangles).reshape(-1, 3).astype(np.int32),
        face_label=np.full(2 * n, label, np.uint8),
        face_color=np.tile(np.asarray(finish.color, np.uint8), (2 * n, 1)),
        face_texture=np.full(2 * n, -1 if finish.texture is None else 0, np.int32),
        uv=uv[:, triangles].reshape(-1, 3, 2).astype(np.float32),
        textures=() if finish.texture is None else (finish.texture.image,),
    )


def _own_uv(corners_m: np.ndarray) -> np.ndarray:  # (n, 4, 3) -> (n, 4, 2) metres
    """Distances along the first edge and along the last one."""
    uv = np.zeros((len(corners_m), 4, 2))
    uv[:, 1:3, 0] = np.linalg.norm(corners_m[:, 1] - corners_m[:, 0], axis=-1)[:, None]
    uv[:, 2:, 1] = np.linalg.norm(corners_m[:, 3] - corners_m[:, 0], axis=-1)[:, None]
    return uv
