from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from roomseg.runtime.cache import StoreCache
from roomseg.runtime.fingerprint import code_digest, module_digest
from roomseg.runtime.local_files import Copies
from roomseg.runtime.storage import Store, open_store

MODULE = "roomseg.geometry.projection"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def cache(store: Store, tmp_path: Path, said: list[str]) -> StoreCache:
    return StoreCache(store, tmp_path / "near", said.append)


def test_what_is_put_is_there_for_other_runs(cache: StoreCache, store: Store, tmp_path: Path) -> None:
    for row, content in enumerate((b"", b"map" * 1000)):
        key = cache.key("hits", {"shard": "ab", "row": row}, MODULE)
        assert cache.get(key) is None
        cache.put(key, content)
        elsewhere = StoreCache(store, tmp_path / "another machine", print)
        assert cache.get(key) == elsewhere.get(key) == content
    assert f"cache/hits/{key[5:7]}/{key[5:]}" in store.list("cache/hits/")


def test_the_key_is_of_all_that_decides_the_content(cache: StoreCache, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {
        cache.key("hits", {"row": 3}, MODULE),
        cache.key("hits", {"row": 4}, MODULE),
        cache.key("logits", {"row": 3}, MODULE),
        cache.key("hits", {"row": 3}, "roomseg.models.teacher"),
    }
    assert len(keys) == 4
    assert cache.key("hits", {"row": 3}, MODULE) in keys
    monkeypatch.setattr("roomseg.runtime.cache.module_digest", lambda module: "other code")
    assert cache.key("hits", {"row": 3}, "roomseg.geometry.equirect") not in keys
    assert module_digest("roomseg.stages.distill") == code_digest("distill")


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 200])
def test_damaged_content_is_not_there(cache: StoreCache, store: Store, said: list[str], damage: bytes) -> None:
    key = cache.key("hits", {}, MODULE)
    cache.put(key, b"good")
    for place in (store, cache._near):
        (stored,) = place.list("cache/")
        place.put_bytes(stored, damage)
    assert cache.get(key) is None
    assert stored in said[0]
    assert said[0].endswith("is damaged: it is made again")
    cache.put(key, b"good")
    assert cache.get(key) == b"good"


def test_a_remote_store_is_asked_once(s3_store: str, tmp_path: Path) -> None:
    store = open_store(s3_store)
    key = StoreCache(store, tmp_path / "maker", print).key("hits", {}, MODULE)
    StoreCache(store, tmp_path / "maker", print).put(key, b"map")
    reader = StoreCache(store, tmp_path / "reader", print)
    assert reader.get(key) == b"map"
    for stored in store.list("cache/"):
        store.delete(stored)
    assert reader.get(key) == b"map"


def test_a_full_disk_costs_only_the_near_copy(
    s3_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    cache = StoreCache(open_store(s3_store), tmp_path / "near", said.append)
    key = cache.key("hits", {}, MODULE)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        cache.put(key, b"good")
        assert cache.get(key) == b"good"
    assert not list((tmp_path / "near").rglob("*.*"))
    assert cache.get(key) == b"good"
    assert (tmp_path / "near" / "copies" / "cache").is_dir()


def near_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_near_copies_stay_within_the_bound(
    s3_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """Beside the copies of artifacts; what was used last stays, and what has no room is in the store."""
    monkeypatch.setenv("ROOMSEG_CACHE_GB", "2e-6")  # 2000 bytes
    cache = StoreCache(open_store(s3_store), tmp_path, said.append)
    keys = [cache.key("hits", {"row": row}, MODULE) for row in range(5)]
    cache.put(keys[0], b"a" * 5000)
    assert near_bytes(tmp_path) == 0
    shard = tmp_path / "copies" / "shards" / "x"
    shard.parent.mkdir(parents=True)
    shard.write_bytes(bytes(900))
    for key in keys[1:3]:
        cache.put(key, b"b" * 400)
    for path in (shard, *(path for path in (tmp_path / "copies" / "cache").rglob("*") if path.is_file())):
        os.utime(path, (1, 1))
    assert cache.get(keys[1]) == b"b" * 400, "which makes it young"
    cache.put(keys[3], b"c" * 900)
    kept = [path.name for path in (tmp_path / "copies").rglob("*") if path.is_file()]
    assert sorted(kept) == sorted(key.rpartition("/")[2] for key in (keys[1], keys[3]))
    cache.put(keys[4], b"d" * 1000)  # all that is there was used within the minute
    assert near_bytes(tmp_path) <= 2000
    assert [cache.get(key) for key in keys] == [b"a" * 5000, b"b" * 400, b"b" * 400, b"c" * 900, b"d" * 1000]
    assert near_bytes(tmp_path) <= 2000


def test_a_folder_of_copies_is_not_read_at_each_write(
    s3_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setenv("ROOMSEG_CACHE_GB", "1")
    looks: list[Path] = []
    read = Copies._files

    def counted(copies: Copies) -> list[tuple[float, int, Path]]:
        looks.append(copies.folder)
        return read(copies)

    monkeypatch.setattr(Copies, "_files", counted)
    cache = StoreCache(open_store(s3_store), tmp_path, said.append)
    for row in range(20):
        cache.put(cache.key("hits", {"row": row}, MODULE), b"x" * 1000)
    assert len(looks) == 1
