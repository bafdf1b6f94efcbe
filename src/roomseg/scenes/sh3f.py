"""Sweet Home 3D furniture libraries (``.sh3f``): a zip of a properties catalogue and OBJ models.

Model frame: right-handed, +Y up, front +Z, any unit. The catalogue gives the true size in cm, and each axis is scaled
to it on its own. Only members that the catalogue or a model names are read, by name; nothing is unpacked.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roomseg.errors import UserError
from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.obj import Material, TextureLoader, decode_texture, mtllib_names, parse_mtl, parse_obj

CATALOGUE = "PluginFurnitureCatalog.properties"
MAX_MEMBER_BYTES = 64 * 2**20
MIN_EXTENT = 1e-6  # of an axis before scaling: a flat model keeps its flat axis
CM = 0.01

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_KEY_END = re.compile(r"(?<!\\)(?:\\\\)*(\s*[=:]\s*|\s+)")
_CONTROL = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}


@dataclass(frozen=True)
class CatalogueEntry:
    key: str  # the model's folder, such as "scopia/basin"
    name: str
    model: str  # member of the zip
    size_m: tuple[float, float, float]  # width, depth, height
    elevation_m: float
    rotation: tuple[float, ...] | None  # 9 numbers, row-major, in the model's frame
    creator: str  # "" where the catalogue names none


@dataclass(frozen=True)
class Catalogue:
    name: str
    licence: str
    provider: str
    entries: tuple[CatalogueEntry, ...]


def parse_properties(data: bytes) -> dict[str, str]:
    r"""A Java properties file: ISO-8859-1 with ``\uXXXX`` escapes, ``=``, ``:`` or blanks after the key."""
    properties = {}
    text = re.sub(r"(?<!\\)((?:\\\\)*)\\\r?\n\s*", r"\1", data.decode("latin-1"))  # a line that goes on
    for line in text.splitlines():
        line = line.lstrip()
        if not line or line[0] in "#!":
            continue
        end = _KEY_END.search(line)
        key, value = (line[: end.start(1)], line[end.end(1) :]) if end else (line, "")
        properties[_unescaped(key)] = _unescaped(value)
    return properties


def _unescaped(text: str) -> str:
    def plain(match: re.Match[str]) -> str:
        code = match[1]
        return chr(int(code[1:], 16)) if len(code) == 5 else _CONTROL.get(code, code)

    return _ESCAPE.sub(plain, text)


def read_catalogue(path: Path) -> Catalogue:
    """The library's items that have an OBJ model; raises ``UserError``."""
    with opened(path) as archive:
        properties = parse_properties(read_member(archive, path, CATALOGUE))
    entries = []
    number = 1
    while f"name#{number}" in properties:
        model = properties.get(f"model#{number}", "")
        if model.lower().endswith(".obj"):
            entries.append(_entry(path, properties, number, model.lstrip("/")))
        number += 1
    return Catalogue(
        name=properties.get("name", path.stem),
        licence=properties.get("license", "see the library's LICENSE.TXT"),
        provider=properties.get("provider", ""),
        entries=tuple(entries),
    )


def _entry(path: Path, properties: dict[str, str], number: int, model: str) -> CatalogueEntry:
    try:
        width, depth, height = (float(properties[f"{axis}#{number}"]) * CM for axis in ("width", "depth", "height"))
        elevation = float(properties.get(f"elevation#{number}", "0")) * CM
        rotation = tuple(float(word) for word in properties.get(f"modelRotation#{number}", "").split())
        if not (np.isfinite([width, depth, height, elevation, *rotation]).all() and min(width, depth, height) >= 0):
            raise ValueError
    except (KeyError, ValueError):
        raise UserError(f"{path}: item {number} of {CATALOGUE} has no usable width, depth and height in cm") from None
    if len(rotation) not in (0, 9):
        raise UserError(f"{path}: modelRotation#{number} has {len(rotation)} numbers; expected 9")
    return CatalogueEntry(
        key=posixpath.dirname(model),
        name=properties[f"name#{number}"],
        model=model,
        size_m=(width, depth, height),
        elevation_m=elevation,
        rotation=rotation or None,
        creator=properties.get(f"creator#{number}", ""),
    )


def load_model(path: Path, entry: CatalogueEntry, label: int) -> TriangleMesh:
    """The model at its true size: metres, +Z up, front -Y, centred, bottom at 0; raises ``UserError``."""
    with opened(path) as archive:
        data = read_member(archive, path, entry.model)
        materials = _materials(archive, path, entry.model, data)
        try:
            mesh = parse_obj(data, materials, _texture_loader(archive, path, entry.model))
        except UserError as error:
            raise UserError(f"{path}: {entry.model}: {error}; leave the library out or get it again") from None
    return mesh.transformed(placing_matrix(mesh, entry)).relabelled(label)


def placing_matrix(mesh: TriangleMesh, entry: CatalogueEntry) -> np.ndarray:  # (4, 4)
    """The catalogue's rotation, then +Y up to +Z up, then each axis scaled to the catalogue's size."""
    rotation = np.array(entry.rotation or np.eye(3).ravel()).reshape(3, 3)
    z_up = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])  # (x, y, z) -> (x, -z, y)
    linear = z_up @ rotation
    turned = mesh.vertices.astype(np.float64) @ linear.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    extent = high - low
    scale = np.where(extent > MIN_EXTENT, np.array(entry.size_m) / np.maximum(extent, MIN_EXTENT), CM)
    anchor = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    matrix = np.eye(4)
    matrix[:3, :3] = scale[:, None] * linear
    matrix[:3, 3] = -scale * anchor
    return matrix


def _materials(archive: zipfile.ZipFile, path: Path, model: str, data: bytes) -> dict[str, Material]:
    """Of the ``mtllib`` files that the archive has, or of the OBJ's own stem where it has none of them."""
    folder = posixpath.dirname(model)
    members = set(archive.namelist())
    named = [_beside(folder, name) for name in mtllib_names(data)]
    stem = posixpath.splitext(model)[0] + ".mtl"
    found = [member for member in named if member in members] or [member for member in [stem] if member in members]
    materials: dict[str, Material] = {}
    for member in found:
        materials |= parse_mtl(read_member(archive, path, member))
    return materials


def _texture_loader(archive: zipfile.ZipFile, path: Path, model: str) -> TextureLoader:
    folder = posixpath.dirname(model)
    members = set(archive.namelist())

    def load(name: str) -> np.ndarray | None:
        member = _beside(folder, name)
        return decode_texture(read_member(archive, path, member)) if member in members else None

    return load


def _beside(folder: str, name: str) -> str:
    return posixpath.normpath(posixpath.join(folder, name))


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        reason = str(error) or type(error).__name__
        raise UserError(f"{path} cannot be read ({reason}); delete it and run `make furniture`") from None


def read_member(archive: zipfile.ZipFile, path: Path, member: str) -> bytes:
    try:
        info = archive.getinfo(member)
    except KeyError:
        raise UserError(f"{path} has no {member}; delete it and run `make furniture`") from None
    size = max(info.file_size, info.compress_size)  # as much is asked for at once
    if size > MAX_MEMBER_BYTES:
        limit = MAX_MEMBER_BYTES // 2**20
        raise UserError(f"{path}: {member} has {size} bytes; expected at most {limit} MiB")
    return archive.read(info)
