"""``roomseg store gc`` and ``roomseg store verify`` over real stores."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from roomseg.cli import app
from roomseg.runtime import file_table
from roomseg.runtime.artifacts import AttemptClock, StoreArtifactReader, StoreArtifactWriter
from roomseg.runtime.lease import take
from roomseg.runtime.manifest import Manifest, Origin
from roomseg.runtime.storage import DirectoryStore, Store, open_store
from roomseg.runtime.upkeep import find_garbage, remove_garbage

OLD_S = 30 * 86400


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    url = str(tmp_path / "store") if request.param == "directory" else request.getfixturevalue("s3_store")
    return open_store(url)


def writer_of(store: Store, folder: Path, mark: str) -> StoreArtifactWriter:
    origin = Origin(stage="render", fingerprint=mark, code_version="", config={}, parents={})
    return StoreArtifactWriter(store, origin, AttemptClock(store, origin.folder), folder / "cache")


def begin(store: Store, folder: Path, mark: str, files: dict[str, bytes]) -> StoreArtifactWriter:
    writer = writer_of(store, folder, mark)
    for name, data in files.items():
        (folder / "file").write_bytes(data)
        writer.add(name, folder / "file")
    return writer


def complete(store: Store, folder: Path, mark: str, files: dict[str, bytes]) -> Manifest:
    return begin(store, folder, mark, files).finish({})


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["store", *words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def age(store: DirectoryStore, seconds: float = OLD_S) -> None:
    then = time.time() - seconds
    for path in store.root.rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


def test_what_manifests_name_stays_and_the_rest_goes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_table, "LARGEST", 2)
    monkeypatch.setattr(file_table.write_table, "__defaults__", (2,))
    kept = complete(store, tmp_path, "kept", {f"n{n}": b"%d" % n for n in range(5)})
    assert kept.parts
    begin(store, tmp_path, "given-up", {"lost": b"lost", "n0": b"0"})
    store.put_bytes("checkpoints/render/kept/step-00000001/state.pt", b"old")
    store.put_bytes("mine/notes.txt", b"not roomseg's")
    store.put_bytes("shards/ab/orphan", b"orphan")
    time.sleep(1.1)  # S3 counts in whole seconds
    before = set(store.list(""))
    assert list(find_garbage(store, 3600)) == []  # all is younger than the grace period
    code, said = run("gc", store.url, "--dry-run", "--grace-days", "0")
    assert code == 0
    assert "shards/ab/orphan" in said
    assert set(store.list("")) == before
    assert run("gc", store.url, "--grace-days", "0")[0] == 0
    left = set(store.list(""))
    named = {entry.key for entry in file_table.TableReader(store, kept.table, "").files()}
    assert named | {"artifacts/render/kept/manifest.json", "mine/notes.txt"} <= left
    assert {key for key in before - left if key.startswith("shards/")} == {
        "shards/ab/orphan",
        *(key for key in before if key.startswith("shards/") and key not in named and "orphan" not in key),
    }
    assert len([key for key in before - left if key.startswith("shards/")]) == 2  # the orphan, and "lost"
    assert not [key for key in left if "given-up" in key or key.startswith("checkpoints/") or "/added/" in key]
    reader = StoreArtifactReader(store, kept, tmp_path / "cache2")
    assert [reader.path(f"n{n}").read_bytes() for n in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
    assert run("verify", store.url) == (0, "5 files, all whole\n")


def test_a_stage_that_starts_meanwhile_is_safe(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    begin(store, tmp_path, "old", {"a": b"a"})
    age(store)
    garbage = find_garbage(store, 60)
    assert ("render", "old") in garbage.abandoned
    assert len(garbage.objects) == 1  # its file
    lease, _ = take(store, "artifacts/render/old/lease.json")
    assert lease is not None
    assert remove_garbage(store, garbage, 60) == (0, 0)
    writer = writer_of(store, tmp_path, "old")
    assert writer.path("a").read_bytes() == b"a"
    lease.release()
    assert not list(find_garbage(store, 60))  # somebody was at it just now
    assert remove_garbage(store, garbage, 60) == (0, 0)


def test_what_is_written_again_before_it_goes_stays(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "store")
    begin(store, tmp_path, "old", {"a": b"same content"})
    store.delete("artifacts/render/old/added/a.json")
    for key in store.list("artifacts/"):
        store.delete(key)
    age(store)
    garbage = find_garbage(store, 60)
    assert len(garbage.objects) == 1
    made = complete(store, tmp_path, "new", {"a": b"same content"})  # between the finding and the removing
    remove_garbage(store, garbage, 60)
    assert StoreArtifactReader(store, made, tmp_path).path("a").read_bytes() == b"same content"


def test_verify_names_each_damage(store: Store, tmp_path: Path) -> None:
    made = complete(store, tmp_path, "f", {"cut": b"123", "flipped": b"456", "gone": b"789", "whole": b"0"})
    keys = {entry.name: entry.key for entry in made.files}
    store.put_bytes(keys["cut"], b"12")
    store.put_bytes(keys["flipped"], b"457")
    store.delete(keys["gone"])
    store.put_bytes("artifacts/teacher/g/manifest.json", b"{")
    code, said = run("verify", store.url)
    assert code == 1
    lines = said.splitlines()
    assert len(lines) == 5
    assert f"{keys['cut']} (render cut) has 2 bytes, the manifest says 3: delete" in said
    assert f"{keys['flipped']} (render flipped) is damaged: its sha256 is not the manifest's" in said
    assert f"{keys['gone']} (render gone) is not there" in said
    assert "artifacts/teacher/g/manifest.json is no valid manifest" in said
    assert lines[-1] == "4 files, 4 of them damaged"
    code, quick = run("verify", store.url, "--quick")
    assert code == 1
    assert "flipped" not in quick
    assert "cut" in quick
