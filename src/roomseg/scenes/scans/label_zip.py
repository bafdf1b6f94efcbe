"""ScanNet's zips of label pictures, ``label-filt/<frame>.png``: members are read by name, nothing is unpacked."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from roomseg.errors import UserError
from roomseg.scenes.scans.images import MAX_IMAGE_BYTES
from roomseg.scenes.scans.labels import read_classes
from roomseg.scenes.scans.recording import LabelReader

_LABEL = re.compile(r"(?:[\w-]+/)?label[\w-]*/([0-9]+)\.png")
_NUMBER = re.compile(r"[0-9]+$")
_BAD_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError)


class LabelZip:
    """Stays open as long as it is used."""

    def __init__(self, path: Path, table: np.ndarray) -> None:
        """``table`` (65536,) uint8 turns the ids into classes. Raises ``UserError``."""
        self.path, self.table = path, table
        try:
            self._archive = zipfile.ZipFile(path)
            members = self._archive.infolist()
        except _BAD_ZIP as error:
            raise self._error("", f"is no zip ({error})") from None
        for info in members:
            if info.filename.startswith("/") or "\\" in info.filename or ".." in info.filename.split("/"):
                raise self._error(f"{info.filename!r}", "leaves the archive")
        matches = ((_LABEL.fullmatch(info.filename), info) for info in members)
        self._members = {int(match[1]): info for match, info in matches if match}

    def __call__(self, names: Sequence[str]) -> LabelReader | None:
        """The labels of the frame whose name ends in its number; a ``LabelFinder``."""
        number = _NUMBER.search(names[0])
        info = self._members.get(int(number[0])) if number else None
        return None if info is None else partial(self._read, info)

    def _read(self, info: zipfile.ZipInfo) -> np.ndarray:  # (H, W) uint8
        if info.file_size > MAX_IMAGE_BYTES:
            raise self._error(info.filename, f"has {info.file_size} bytes")
        try:
            data = self._archive.read(info)
        except _BAD_ZIP as error:
            raise self._error(info.filename, f"cannot be read ({error})") from None
        return read_classes(data, f"{self.path}: {info.filename}", self.table)

    def _error(self, member: str, got: str) -> UserError:
        place = f"{self.path}: {member}" if member else str(self.path)
        return UserError(f"{place} {got}; expected label pictures such as label-filt/0.png: download the file again")
