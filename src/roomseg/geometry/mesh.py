"""Triangle meshes with a class and a texture for each face: what sources make and renderers draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np


@dataclass(frozen=True)
class TriangleMesh:
    """Triangles in metres, right-handed, +Z up; counter-clockwise seen from the visible side.

    A face with ``face_texture`` -1 has the plain colour ``face_color``; else its colour is the texture's, at ``uv``.
    """

    vertices: np.ndarray  # (V, 3) float32, metres
    faces: np.ndarray  # (F, 3) int32, indices into vertices
    face_label: np.ndarray  # (F,) uint8, class ids of labels.py
    face_color: np.ndarray  # (F, 3) uint8, sRGB
    face_texture: np.ndarray  # (F,) int32, index into textures or -1
    uv: np.ndarray  # (F, 3, 2) float32, in repeats; u right, v up (0 = bottom row); wraps
    textures: tuple[np.ndarray, ...] = field(default=())  # each (h, w, 3) uint8, row 0 = top

    def __len__(self) -> int:
        return len(self.faces)

    @property
    def bounds(self) -> np.ndarray:  # (2, 3): lowest and highest corner
        return np.stack([self.vertices.min(axis=0), self.vertices.max(axis=0)])

    def transformed(self, matrix: np.ndarray) -> TriangleMesh:
        """The mesh under a (4, 4) affine matrix for column vectors; a mirroring one flips the winding."""
        linear, shift = matrix[:3, :3], matrix[:3, 3]
        vertices = (self.vertices @ linear.T + shift).astype(np.float32)
        if np.linalg.det(linear) >= 0:
            return replace(self, vertices=vertices)
        return replace(self, vertices=vertices, faces=self.faces[:, ::-1].copy(), uv=self.uv[:, ::-1].copy())

    def relabelled(self, label: int) -> TriangleMesh:
        return replace(self, face_label=np.full(len(self.faces), label, np.uint8))


def face_normals(corners: np.ndarray) -> np.ndarray:  # (F, 3, 3) -> (F, 3)
    """At right angles to each triangle, to its visible side, and as long as twice its area."""
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def face_areas(corners: np.ndarray) -> np.ndarray:  # (F, 3, 3) -> (F,)
    return np.linalg.norm(face_normals(corners), axis=1) / 2


def plain_mesh(
    vertices: np.ndarray,  # (V, 3)
    faces: np.ndarray,  # (F, 3)
    label: int,
    color: tuple[int, int, int],
) -> TriangleMesh:
    """A mesh of one class and one plain colour."""
    n = len(faces)
    return TriangleMesh(
        vertices=np.asarray(vertices, np.float32),
        faces=np.asarray(faces, np.int32).reshape(n, 3),
        face_label=np.full(n, label, np.uint8),
        face_color=np.tile(np.asarray(color, np.uint8), (n, 1)),
        face_texture=np.full(n, -1, np.int32),
        uv=np.zeros((n, 3, 2), np.float32),
    )


def join_meshes(meshes: Sequence[TriangleMesh]) -> TriangleMesh:
    """One mesh of all; textures that are the same array object are kept once."""
    textures: list[np.ndarray] = []
    place_of: dict[int, int] = {}
    faces, texture_ids, first_vertex = [], [], 0
    for mesh in meshes:
        for texture in mesh.textures:
            if id(texture) not in place_of:
                place_of[id(texture)] = len(textures)
                textures.append(texture)
        new_id = np.array([place_of[id(t)] for t in mesh.textures] + [-1], np.int32)  # -1 stays -1
        texture_ids.append(new_id[mesh.face_texture])
        faces.append(mesh.faces + first_vertex)
        first_vertex += len(mesh.vertices)
    return TriangleMesh(
        vertices=np.concatenate([m.vertices for m in meshes]).astype(np.float32),
        faces=np.concatenate(faces).astype(np.int32),
        face_label=np.concatenate([m.face_label for m in meshes]),
        face_color=np.concatenate([m.face_color for m in meshes]),
        face_texture=np.concatenate(texture_ids).astype(np.int32),
        uv=np.concatenate([m.uv for m in meshes]).astype(np.float32),
        textures=tuple(textures),
    )
