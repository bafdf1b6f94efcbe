"""The furniture that rooms are filled with: real CAD libraries where they are installed, our own shapes always.

House convention of every mesh here: metres, right-handed, +Z up, centred on x and y, bottom at z = 0, and the
**front faces -Y** (the back, which goes to the wall, is at +Y). What hangs (lamps, wall cabinets) has its bottom at
z = 0 too; ``elevation_m`` says how high that is hung.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes import sh3f
from roomseg.scenes.furniture_classes import KINDS, LABEL_OF_KIND, Kind
from roomseg.scenes.furniture_table import KIND_OF_MODEL
from roomseg.scenes.parametric import catalogue
from roomseg.scenes.textures import texture_archive

__all__ = ["KINDS", "LABEL_OF_KIND", "FurnitureItem", "FurnitureLibrary", "Kind", "content_digest", "open_furniture"]

CACHE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class FurnitureItem:
    name: str  # unique, such as "scopia/basin" or "parametric/chair-07"
    kind: Kind  # what placement takes it for
    label: int  # class id of labels.py
    size_m: tuple[float, float, float]  # width (x), depth (y), height (z)
    elevation_m: float  # of the bottom above the floor
    creator: str
    licence: str
    library: str  # "Scopia", "parametric", ...
    load: Callable[[], TriangleMesh]  # slow: go through FurnitureLibrary.mesh


class FurnitureLibrary:
    """Items sorted by name, and their meshes, of which the latest used are kept up to ``cache_bytes``."""

    def __init__(self, items: Iterable[FurnitureItem], cache_bytes: int = CACHE_BYTES) -> None:
        self.items: tuple[FurnitureItem, ...] = tuple(sorted(items, key=lambda item: item.name))
        self._of_kind: dict[Kind, tuple[FurnitureItem, ...]] = {
            kind: tuple(item for item in self.items if item.kind == kind) for kind in KINDS
        }
        self._cache_bytes = cache_bytes
        self._held_bytes = 0
        self._cache: OrderedDict[str, TriangleMesh] = OrderedDict()

    def of_kind(self, kind: Kind) -> tuple[FurnitureItem, ...]:
        return self._of_kind[kind]

    def mesh(self, item: FurnitureItem) -> TriangleMesh:
        """The item's mesh in the house convention; raises ``UserError`` when its library cannot be read."""
        if item.name in self._cache:
            self._cache.move_to_end(item.name)
            return self._cache[item.name]
        mesh = item.load()
        self._cache[item.name] = mesh
        self._held_bytes += mesh_bytes(mesh)
        while self._held_bytes > self._cache_bytes and len(self._cache) > 1:
            _, oldest = self._cache.popitem(last=False)
            self._held_bytes -= mesh_bytes(oldest)
        return mesh


def open_furniture(directory: Path | None) -> FurnitureLibrary:
    """The libraries (``*.sh3f``) of a directory, if it has any, and the parametric items, which cover every kind.

    Raises ``UserError`` for a library that cannot be read.
    """
    items = [_parametric_item(variant) for variant in catalogue.variants()]
    for path in library_files(directory):
        items += _library_items(path)
    return FurnitureLibrary(items)


def library_files(directory: Path | None) -> list[Path]:
    return sorted(directory.glob("*.sh3f")) if directory is not None and directory.is_dir() else []


def content_digest(directory: Path | None) -> str:
    """sha256 of the names and bytes of the libraries and the textures' archive; a constant where there is none."""
    digest = hashlib.sha256(b"furniture")
    archive = texture_archive(directory)
    for path in [*library_files(directory), *([archive] if archive else [])]:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.name} {content}\n".encode())
    return digest.hexdigest()


def mesh_bytes(mesh: TriangleMesh) -> int:
    arrays = (mesh.vertices, mesh.faces, mesh.face_label, mesh.face_color, mesh.face_texture, mesh.uv, *mesh.textures)
    return sum(array.nbytes for array in arrays)


def _parametric_item(variant: catalogue.Variant) -> FurnitureItem:
    return FurnitureItem(
        name=f"parametric/{variant.name}",
        kind=variant.kind,
        label=LABEL_OF_KIND[variant.kind],
        size_m=variant.size_m,
        elevation_m=variant.elevation_m,
        creator="roomseg",
        licence="Apache-2.0",
        library="parametric",
        load=partial(catalogue.build, variant.kind, variant.number),
    )


def _library_items(path: Path) -> list[FurnitureItem]:
    """Items of one library that our table knows and does not leave out."""
    library = sh3f.read_catalogue(path)
    items = []
    for entry in library.entries:
        kind = KIND_OF_MODEL.get(entry.key)
        if kind is None:
            continue
        label = LABEL_OF_KIND[kind]
        items.append(
            FurnitureItem(
                name=entry.key,
                kind=kind,
                label=label,
                size_m=entry.size_m,
                elevation_m=entry.elevation_m,
                creator=entry.creator or library.provider,
                licence=library.licence,
                library=library.name,
                load=partial(sh3f.load_model, path, entry, label),
            )
        )
    return items
