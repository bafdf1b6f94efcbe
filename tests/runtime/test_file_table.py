from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roomseg.errors import UserError
from roomseg.runtime.artifacts import AttemptClock, StoreArtifactReader, StoreArtifactWriter
from roomseg.runtime.file_table import FileEntry, Table, TableReader, write_table
from roomseg.runtime.manifest import Manifest, Origin, read_manifest
from roomseg.runtime.storage import DirectoryStore

ORIGIN = Origin(stage="render", fingerprint="0123abcd", code_version="", config={}, parents={})


def entry(name: str) -> FileEntry:
    return FileEntry(name=name, key=f"shards/{name}", size=len(name), sha256=hashlib.sha256(name.encode()).hexdigest())


def entries(n: int) -> list[FileEntry]:
    return [entry(f"rooms/train-{k:05d}.parquet") for k in range(n)]


@given(
    names=st.sets(st.text("ab/", min_size=1, max_size=6), max_size=30),
    others=st.lists(st.text("ab/", min_size=1, max_size=6), max_size=5),
    prefix=st.text("ab/", max_size=3),
    largest=st.integers(2, 5),
)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_a_tree_of_parts_holds_what_a_list_does(
    tmp_path: Path, names: set[str], others: list[str], prefix: str, largest: int
) -> None:
    store, files = DirectoryStore(tmp_path), [entry(name) for name in sorted(names)]
    table = write_table(store, files, largest)
    assert max(len(table.files), len(table.parts)) <= largest
    assert table.count == len(files)
    reader = TableReader(store, table, "remedy")
    assert list(reader.files(prefix)) == [file for file in files if file.name.startswith(prefix)]
    assert [reader.find(file.name) for file in files] == files
    for name in set(others) - names:
        with pytest.raises(KeyError):
            reader.find(name)


def test_few_files_are_in_the_table_itself(tmp_path: Path) -> None:
    assert write_table(DirectoryStore(tmp_path), entries(1000)) == Table(files=tuple(entries(1000)))
    assert write_table(DirectoryStore(tmp_path), []) == Table()
    assert list(tmp_path.iterdir()) == []


def test_parts_are_the_same_for_the_same_files(tmp_path: Path) -> None:
    first, second = (write_table(DirectoryStore(tmp_path / name), entries(2500)) for name in "ab")
    assert first == second
    assert [(part.first[-13:], part.count) for part in first.parts] == [
        ("00000.parquet", 1000),
        ("01000.parquet", 1000),
        ("02000.parquet", 500),
    ]


def test_one_part_is_read_for_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DirectoryStore(tmp_path)
    reader = TableReader(store, write_table(store, entries(100), largest=4), "remedy")
    read: list[str] = []
    get_bytes = store.get_bytes
    monkeypatch.setattr(store, "get_bytes", lambda key: read.append(key) or get_bytes(key))
    reader.find("rooms/train-00050.parquet")
    assert len(read) == 3  # 100 files: 25 leaves, 7 above them, 2 above these in the manifest
    reader.find("rooms/train-00051.parquet")
    assert len(read) == 3
    with pytest.raises(KeyError):
        reader.find("a name before all others")
    assert len(read) == 3


def test_a_part_that_is_gone_or_damaged_is_named(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    table = write_table(store, entries(5), largest=3)
    path = tmp_path / table.parts[1].key
    path.write_bytes(path.read_bytes()[:-3])
    reader = TableReader(store, table, "mend it")
    assert reader.find("rooms/train-00000.parquet") == entries(1)[0]
    with pytest.raises(UserError, match=rf"{path}, a part of the file table, is damaged: mend it"):
        reader.find("rooms/train-00004.parquet")
    path.unlink()
    with pytest.raises(UserError, match="is not there: mend it"):
        list(reader.files())


def test_the_manifest_of_many_files_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, one = DirectoryStore(tmp_path), tmp_path / "file"
    one.write_bytes(b"1")
    monkeypatch.setattr("roomseg.runtime.storage.os.fsync", lambda _: None)
    writer = StoreArtifactWriter(store, ORIGIN, AttemptClock(store, ORIGIN.folder), tmp_path)
    for k in range(1001):
        writer.add(f"rooms/{k:04d}", one)
    made = writer.finish({})
    assert made.files == ()
    assert [part.count for part in made.parts] == [1000, 1]
    assert len(made.to_json()) < 1000
    read = read_manifest(store, "render", "0123abcd")
    assert read is not None
    assert read.digest == made.digest
    reader = StoreArtifactReader(store, Manifest.from_json(made.to_json()), tmp_path)
    assert reader.path("rooms/1000").read_bytes() == b"1"
    assert len(reader.names()) == 1001
    (tmp_path / made.parts[1].key).unlink()
    gone = StoreArtifactReader(store, made, tmp_path)
    with pytest.raises(UserError, match=r"is not there: delete .*/render/0123abcd/manifest.json and run"):
        gone.path("rooms/1000")
    again = StoreArtifactWriter(store, ORIGIN, AttemptClock(store, ORIGIN.folder), tmp_path)  # the remedy, carried out
    assert all(f"rooms/{k:04d}" in again for k in range(1001))
    assert again.finish({}).digest == made.digest
    assert gone.path("rooms/1000").read_bytes() == b"1"
