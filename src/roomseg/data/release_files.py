"""Where the files of the published PanoRooms3D release lie under one folder, however its archives were unpacked.

Rooms are ``<house>_<n>.npz`` in any folder but ``train`` and ``val``, which hold blocks. A panorama is
``images/<part>/<room>.jpg`` with ``annotations/<part>/<room>.png``. The lists are ``train.txt``, ``val.txt`` and
``test.txt``.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from roomseg.splits import SPLITS

ROOM_ID = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)_[0-9]+")
BLOCK_FOLDERS = ("train", "val")
MAX_DEPTH = 4  # folders below the root
LISTS = {f"{split}.txt" for split in SPLITS}


@dataclass
class ReleaseFiles:
    """Paths relative to ``root``, with "/"."""

    root: Path
    rooms: dict[str, str] = field(default_factory=dict)  # room id -> .npz
    pictures: dict[str, str] = field(default_factory=dict)  # room id -> panorama, of those with labels
    blocks: dict[str, list[str]] = field(default_factory=lambda: {split: [] for split in BLOCK_FOLDERS})
    strange: list[str] = field(default_factory=list)  # .npz that are neither
    lists: Path | None = None  # the folder of the split lists

    def digest(self) -> str:
        """Of the names and sizes of all files, and of the content of the lists."""
        names = [*self.rooms.values(), *self.strange, *(name for names in self.blocks.values() for name in names)]
        names += [name for picture in self.pictures.values() for name in (picture, labels_of(picture))]
        digest = hashlib.sha256()
        for name in sorted(names):
            digest.update(f"{name}\0{(self.root / name).stat().st_size}\0".encode())
        if self.lists is not None:
            for name in sorted(LISTS):
                digest.update(hashlib.sha256((self.lists / name).read_bytes()).digest())
        return digest.hexdigest()


def find_files(root: Path) -> ReleaseFiles:
    """Looks at names only."""
    found = ReleaseFiles(root)
    pictures: dict[str, str] = {}
    labels: set[str] = set()
    for folder, names in _folders(root):
        parts = folder.relative_to(root).parts
        if set(names) >= LISTS and found.lists is None:
            found.lists = folder
        for name in names:
            path = "/".join((*parts, name))
            if name.endswith(".npz"):
                _add_npz(found, path, parts)
            elif name.endswith(".jpg") and parts[-2:-1] == ("images",):
                pictures.setdefault(name.removesuffix(".jpg"), path)
            elif name.endswith(".png") and parts[-2:-1] == ("annotations",):
                labels.add(path)
    found.pictures = {room: path for room, path in pictures.items() if labels_of(path) in labels}
    return found


def labels_of(picture: str) -> str:
    """``.../images/training/ID.jpg`` -> ``.../annotations/training/ID.png``."""
    *above, _, part, name = picture.split("/")
    return "/".join((*above, "annotations", part, name.removesuffix(".jpg") + ".png"))


def _add_npz(found: ReleaseFiles, path: str, parts: tuple[str, ...]) -> None:
    stem = path.rpartition("/")[2].removesuffix(".npz")
    if parts and parts[-1] in BLOCK_FOLDERS:
        found.blocks[parts[-1]].append(path)
    elif ROOM_ID.fullmatch(stem):
        found.rooms.setdefault(stem, path)
    else:
        found.strange.append(path)


def _folders(root: Path) -> Iterator[tuple[Path, list[str]]]:
    """Folders from the root down in order of their names, with the sorted names of their files."""
    for place, folders, names in os.walk(root):
        folder = Path(place)
        folders[:] = sorted(folders) if len(folder.relative_to(root).parts) < MAX_DEPTH else []
        yield folder, sorted(names)
