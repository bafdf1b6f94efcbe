"""The meshes of a house's structure: their numbers, their material, their texture.

A texture's file is found as the data set means it: by the material's URL, else by its jid, else the plain colour.
"""

from __future__ import annotations

import reprlib
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from roomseg.errors import UserError
from roomseg.geometry.mesh import TriangleMesh, plain_mesh
from roomseg.scenes.front3d.house import House, Material, StructureMesh
from roomseg.scenes.front3d.library import Library
from roomseg.scenes.front3d.models import readable_texture
from roomseg.scenes.obj import TEXTURE_PX

CACHED_TEXTURES = 64  # of 0.2 MB
NO_MATERIAL = Material(jid="", texture_url="", color=(255, 255, 255), use_color=True, uv_transform=None)


class TextureStore:
    """The pictures of 3D-FRONT-texture."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._cached = lru_cache(CACHED_TEXTURES)(self._load)

    def jid(self, material: Material) -> str | None:
        """The texture that dresses a material; None: its plain colour."""
        if material.texture_url:
            parts = material.texture_url.split("/")
            name = parts[-2] if len(parts) > 1 else ""
        else:
            name = "" if material.use_color else material.jid
        return name if self._library.has_texture(name) else None

    def image(self, jid: str) -> np.ndarray:  # (h, w, 3) uint8
        """Raises ``UserError`` for a dead texture."""
        return self._cached(jid)

    def _load(self, jid: str) -> np.ndarray:
        path, data = self._library.read_texture(jid)
        return readable_texture(path, data, TEXTURE_PX)


def structure_mesh(house: House, mesh: StructureMesh, label: int, textures: TextureStore) -> TriangleMesh | None:
    """A mesh in the house's frame with its colours, of one class; None for one without faces.

    Raises ``UserError`` that names file, mesh and field where its numbers make no mesh, and for a dead texture.
    """
    vertices, faces = mesh_arrays(house, mesh)
    if not len(faces):
        return None
    material = house.materials.get(mesh.material, NO_MATERIAL)
    plain = plain_mesh(vertices, faces, label, material.color)
    jid = textures.jid(material)
    if jid is None:
        return plain
    image = textures.image(jid)
    uv = texture_coordinates(mesh, material, len(vertices))
    if uv is None:
        red, green, blue = image.reshape(-1, 3).mean(axis=0).astype(int).tolist()
        return plain_mesh(vertices, faces, label, (red, green, blue))
    texture_ids = np.zeros(len(faces), np.int32)
    return replace(plain, uv=uv[faces].astype(np.float32), face_texture=texture_ids, textures=(image,))


def mesh_arrays(house: House, mesh: StructureMesh) -> tuple[np.ndarray, np.ndarray]:  # (V, 3) float64, (F, 3) int32
    """Vertices and faces; raises ``UserError`` that names file, mesh and field."""
    where = f"{house.path}: mesh {mesh.uid!r}"
    vertices = _rows(mesh.xyz, 3, f"{where}: xyz")
    faces = _rows(mesh.faces, 3, f"{where}: faces")
    if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
        got = f"{faces.min():g}..{faces.max():g}"
        raise UserError(f"{where}: faces has indices {got}; expected 0..{len(vertices) - 1}")
    return vertices, faces.astype(np.int32)


def texture_coordinates(
    mesh: StructureMesh, material: Material, n_vertices: int
) -> np.ndarray | None:  # (n_vertices, 2) repeats
    """None where the file has no usable uv. Those of a material with a ``UVTransform`` are metres: it scales them."""
    try:
        uv = np.array(mesh.uv, np.float64).reshape(-1, 2)
    except (TypeError, ValueError):
        return None
    if len(uv) != n_vertices or not np.isfinite(uv).all():
        return None
    if material.uv_transform is None:
        return uv
    columns = np.array(material.uv_transform).reshape(3, 3).T  # the 9 numbers are column-major
    return uv @ columns[:2, :2].T + columns[:2, 2]


def _rows(values: Any, width: int, where: str) -> np.ndarray:  # (n, width) float64
    """A flat list of numbers, which some files write as texts; raises ``UserError``."""
    try:
        rows = np.array(values, np.float64).reshape(-1, width)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{where} is {reprlib.repr(values)}; expected a flat list of {width} numbers a row") from None
    if not np.isfinite(rows).all():
        raise UserError(f"{where} has a number that is not finite")
    return rows
