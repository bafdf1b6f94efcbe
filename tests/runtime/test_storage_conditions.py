"""Conditional writes, ranges, ages and what killed writers leave; the pauses and renewals of the S3 store."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from roomseg.errors import UserError
from roomseg.runtime.s3 import S3Store
from roomseg.runtime.storage import MissingKey, Store, open_store

OUTAGE_S = 300.0  # docs/reliability.md promises so much


def test_put_if_absent(store: Store) -> None:
    version = store.put_if_absent("a/x", b"first")
    assert version is not None
    assert store.put_if_absent("a/x", b"second") is None
    assert store.get_versioned("a/x") == (b"first", version)


def test_replace_only_what_was_read(store: Store) -> None:
    first = store.put_if_absent("a/x", b"first")
    assert first is not None
    second = store.replace("a/x", b"second", first)
    assert second is not None
    assert second != first
    assert store.replace("a/x", b"third", first) is None
    assert store.get_versioned("a/x") == (b"second", second)
    assert store.replace("a/none", b"x", first) is None
    assert store.list("") == ["a/x"]


@pytest.mark.parametrize("how", ["put_if_absent", "replace"])
def test_of_many_threads_one_wins(store: Store, how: str) -> None:
    for turn in range(2):
        key, won, barrier = f"x{turn}", [], threading.Barrier(6)
        version = store.put_if_absent(key, b"base") if how == "replace" else None

        def compete(n: int, key=key, won=won, barrier=barrier, version=version) -> None:
            barrier.wait()
            data = b"from %d" % n
            if store.put_if_absent(key, data) if version is None else store.replace(key, data, version):
                won.append(data)

        threads = [threading.Thread(target=compete, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert won == [store.get_bytes(key)]


def test_ranges(store: Store) -> None:
    store.put_bytes("x", bytes(range(100)))
    assert store.get_range("x", 10, 5) == bytes(range(10, 15))
    assert store.get_range("x", 95, 50) == bytes(range(95, 100))
    assert store.get_range("x", 100, 5) == b""
    with pytest.raises(MissingKey):
        store.get_range("y", 0, 1)


def test_ages_and_sizes(store: Store) -> None:
    store.put_bytes("a/x", b"123")
    time.sleep(1.2)
    store.put_bytes("a/y", b"1")
    ages = {found.key: found.age_s for found in store.objects("a/")}
    assert {found.key: found.size for found in store.objects("a/")} == {"a/x": 3, "a/y": 1}
    assert ages["a/x"] > ages["a/y"]
    assert 1 <= store.age_s("a/x") < 20
    with pytest.raises(MissingKey):
        store.age_s("a/z")


def test_what_killed_writers_leave_is_found_and_discarded(store: Store, tmp_path: Path) -> None:
    if isinstance(store, S3Store):
        store._client.create_multipart_upload(Bucket=store.bucket, Key=f"{store.prefix}shards/big")
    else:
        (tmp_path / "store" / "shards").mkdir(parents=True)
        (tmp_path / "store" / "shards" / ".half-0123456789ab").write_bytes(b"hal")
    (left,) = store.unfinished()
    assert left.key.startswith("shards/")
    assert store.list("") == []
    store.discard(left)
    assert list(store.unfinished()) == []


class Scripted(ThreadingHTTPServer):
    """Answers requests from a list, in order: (status, body)."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, bytes]] = []
        self.keys: list[str] = []  # the access keys that requests were signed with


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Scripted)
        server.keys.append(self.headers["Authorization"].split("Credential=")[1].split("/")[0])
        status, body = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"x"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def error(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>m</Message></Error>".encode()


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Scripted]:
    server = Scripted()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    credentials = tmp_path / "credentials"
    credentials.write_text("[default]\naws_access_key_id=old\naws_secret_access_key=s\n")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    yield server
    server.shutdown()
    server.server_close()


def test_expired_credentials_are_read_anew(scripted: Scripted, tmp_path: Path) -> None:
    store = open_store("s3://b/x")
    scripted.answers = [(200, b"one")]
    assert store.get_bytes("k") == b"one"
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id=new\naws_secret_access_key=s\n")
    scripted.answers = [(400, error("ExpiredToken")), (200, b"two")]
    assert store.get_bytes("k") == b"two"
    assert scripted.keys == ["old", "old", "new"]


def test_credentials_that_expire_late_in_an_outage_are_read_anew_too(
    scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roomseg.runtime.s3._RENEWAL_S", 0.05)  # our first pause is longer
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    store = open_store("s3://b/x")
    scripted.answers = [*[(503, error("SlowDown"))] * 4, (400, error("ExpiredToken")), (200, b"back")]
    assert store.get_bytes("k") == b"back"


def test_credentials_that_stay_expired(scripted: Scripted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roomseg.runtime.s3._RENEWAL_S", 0.3)
    scripted.answers = [(400, error("ExpiredToken"))]
    with pytest.raises(UserError, match=r"no right to read s3://b/x/k \(ExpiredToken\): check the credentials"):
        open_store("s3://b/x").get_bytes("k")


class Clock:
    """Stands still but for our own pauses, which take no time."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.wakes: Callable[[], None] = lambda: None

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.wakes()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of ``s3.py``; botocore's pauses are none, so that all of the patience that it counts is ours."""
    clock = Clock()
    monkeypatch.setattr("roomseg.runtime.s3.time", clock)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    return clock


def test_an_outage_of_five_minutes_is_sat_out(scripted: Scripted, clock: Clock) -> None:
    store = open_store("s3://b/x")
    scripted.answers = [(503, error("SlowDown"))]

    def back_after_five_minutes() -> None:
        if clock.now_s >= OUTAGE_S:
            scripted.answers = [(200, b"back")]

    clock.wakes = back_after_five_minutes
    assert store.get_bytes("k") == b"back"
    assert OUTAGE_S <= clock.now_s < OUTAGE_S + 20  # a pause is 20 s at most: the server is not left waiting


def test_an_endless_outage_is_told(scripted: Scripted, clock: Clock) -> None:
    store = open_store("s3://b/x")
    scripted.answers = [(503, error("SlowDown"))]
    with pytest.raises(UserError, match="cannot read s3://b/x/k: the server says SlowDown: m"):
        store.get_bytes("k")
    assert clock.now_s < 2 * OUTAGE_S


@pytest.mark.parametrize(("given", "message"), [("x", "expected seconds"), ("-1", "expected seconds")])
def test_a_wrong_timeout(monkeypatch: pytest.MonkeyPatch, given: str, message: str) -> None:
    monkeypatch.setenv("ROOMSEG_S3_TIMEOUT_S", given)
    with pytest.raises(UserError, match=message):
        open_store("s3://b/x")


def test_an_endpoint_that_is_no_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "user:hush@nowhere")
    with pytest.raises(UserError, match="check AWS_ENDPOINT_URL") as caught:
        open_store("s3://b/x")
    assert "hush" not in str(caught.value)
