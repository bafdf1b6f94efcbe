"""3D-FUTURE models: ``raw_model.obj`` with its one texture as a triangle mesh, the latest used kept in memory."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from roomseg.errors import UserError
from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.front3d.library import MODEL_FILE, TEXTURE_FILE, Library
from roomseg.scenes.obj import decode_texture, parse_obj

TEXTURE_PX = 512  # longest side: one picture dresses the whole model
LONGEST_SIDE_M = (0.01, 10.0)  # of a model; one outside has a stray part, or another unit
CACHED_MODELS = 96  # of about 2 MB


class ModelStore:
    def __init__(self, library: Library) -> None:
        self._library = library
        self._cached = lru_cache(CACHED_MODELS)(self._load)

    def has(self, jid: str) -> bool:
        return jid in self._library.models

    def mesh(self, jid: str) -> TriangleMesh:
        """The model in its own frame: metres, +Y up, front +Z, base at y = 0; class 0.

        Raises ``UserError`` that names the file for a broken or absurdly large model and for a dead texture.
        """
        return self._cached(jid)

    def _load(self, jid: str) -> TriangleMesh:
        path, data = self._library.read_model(jid, MODEL_FILE)
        try:
            mesh = parse_obj(data, {}, _no_texture)  # the MTL's colours are wrong: the texture has them
        except UserError as error:
            raise UserError(f"broken model: {path}: {error}") from None
        _check_size(path, mesh)
        path, data = self._library.read_model(jid, TEXTURE_FILE)
        texture = readable_texture(path, data, TEXTURE_PX)
        return replace(mesh, face_texture=np.zeros(len(mesh), np.int32), textures=(texture,))


def readable_texture(path: Path, data: bytes, longest_px: int) -> np.ndarray:  # (h, w, 3) uint8
    """Raises ``UserError`` for a file that is no picture, has no pixels, or none that can be seen.

    Alpha is low where a model is of glass: one that is all of glass keeps its colours.
    """
    texture = decode_texture(data, longest_px, all_clear=True)
    if texture is None or texture.size == 0:
        raise UserError(f"dead texture: {path} ({len(data)} bytes) is no picture that can be read")
    return texture


def _check_size(path: Path, mesh: TriangleMesh) -> None:
    low, high = LONGEST_SIDE_M
    longest = float((mesh.bounds[1] - mesh.bounds[0]).max())
    if not low <= longest <= high:
        raise UserError(f"broken model: {path} is {longest:.3g} m long; expected {low:g} to {high:g} m")


def _no_texture(name: str) -> None:
    return None
