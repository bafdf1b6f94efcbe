"""Where the files of 3D-FRONT, 3D-FUTURE and their textures lie under one folder, and reading them safely.

Expected: ``3D-FRONT/<house>.json``, ``3D-FUTURE-model/<jid>/raw_model.obj``; ``3D-FRONT-texture/<jid>/texture.png`` may
be missing. Archives unpack in different ways: a second folder of the same name inside, or the models in several
folders (``3D-FUTURE-model-part1`` ...), are found too.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from roomseg.errors import UserError

HOUSES, MODELS, TEXTURES = "3D-FRONT", "3D-FUTURE-model", "3D-FRONT-texture"
MODEL_FILE, TEXTURE_FILE = "raw_model.obj", "texture.png"
MAX_FILE_BYTES = 256 * 2**20  # a house has 4 MB at most, a model 30 MB
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Library:
    root: Path
    houses: dict[str, Path]  # house id -> JSON file, sorted
    models: dict[str, Path]  # jid -> its folder
    textures: dict[str, Path]  # jid -> its folder

    def read_house(self, house_id: str) -> tuple[Path, bytes]:
        """Raises ``UserError`` for a house that is not there or cannot be read."""
        if house_id not in self.houses:
            raise UserError(f"{self.root} has no {HOUSES}/{house_id}.json")
        path = self.houses[house_id]
        return path, _read(path, path.parent)

    def read_model(self, jid: str, name: str) -> tuple[Path, bytes]:
        """A file of a model; raises ``UserError`` for a hostile jid, and for a file that cannot be read."""
        if plain_name(jid) not in self.models:
            raise UserError(f"model {jid} is not in {self.root / MODELS}; unpack the archive that has it")
        path = self.models[jid] / name
        return path, _read(path, path.parent.parent)

    def has_texture(self, jid: str) -> bool:
        """Whether there is a picture; some folders have none."""
        return jid in self.textures and (self.textures[jid] / TEXTURE_FILE).exists()

    def read_texture(self, jid: str) -> tuple[Path, bytes]:
        """The picture of a texture that is there; raises ``UserError`` where it cannot be read."""
        path = self.textures[jid] / TEXTURE_FILE
        return path, _read(path, path.parent.parent)

    def digest(self) -> str:
        """sha256 of the names and sizes of all files that rooms are made from."""
        digest = hashlib.sha256()
        for kind, name, path in self._files():
            size = path.stat().st_size if path.exists() else -1
            digest.update(f"{kind}/{name} {size}\n".encode())
        return digest.hexdigest()

    def _files(self) -> Iterator[tuple[str, str, Path]]:
        for house_id, path in self.houses.items():
            yield HOUSES, house_id, path
        for jid in sorted(self.models):
            for name in (MODEL_FILE, TEXTURE_FILE):
                yield MODELS, f"{jid}/{name}", self.models[jid] / name
        for jid in sorted(self.textures):
            yield TEXTURES, jid, self.textures[jid] / TEXTURE_FILE


def open_library(root: Path) -> Library:
    """Raises ``UserError`` for a folder without houses or models."""
    expected = f"expected a folder with {HOUSES}/*.json and {MODELS}/<jid>/{MODEL_FILE}"
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; {expected}")
    houses, models = _house_files(_folders(root, HOUSES)), _subfolders(_folders(root, MODELS, parts=True))
    if not houses or not models:
        raise UserError(f"{root} has {len(houses)} houses and {len(models)} models; {expected}")
    return Library(root, houses, models, _subfolders(_folders(root, TEXTURES)))


def plain_name(name: str) -> str:
    """The name, if it can be that of a folder beside others; ``UserError`` for one with ``/``, ``..`` and the like."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise UserError(f"{name!r} is no plain name; expected letters, digits, '_', '.' and '-'")
    return name


def _read(path: Path, folder: Path) -> bytes:
    """The bytes of a file that really is in ``folder``, no link out of it, and not above the limit."""
    try:
        real = path.resolve(strict=True)
        if not real.is_relative_to(folder):
            raise UserError(f"{path} leads to {real}, outside its folder; put the file itself there")
        size = real.stat().st_size
        if size > MAX_FILE_BYTES:
            raise UserError(f"{path} has {size} bytes; expected at most {MAX_FILE_BYTES // 2**20} MiB")
        return real.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}); get the file again") from None


def _folders(root: Path, name: str, parts: bool = False) -> list[Path]:
    """Folders of that name in ``root`` and one level deeper in one another; with ``parts``, of names that start so."""

    def matching(folder: Path) -> list[Path]:
        found = (path for path in folder.iterdir() if path.is_dir())
        return sorted(path for path in found if path.name == name or (parts and path.name.startswith(name)))

    first = matching(root)
    return [folder.resolve() for folder in [*first, *(deeper for folder in first for deeper in matching(folder))]]


def _house_files(folders: list[Path]) -> dict[str, Path]:
    """A house that is there twice counts once."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in folder.glob("*.json"):
            if not path.name.startswith("."):
                found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def _subfolders(folders: list[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for folder in folders:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _NAME.fullmatch(entry.name) and not entry.name.startswith((MODELS, TEXTURES)) and entry.is_dir():
                    found.setdefault(entry.name, Path(entry.path))
    return found
