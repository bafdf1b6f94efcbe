"""Local copies of what a remote store has, in a folder of bounded size; and an artifact's files, verified.

All stages, runs and processes of a machine share the folder: files of artifacts, near copies of the shared results
(``cache.py``) and of files outside the store (``outside.py``). What was not used for longest goes first.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from roomseg.errors import UsageError, UserError
from roomseg.runtime.file_table import FileEntry
from roomseg.runtime.manifest import Origin
from roomseg.runtime.storage import Store, is_disk_full, sha256_of

_FETCHES = 5  # a transfer may go wrong
_SPARED_S = 60.0  # a file that was asked for is opened within this time; once open it may go
_ROOM_AT_ONCE = 20  # one part in so many of the bound is freed where it is reached: not every write reads the folder
_SHARERS = 16  # processes that may write at once, each into its part of what is free


class LocalFiles:
    """Each file is checked against its size and sha256 once a process, and again when it was fetched again."""

    def __init__(self, store: Store, cache: Path, origin: Origin) -> None:
        self._store, self._origin = store, origin
        self._copies = Copies(cache)
        self._verified: set[str] = set()

    def path(self, entry: FileEntry) -> Path:
        """Raises ``UserError`` for a file that is damaged or gone."""
        in_place = self._store.local_path(entry.key)
        path = in_place or self._copies.path(entry.key)
        if in_place is None and not self._copies.touch(path):
            self._verified.discard(entry.key)
        if entry.key not in self._verified:
            self._verify(entry, path, fetches=0 if in_place else _FETCHES)
            self._verified.add(entry.key)
        return path

    def _verify(self, entry: FileEntry, path: Path, fetches: int) -> None:
        while not _is_whole(path, entry):
            if fetches == 0:
                raise self._damaged(entry, path)
            self._copies.make_room(entry.size)
            try:
                self._store.fetch(entry.key, path)
            except UserError as error:
                if not is_disk_full(error) or not self._copies.empty():
                    raise
            fetches -= 1

    def _damaged(self, entry: FileEntry, path: Path) -> UserError:
        what = "damaged" if path.is_file() else "not there"
        url = self._store.url
        return UserError(f"{url}/{entry.key} ({entry.name}) is {what}: {self._origin.remedy(url, entry.name)}")


class Copies:
    """``copies/`` of a cache folder: files whose names say their content, and nothing else.

    ``ROOMSEG_CACHE_GB`` bounds them; without it they take four fifths of the disk space that others leave free. Files
    used within the last minute are spared, also beyond the bound.
    """

    def __init__(self, cache: Path) -> None:
        self.folder = cache / "copies"
        self._limit = _given_limit()
        self._granted = 0  # bytes that may be written before the folder is looked at again

    def path(self, key: str) -> Path:
        return self.folder / key

    def touch(self, path: Path) -> bool:
        """Mark as used now; False if it is not there."""
        try:
            os.utime(path)
        except OSError:
            return False
        return True

    def make_room(self, size: int) -> bool:
        """Remove what was not used for longest, until ``size`` bytes fit; False if they do not fit even so."""
        if size <= self._granted:
            self._granted -= size
            return True
        files = self._files()
        total = sum(held for _, held, _ in files)
        limit = self._limit if self._limit is not None else int(0.8 * (total + self._free()))
        if total + size > limit:
            total -= self._remove(files, total + size - limit + limit // _ROOM_AT_ONCE)
        self._granted = max(0, limit - total - size) // _SHARERS
        return total + size <= limit

    def empty(self) -> bool:
        """Remove all that is not spared; False if there was nothing."""
        files = self._files()
        return self._remove(files, sum(held for _, held, _ in files)) > 0

    def _remove(self, files: list[tuple[float, int, Path]], excess: int) -> int:
        """Oldest first, until ``excess`` bytes are gone; how many went."""
        removed, newest = 0, time.time() - _SPARED_S
        for used, size, path in sorted(files):
            if removed >= excess or used > newest:
                break
            path.unlink(missing_ok=True)
            removed += size
        return removed

    def _files(self) -> list[tuple[float, int, Path]]:
        """(time of last use, bytes, path) of each."""
        found = []
        for where, _, names in os.walk(self.folder):
            for path in (Path(where) / name for name in names):
                with suppress(FileNotFoundError):  # another process was quicker
                    stat = path.stat()
                    found.append((stat.st_mtime, stat.st_size, path))
        return found

    def _free(self) -> int:
        folder = self.folder
        while not folder.is_dir():
            folder = folder.parent
        return shutil.disk_usage(folder).free


def _given_limit() -> int | None:
    given = os.environ.get("ROOMSEG_CACHE_GB")
    if not given:
        return None
    try:
        gigabytes = float(given)
    except ValueError:
        gigabytes = -1.0
    if not 0 <= gigabytes < 1e9:
        raise UsageError(f"ROOMSEG_CACHE_GB is {given!r}: expected the size of the cache in GB, such as 200")
    return int(gigabytes * 1e9)


def _is_whole(path: Path, entry: FileEntry) -> bool:
    return path.is_file() and path.stat().st_size == entry.size and sha256_of(path) == entry.sha256
