from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from roomseg.errors import UsageError, UserError
from roomseg.runtime.file_table import FileEntry
from roomseg.runtime.local_files import Copies, LocalFiles
from roomseg.runtime.manifest import Origin
from roomseg.runtime.storage import open_store

ORIGIN = Origin(stage="render", fingerprint="f", code_version="", config={}, parents={})


def used(folder: Path, name: str, size: int, minutes_ago: float) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    then = path.stat().st_mtime - 60 * minutes_ago
    os.utime(path, (then, then))
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_was_not_used_for_longest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOMSEG_CACHE_GB", "1e-6")  # 1000 bytes
    folder = tmp_path / "copies"
    for name, minutes_ago in {"old": 30, "older": 60, "recent": 5, "now": 0.1}.items():
        used(folder / "ab", name, 300, minutes_ago)
    copies = Copies(tmp_path)
    assert copies.make_room(50)
    assert names(folder) == ["now", "old", "recent"]
    copies.touch(folder / "ab" / "old")
    assert copies.make_room(400)
    assert names(folder) == ["now", "old"]
    assert not copies.make_room(10_000)  # what is in use is spared, also beyond the bound
    assert names(folder) == ["now", "old"]


def test_where_the_bound_is_reached_a_twentieth_is_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOMSEG_CACHE_GB", "1e-6")
    for number in range(100):
        used(tmp_path / "copies", f"{number:02}", 10, 100 - number)
    Copies(tmp_path).make_room(10)
    assert names(tmp_path) == [f"{number:02}" for number in range(6, 100)]


def test_without_a_bound_a_fifth_of_the_free_space_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used(tmp_path / "copies", "old", 600, 30)
    monkeypatch.setattr(Copies, "_free", lambda _: 400)
    Copies(tmp_path).make_room(200)  # 600 + 200 <= 0.8 * (600 + 400)
    assert names(tmp_path) == ["old"]
    Copies(tmp_path).make_room(201)
    assert names(tmp_path) == []


def test_a_wrong_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOMSEG_CACHE_GB", "much")
    with pytest.raises(UsageError, match="ROOMSEG_CACHE_GB is 'much': expected the size of the cache in GB"):
        Copies(tmp_path)


@pytest.fixture
def files(s3_store: str, tmp_path: Path) -> tuple[LocalFiles, FileEntry]:
    store, data = open_store(s3_store), b"content"
    store.put_bytes("shards/x", data)
    entry = FileEntry(name="x", key="shards/x", size=len(data), sha256=hashlib.sha256(data).hexdigest())
    return LocalFiles(store, tmp_path / "cache", ORIGIN), entry


def test_a_copy_that_was_removed_is_fetched_and_verified_again(files: tuple[LocalFiles, FileEntry]) -> None:
    local, entry = files
    local.path(entry).unlink()
    assert local.path(entry).read_bytes() == b"content"


def test_a_full_disk_empties_the_cache_first(
    files: tuple[LocalFiles, FileEntry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local, entry = files
    old = used(tmp_path / "cache" / "copies", "old", 10, 30)
    sync = os.fsync

    def full_while_there_is_the_old_file(descriptor: int) -> None:
        if old.exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full_while_there_is_the_old_file)
    assert local.path(entry).read_bytes() == b"content"
    assert not old.exists()


def test_a_disk_that_stays_full_is_told(files: tuple[LocalFiles, FileEntry], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"disk full at .*/cache/copies/shards: free space"):
        files[0].path(files[1])
