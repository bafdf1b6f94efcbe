"""Files that a configuration names: what tells their content, and where their copies are."""

from __future__ import annotations

import hashlib
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
    assert fetch_outside(str(path), tmp_path / "cache") == path
    assert not (tmp_path / "cache").exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"teacher \(start\): {tmp_path}/no\.npz is not there, or no file"):
        outside_digests("teacher", Named(file=f"{tmp_path}/no.npz"))
    with pytest.raises(UserError, match="is not there, or no file"):
        fetch_outside(str(tmp_path), tmp_path)


def test_an_object_is_copied_once_for_each_content(s3_store: str, tmp_path: Path) -> None:
    store, uri = open_store(s3_store), f"{s3_store}/models/vit.npz"
    store.put_bytes("models/vit.npz", b"first")
    first = outside_digests("teacher", Named(file=uri))
    copy = fetch_outside(uri, tmp_path)
    assert (copy.name, copy.read_bytes()) == ("vit.npz", b"first")
    changed_at = copy.stat().st_mtime_ns
    assert fetch_outside(uri, tmp_path) == copy
    assert copy.stat().st_mtime_ns == changed_at

    store.put_bytes("models/vit.npz", b"second")
    assert outside_digests("teacher", Named(file=uri)) != first
    assert fetch_outside(uri, tmp_path).read_bytes() == b"second"
    store.put_bytes("models/vit.npz", b"first")
    assert outside_digests("teacher", Named(file=uri)) == first


def test_a_missing_object_is_named(s3_store: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"teacher \(start\): {s3_store}/no\.npz is not there"):
        outside_digests("teacher", Named(file=f"{s3_store}/no.npz"))
    with pytest.raises(UserError, match="expected s3://bucket/key"):
        fetch_outside("s3://bucket", tmp_path)
