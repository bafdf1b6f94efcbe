"""The lease, also between real processes that race for it and die with it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from roomseg.errors import UserError
from roomseg.runtime.lease import Lease, leased, take
from roomseg.runtime.storage import Store
from tests.runtime.conftest import RunPython

KEY = "artifacts/render/f/lease.json"


def taken(store: Store, ttl_s: float = 60) -> Lease:
    lease, holder = take(store, KEY, ttl_s)
    assert lease is not None, holder
    return lease


def check_for(lease: Lease, seconds: float) -> None:
    for _ in range(round(10 * seconds)):
        time.sleep(0.1)
        lease.check()


def test_one_holder_at_a_time(store: Store) -> None:
    first = taken(store)
    lease, holder = take(store, KEY)
    assert lease is None
    assert holder.startswith("process ")
    first.release()
    taken(store).release()


def test_the_loser_waits_and_then_has_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roomseg.runtime.lease._POLL_S", 0.05)
    first, said = taken(store), []
    timer = threading.Timer(0.5, first.release)
    timer.start()
    with leased(store, KEY, lambda: False, said.append) as lease:
        assert lease is not None
        timer.join()  # released before, not by us
    assert len(said) == 1
    assert "is at it: waiting for it to finish" in said[0]


def test_the_loser_goes_when_the_work_is_done(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roomseg.runtime.lease._POLL_S", 0.01)
    first = taken(store)
    with leased(store, KEY, lambda: True, lambda _: None) as lease:
        assert lease is None
    first.release()


def foreign(store: Store, ttl_s: float, **more: object) -> None:
    """A lease of another machine."""
    record = {"token": "t", "ttl_s": ttl_s, "beat": 3, "where": "process 9 on far", "process": "other 9:9"} | more
    store.put_bytes(KEY, json.dumps(record).encode())


def test_a_lease_that_is_not_renewed_runs_out(store: Store) -> None:
    foreign(store, ttl_s=1.0)
    assert take(store, KEY)[0] is None
    time.sleep(2.1)  # S3 counts in whole seconds
    taken(store).release()


def test_a_damaged_lease_runs_out_too(store: Store) -> None:
    store.put_bytes(KEY, b'{"token": "x", "ttl')
    assert take(store, KEY) == (None, "an unknown process")


def test_a_lease_is_renewed_and_a_lost_one_is_noticed(store: Store) -> None:
    lease = taken(store, ttl_s=0.4)
    time.sleep(1.0)
    assert json.loads(store.get_bytes(KEY))["beat"] >= 1
    lease.check()
    foreign(store, ttl_s=60)
    with pytest.raises(UserError, match=r"process 9 on far has taken over this work, because .* heard nothing"):
        check_for(lease, 20)  # it notices with its next beat, which a busy machine delays
    lease.release()
    assert json.loads(store.get_bytes(KEY))["where"] == "process 9 on far"  # not ours to give back


def test_a_killed_holder_of_this_machine_is_known_at_once(store: Store, run_python: RunPython) -> None:
    ended = run_python(
        """
        import os, signal, sys
        from roomseg.runtime.lease import take
        from roomseg.runtime.storage import open_store
        assert take(open_store(sys.argv[1]), sys.argv[2], ttl_s=3000)[0] is not None
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        store.url,
        KEY,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    taken(store).release()


RACE = """
    import os, sys, time
    from pathlib import Path
    from roomseg.runtime.lease import leased
    from roomseg.runtime import lease
    from roomseg.runtime.artifacts import AttemptClock, StoreArtifactWriter
    from roomseg.runtime.manifest import Origin, manifest_key, read_manifest
    from roomseg.runtime.storage import open_store

    lease._POLL_S = 0.02
    store, folder, alone = open_store(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "alone"
    (folder / "file").write_text(sys.argv[4])
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(int(sys.argv[5])):
        origin = Origin(stage="render", fingerprint=f"f{n}", code_version="", config={}, parents={})
        def make():
            writer = StoreArtifactWriter(store, origin, AttemptClock(store, origin.folder), folder)
            if "file" not in writer:
                writer.add("file" if alone else sys.argv[4], folder / "file")
            return writer.finish({})
        if alone:
            done = lambda: store.exists(manifest_key("render", f"f{n}"))
            with leased(store, origin.folder + "/lease.json", done, lambda _: None) as held:
                made = None if held is None or done() else make()
        else:
            made = make()
        manifest = made or read_manifest(store, "render", f"f{n}")
        print(n, "adopted" if made is None else "made", manifest.digest, flush=True)
"""


def race(store: Store, folder: Path, how: str, rounds: int) -> list[list[list[str]]]:
    """What each of two processes says of each round."""
    racers = []
    for name in ("a", "b"):
        (folder / name).mkdir()
        command = [sys.executable, "-c", textwrap.dedent(RACE), store.url, str(folder / name), how, name, str(rounds)]
        racers.append(
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    said = []
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    for racer in racers:
        out, errors = racer.communicate(timeout=120)
        assert racer.returncode == 0, errors
        said.append([line.split() for line in out.splitlines()])
    return said


def test_two_processes_with_leases_make_each_artifact_once(store: Store, tmp_path: Path) -> None:
    first, second = race(store, tmp_path, "alone", rounds=8)
    for one, other in zip(first, second, strict=True):
        assert sorted([one[1], other[1]]) == ["adopted", "made"]
        assert one[2] == other[2]
    assert len(store.list("artifacts/render/f0/attempts/")) == 1


def test_two_processes_without_leases_agree_on_one_manifest(store: Store, tmp_path: Path) -> None:
    """The same fingerprint, different bytes, nobody waits: the conditional write of the manifest decides."""
    first, second = race(store, tmp_path, "together", rounds=8)
    assert [line[2] for line in first] == [line[2] for line in second]
