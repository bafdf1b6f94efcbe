"""What stands for the files of a source: their names and sizes, and all of the few small ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from roomseg.scenes.scans.textfiles import MAX_TEXT_BYTES, read_bytes


def files_digest(root: Path, folders: Iterable[Path], in_full: Iterable[Path]) -> str:
    """Changes with the name or size of a file below ``folders``, and with any byte of those ``in_full``."""
    digest = hashlib.sha256()
    for name, size in sorted(entry for folder in folders for entry in _sizes(root, folder)):
        digest.update(f"{name}\0{size}\0".encode())
    for path in sorted(in_full):
        digest.update(f"{path.name}\0".encode() + hashlib.sha256(read_bytes(path, MAX_TEXT_BYTES)).digest())
    return digest.hexdigest()


def _sizes(root: Path, folder: Path) -> Iterator[tuple[str, int]]:
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            if path.is_file():
                yield path.relative_to(root).as_posix(), path.stat().st_size
