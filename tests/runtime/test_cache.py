from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from roomseg.runtime.cache import StoreCache
from roomseg.runtime.fingerprint import code_digest, module_digest
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
    assert (tmp_path / "near" / "cache").is_dir()
