from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from roomseg.errors import UsageError, UserError
from roomseg.runtime.s3 import S3Store
from roomseg.runtime.storage import DirectoryStore, MissingKey, Store, local_errors, open_store, split_store_url
from tests.runtime.conftest import RunPython


def test_what_is_put_comes_back(store: Store, tmp_path: Path) -> None:
    big = bytes(range(256)) * 50_000  # 12.8 MB: several parts on S3
    (tmp_path / "big").write_bytes(big)
    store.put_file("a/big.bin", tmp_path / "big")
    store.put_bytes("a/b/small", b"small")
    store.put_bytes("a/b/small", b"changed")
    store.fetch("a/big.bin", tmp_path / "new" / "copy")
    assert (tmp_path / "new" / "copy").read_bytes() == big
    assert store.get_bytes("a/b/small") == b"changed"
    assert store.exists("a/b/small")
    assert not store.exists("a/b")


def test_list_and_delete(store: Store) -> None:
    for key in ("x/b", "x/a/c", "xy", "z"):
        store.put_bytes(key, b"")
    assert store.list("x/") == ["x/a/c", "x/b"]
    assert store.list("x") == ["x/a/c", "x/b", "xy"]
    assert store.list("nothing/here/") == []
    store.delete("x/b")
    store.delete("x/b")
    store.delete("never/was")
    assert store.list("") == ["x/a/c", "xy", "z"]


def test_missing_key_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(MissingKey, match=r"no/such\.key is not there"):
        store.get_bytes("no/such.key")
    with pytest.raises(MissingKey, match=r"no/such\.key is not there"):
        store.fetch("no/such.key", tmp_path / "copy")
    assert os.listdir(tmp_path / "store" if (tmp_path / "store").exists() else tmp_path) == []


def test_s3_lists_more_than_one_page(s3_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = S3Store(*s3_store.removeprefix("s3://").split("/"))
    for index in range(7):
        store.put_bytes(f"k{index}", b"")
    paginator = store._client.get_paginator("list_objects_v2")
    original = paginator.paginate
    monkeypatch.setattr(paginator, "paginate", lambda **given: original(**given, PaginationConfig={"PageSize": 3}))
    monkeypatch.setattr(store._client, "get_paginator", lambda _: paginator)
    assert store.list("") == [f"k{index}" for index in range(7)]


@pytest.mark.parametrize(
    ("url", "parts"),
    {
        "a/b": ("", "a/b"),
        "/a/b": ("", "/a/b"),
        "s3://b": ("b", ""),
        "s3://b/": ("b", ""),
        "s3://b/p/q": ("b", "p/q"),
    }.items(),
)
def test_parts_of_urls(url: str, parts: tuple[str, str]) -> None:
    assert split_store_url(url) == parts


@pytest.mark.parametrize("url", ["", "gs://bucket/x", "s3://", "s3:///x", "file:///x", "S3://b", "://"])
def test_wrong_urls(url: str) -> None:
    with pytest.raises(UsageError, match="expected a directory or s3://bucket/prefix"):
        open_store(url)


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "disk full at .*: free space or choose another --store"), (errno.EACCES, "no right to write")],
)
def test_local_failures_are_one_line_and_leave_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, message: str
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    store = DirectoryStore(tmp_path)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match=message) as caught:
        store.put_bytes("a/b", b"x")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path / "a") == []


def test_a_file_where_the_store_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="expected a directory"):
        open_store(str(tmp_path / "file")).put_bytes("a", b"")


def test_no_bucket(s3_server: str) -> None:
    store = open_store("s3://nobucket/x")
    for call in (lambda: store.get_bytes("a"), lambda: store.put_bytes("a", b""), lambda: store.list("a")):
        with pytest.raises(UserError, match="there is no bucket 'nobucket': create it"):
            call()


def test_wrong_secret_is_not_printed(s3_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    with pytest.raises(UserError, match=r"no right to write .* \(SignatureDoesNotMatch\): check the cred") as caught:
        open_store(s3_store).put_bytes("a", b"")
    assert "hush" not in str(caught.value)


def test_no_server(s3_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("time.sleep", lambda _: None)  # boto's pauses between attempts
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9 does not answer .*; check AWS_ENDPOINT_URL"):
        open_store(s3_store).get_bytes("a")


def test_no_credentials(s3_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(UserError, match=r"no S3 credentials to read .*: set AWS_ACCESS_KEY_ID"):
        open_store(s3_store).get_bytes("a")


def test_killed_in_the_middle_of_a_file(store: Store, tmp_path: Path, run_python: RunPython) -> None:
    (tmp_path / "source").write_bytes(bytes(24 << 20))
    ended = run_python(
        """
        import io, os, pathlib, signal, sys
        from roomseg.runtime.storage import open_store

        class Killing(io.FileIO):
            total = 0
            def read(self, size=-1):
                Killing.total += size
                if Killing.total > 10 << 20:
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().read(size)

        source, store = pathlib.Path(sys.argv[1]), open_store(sys.argv[2])
        plain_open = pathlib.Path.open
        pathlib.Path.open = lambda self, mode="r", *rest: (
            Killing(self) if self == source else plain_open(self, mode, *rest)
        )
        store.put_file("shards/x", source)
        """,
        str(tmp_path / "source"),
        store.url,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not store.exists("shards/x")
    assert store.list("") == []
    store.put_file("shards/x", tmp_path / "source")
    assert store.list("") == ["shards/x"]


def test_a_directory_store_does_not_import_boto3(tmp_path: Path, run_python: RunPython) -> None:
    ended = run_python(
        """
        import sys
        from roomseg.runtime.storage import open_store
        open_store(sys.argv[1]).put_bytes("a", b"")
        assert not {"boto3", "botocore"} & set(sys.modules)
        """,
        str(tmp_path),
    )
    assert ended.returncode == 0, ended.stderr


def test_folders_are_the_names_one_level_down(store: Store) -> None:
    for key in ("artifacts/render/f1/manifest.json", "artifacts/render/f2/added/x.json", "artifacts/renders/g/x", "z"):
        store.put_bytes(key, b"")
    assert store.folders("artifacts/render/") == ["f1", "f2"]
    assert store.folders("artifacts/") == ["render", "renders"]
    assert store.folders("nothing/here/") == []


def test_what_cannot_be_written_for_want_of_a_folder_names_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "no" / "file.png"
    with pytest.raises(UserError) as error, local_errors("write", path, "--out"):
        path.write_bytes(b"")
    assert str(error.value) == f"cannot write {path}: the folder {path.parent} is not there; make it, or choose another"
    with pytest.raises(MissingKey, match=f"{path} is not there"), local_errors("read", path):
        path.read_bytes()
