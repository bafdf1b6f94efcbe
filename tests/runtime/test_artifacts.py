from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.errors import UserError
from roomseg.runtime.artifacts import AttemptClock, StoreArtifactReader, StoreArtifactWriter, cache_dir
from roomseg.runtime.file_table import FileEntry
from roomseg.runtime.manifest import Manifest, Origin, Parent, manifest_key, read_manifest
from roomseg.runtime.storage import DirectoryStore, Store, open_store
from tests.runtime.conftest import RunPython

ORIGIN = Origin(
    stage="render",
    fingerprint="0123abcd",
    code_version="0+abc",
    config={"seed": 1},
    parents={"rooms": Parent(stage="render", fingerprint="f", digest="d")},
)


def writer_of(store: Store, cache: Path) -> StoreArtifactWriter:
    return StoreArtifactWriter(store, ORIGIN, AttemptClock(store, ORIGIN.folder), cache)


def make(store: Store, folder: Path, files: dict[str, bytes]) -> Manifest:
    writer = writer_of(store, folder / "cache")
    for name, data in files.items():
        (folder / "file").write_bytes(data)
        writer.add(name, folder / "file")
    return writer.finish({"miou": 0.5, "absent": math.nan})


def test_written_files_are_read_again(store: Store, tmp_path: Path) -> None:
    made = make(store, tmp_path, {"rooms/b.bin": b"bb", "rooms/a.bin": b"a", "audit.json": b"{}"})
    read = read_manifest(store, "render", "0123abcd")
    assert read is not None
    assert read.digest == made.digest
    reader = StoreArtifactReader(store, read, tmp_path / "cache")
    assert reader.names() == ["audit.json", "rooms/a.bin", "rooms/b.bin"]
    assert reader.names("rooms/") == ["rooms/a.bin", "rooms/b.bin"]
    assert reader.path("rooms/b.bin").read_bytes() == b"bb"
    assert reader.path("rooms/b.bin").suffix == ".bin"
    assert reader.scores["miou"] == 0.5
    assert math.isnan(reader.scores["absent"])
    assert read.parents == ORIGIN.parents


def test_shards_are_named_by_their_content(tmp_path: Path) -> None:
    made = make(DirectoryStore(tmp_path), tmp_path, {"x.parquet": b"abc"})
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc", FIPS 180-2
    assert made.files == (FileEntry(name="x.parquet", key=f"shards/ba/{sha256}.parquet", size=3, sha256=sha256),)


def test_digest_is_of_the_content_not_of_the_time(tmp_path: Path) -> None:
    first = make(DirectoryStore(tmp_path / "1"), tmp_path, {"a": b"1", "b": b"2"})
    second = make(DirectoryStore(tmp_path / "2"), tmp_path, {"b": b"2", "a": b"1"})
    other = make(DirectoryStore(tmp_path / "3"), tmp_path, {"a": b"1", "b": b"3"})
    late = first.model_copy(update={"created": "2000", "seconds": 1e9, "attempts": 7})
    assert first.digest == second.digest == late.digest != other.digest


def test_a_later_attempt_keeps_what_was_added(store: Store, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1")
    writer_of(store, tmp_path / "cache").add("rooms/one, of 100%.bin", tmp_path / "one")
    assert read_manifest(store, "render", "0123abcd") is None
    again = writer_of(store, tmp_path / "cache")
    assert "rooms/one, of 100%.bin" in again
    assert "rooms/two.bin" not in again
    assert again.path("rooms/one, of 100%.bin").read_bytes() == b"1"
    manifest = again.finish({})
    assert [entry.name for entry in manifest.files] == ["rooms/one, of 100%.bin"]
    assert manifest.attempts == 2


def test_the_artifact_has_what_the_attempt_asked_for_whoever_made_it(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1")
    mine, other = writer_of(store, tmp_path / "cache"), writer_of(store, tmp_path / "cache")
    assert "rooms/b" not in mine
    for name in ("rooms/a", "rooms/b", "rooms/c", "rooms/left-over"):
        other.add(name, tmp_path / "file")
    assert "rooms/a" in mine
    assert "rooms/b" in mine  # asked again, as it was not there before
    assert mine.path("rooms/c").read_bytes() == b"1"
    mine.add("rooms/d", tmp_path / "file")
    with pytest.raises(KeyError, match="rooms/e"):
        mine.path("rooms/e")
    assert [entry.name for entry in mine.finish({}).files] == ["rooms/a", "rooms/b", "rooms/c", "rooms/d"]


def test_the_writer_lists_nothing_and_asks_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = DirectoryStore(tmp_path)
    (tmp_path / "file").write_bytes(b"1")
    writer_of(store, tmp_path).add("a", tmp_path / "file")
    clock = AttemptClock(store, ORIGIN.folder)
    monkeypatch.setattr(store, "list", lambda _: pytest.fail("listed"))
    writer = StoreArtifactWriter(store, ORIGIN, clock, tmp_path)
    assert "a" in writer
    monkeypatch.setattr(store, "get_bytes", lambda _: pytest.fail("asked again"))
    assert "a" in writer
    writer.path("a")
    writer.finish({})


def test_a_damaged_journal_entry_means_not_added(store: Store, tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1")
    writer_of(store, tmp_path).add("one", tmp_path / "one")
    store.put_bytes("artifacts/render/0123abcd/added/one.json", b'{"name": "one", "si')
    assert "one" not in writer_of(store, tmp_path)


def test_time_of_all_attempts_counts(tmp_path: Path) -> None:
    store, time_s = DirectoryStore(tmp_path), [100.0]
    first = AttemptClock(store, "folder", lambda: time_s[0])
    time_s[0] += 40
    first.beat()
    time_s[0] += 10
    first.beat()  # too early: not written, and then the attempt is killed
    second = AttemptClock(store, "folder", lambda: time_s[0])
    time_s[0] += 5
    assert second.attempts == 2
    assert second.seconds == 45
    second.beat(at_once=True)
    assert AttemptClock(store, "folder", lambda: time_s[0]).seconds == 45


def test_wrong_bytes_in_a_directory_are_found(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    made = make(store, tmp_path, {"a.bin": b"right"})
    (tmp_path / made.files[0].key).write_bytes(b"wrong")
    with pytest.raises(UserError, match=r"\(a.bin\) is damaged: delete .*/manifest.json and .*/added/a.bin.json and"):
        StoreArtifactReader(store, made, tmp_path).path("a.bin")
    os.unlink(tmp_path / made.files[0].key)
    with pytest.raises(UserError, match=r"\(a.bin\) is not there"):
        StoreArtifactReader(store, made, tmp_path).path("a.bin")


def test_the_remedy_for_wrong_bytes_helps(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    made = make(store, tmp_path, {"a.bin": b"right"})
    (tmp_path / made.files[0].key).write_bytes(b"wrong")
    store.delete("artifacts/render/0123abcd/manifest.json")
    store.delete("artifacts/render/0123abcd/added/a.bin.json")
    assert read_manifest(store, "render", "0123abcd") is None
    assert "a.bin" not in writer_of(store, tmp_path)
    made = make(store, tmp_path, {"a.bin": b"right"})
    assert StoreArtifactReader(store, made, tmp_path).path("a.bin").read_bytes() == b"right"


def test_wrong_bytes_in_the_cache_are_fetched_again(s3_store: str, tmp_path: Path) -> None:
    store = open_store(s3_store)
    made = make(store, tmp_path, {"a.bin": b"right"})
    cached = StoreArtifactReader(store, made, tmp_path / "cache").path("a.bin")
    cached.write_bytes(b"wrong")
    assert StoreArtifactReader(store, made, tmp_path / "cache").path("a.bin").read_bytes() == b"right"
    store.put_bytes(made.files[0].key, b"wrong")
    cached.unlink()
    with pytest.raises(UserError, match="is damaged"):
        StoreArtifactReader(store, made, tmp_path / "cache").path("a.bin")


def test_a_file_is_fetched_and_verified_once(s3_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(s3_store)
    reader = StoreArtifactReader(store, make(store, tmp_path, {"a": b"1"}), tmp_path / "cache")
    first = reader.path("a")
    monkeypatch.setattr(store, "fetch", lambda *_: pytest.fail("fetched again"))
    assert reader.path("a") == first


@given(cut=st.integers(0, 300))
@settings(max_examples=40, deadline=None)
def test_a_truncated_manifest_is_refused_by_name(cut: int) -> None:
    text = Manifest(
        **dict(ORIGIN), files=(), scores={"a": 1.0}, seconds=1, attempts=1, created="2026-01-01T00:00:00+00:00"
    ).to_json()
    assert len(text) > 302
    with pytest.raises(UserError, match=r"^here/manifest.json is no valid manifest \(.*delete it and run") as caught:
        Manifest.from_json(text[:cut], "here/manifest.json")
    assert "\n" not in str(caught.value)


def test_manifests_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    made = make(store, tmp_path, {"a": b"1"})
    store.put_bytes(manifest_key("render", "ffff"), made.to_json().encode())
    with pytest.raises(UserError, match="is of render 0123abcd"):
        read_manifest(store, "render", "ffff")
    with pytest.raises(UserError, match=r"format: .*roomseg-artifact-9"):
        Manifest.from_json(made.to_json().replace("artifact-2", "artifact-9"))
    with pytest.raises(UserError, match=r"files.0.sha256"):
        Manifest.from_json(made.to_json().replace(made.files[0].sha256, "x"))


def test_killed_before_the_journal_entry_or_the_manifest(store: Store, tmp_path: Path, run_python: RunPython) -> None:
    for name in ("first", "second"):
        (tmp_path / name).write_text(name)
    script = """
        import os, pathlib, signal, sys
        from roomseg.runtime.manifest import Origin
        from roomseg.runtime.artifacts import AttemptClock, StoreArtifactWriter
        from roomseg.runtime.storage import open_store

        folder, url, where = sys.argv[1:]
        store = open_store(url)

        def or_die(put):
            def put_or_die(key, data):
                if key.endswith(where):
                    os.kill(os.getpid(), signal.SIGKILL)
                return put(key, data)
            return put_or_die

        store.put_bytes, store.put_if_absent = or_die(store.put_bytes), or_die(store.put_if_absent)
        origin = Origin(stage="render", fingerprint="0123abcd", code_version="", config={}, parents={})
        writer = StoreArtifactWriter(store, origin, AttemptClock(store, origin.folder), pathlib.Path(folder))
        for name in ("first", "second"):
            if name not in writer:
                writer.add(name, pathlib.Path(folder) / name)
        writer.finish({})
    """
    for where, there in (("second.json", ["first"]), ("manifest.json", ["first", "second"])):
        ended = run_python(script, str(tmp_path), store.url, where)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert read_manifest(store, "render", "0123abcd") is None
        writer = writer_of(store, tmp_path / "cache")
        assert [name for name in ("first", "second") if name in writer] == there
    assert run_python(script, str(tmp_path), store.url, "never").returncode == 0
    manifest = read_manifest(store, "render", "0123abcd")
    assert manifest is not None
    assert [entry.name for entry in manifest.files] == ["first", "second"]
    assert manifest.attempts == 5  # three processes, and two writers of this test


def test_cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_dir(DirectoryStore(tmp_path)) == tmp_path
    monkeypatch.setenv("ROOMSEG_CACHE_DIR", str(tmp_path / "other"))
    assert cache_dir(DirectoryStore(tmp_path)) == tmp_path / "other"
