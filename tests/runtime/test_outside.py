"""Files that a configuration names: what tells their content, and where their copies are."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from roomseg.config import Section
from roomseg.errors import UserError
from roomseg.runtime.outside import fetch_outside, outside_digests
from roomseg.runtime.storage import open_store


class Named(Section):
    file: str

    def outside_files(self) -> dict[str, str]:
        return {"start": self.file}


def test_a_local_file_is_read_in_place(tmp_path: Path) -> None:
    path = tmp_path / "vit.npz"
    path.write_bytes(b"weights")
    assert outside_digests("teacher", Named(file=str(path))) == {"start": hashlib.sha256(b"weights").hexdigest()}
    assert fetch_outside(str(path), tmp_path / "cache", tmp_path / "work") == path
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "work").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"teacher \(start\): {tmp_path}/no\.npz is not there, or no file"):
        outside_digests("teacher", Named(file=f"{tmp_path}/no.npz"))
    with pytest.raises(UserError, match="is not there, or no file"):
        fetch_outside(str(tmp_path), tmp_path, tmp_path / "work")


def test_an_object_is_copied_once_for_each_content(s3_store: str, tmp_path: Path) -> None:
    store, uri = open_store(s3_store), f"{s3_store}/models/vit.npz"
    store.put_bytes("models/vit.npz", b"first")
    first = outside_digests("teacher", Named(file=uri))
    copy = fetch_outside(uri, tmp_path, tmp_path / "work")
    assert (copy.name, copy.read_bytes()) == ("vit.npz", b"first")
    file = copy.stat().st_ino
    assert fetch_outside(uri, tmp_path, tmp_path / "work") == copy
    assert fetch_outside(uri, tmp_path, tmp_path / "other work").stat().st_ino == file

    store.put_bytes("models/vit.npz", b"second")
    assert outside_digests("teacher", Named(file=uri)) != first
    assert fetch_outside(uri, tmp_path, tmp_path / "work").read_bytes() == b"second"
    store.put_bytes("models/vit.npz", b"first")
    assert outside_digests("teacher", Named(file=uri)) == first


def test_a_missing_object_is_named(s3_store: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"teacher \(start\): {s3_store}/no\.npz is not there"):
        outside_digests("teacher", Named(file=f"{s3_store}/no.npz"))
    with pytest.raises(UserError, match="expected s3://bucket/key"):
        fetch_outside("s3://bucket", tmp_path, tmp_path / "work")


def test_copies_are_bounded_and_what_a_stage_reads_stays(
    s3_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOMSEG_CACHE_GB", "1e-6")
    store, work = open_store(s3_store), tmp_path / "work"
    for name in ("old", "new"):
        store.put_bytes(name, name.encode() * 200)  # 600 bytes, of 1000
    old = fetch_outside(f"{s3_store}/old", tmp_path, work)
    os.utime(old, (1, 1))  # nobody has asked for it for a while
    fetch_outside(f"{s3_store}/new", tmp_path, work)
    assert [path.name for path in (tmp_path / "copies").rglob("*") if path.is_file()] == ["new"]
    assert old.read_bytes() == b"old" * 200
