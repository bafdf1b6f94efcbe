"""Stages over S3 while requests fail in all the ways of ``proxy.py``: the artifacts are those of an undisturbed run."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from roomseg.runtime.artifacts import AttemptClock, StoreArtifactReader, StoreArtifactWriter
from roomseg.runtime.checkpoints import StoreCheckpoints
from roomseg.runtime.lease import leased
from roomseg.runtime.manifest import Manifest, Origin, manifest_key
from roomseg.runtime.storage import open_store
from tests.faults.proxy import FaultyProxy

KINDS = 11


@pytest.fixture
def quick_to_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short timeouts and pauses: what is tried again matters here, not how long one waits."""
    monkeypatch.setenv("ROOMSEG_S3_TIMEOUT_S", "1")
    monkeypatch.setattr("roomseg.runtime.s3._LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.02)


def attempt(store_url: str, folder: Path, mark: str, parent: Manifest | None, dies_after: int = 99) -> Manifest | None:
    """What stages do with a store: lease, journal, files, checkpoints, the files of the stage before, the manifest."""
    store = open_store(store_url)
    origin = Origin(stage="render", fingerprint=mark, code_version="", config={}, parents={})
    folder.mkdir(parents=True, exist_ok=True)
    with leased(store, f"{origin.folder}/lease.json", lambda: False, lambda _: None) as lease:
        assert lease is not None
        writer = StoreArtifactWriter(store, origin, AttemptClock(store, origin.folder), folder / "cache", lease.check)
        checkpoints = StoreCheckpoints(store, "render", mark, folder, lambda _: None)
        latest = checkpoints.latest()
        start, total = (latest[0], latest[1]["total"]) if latest else (0, 0)
        reader = StoreArtifactReader(store, parent, folder / "cache") if parent else None
        for step in range(start, 6):
            if step == dies_after:
                return None
            name = f"rooms/{step}.bin"
            read = np.fromfile(reader.path(name), np.uint8) if reader else np.arange(3 << 10, dtype=np.uint8)
            total = (total * 31 + int(read.sum()) + step) % 1_000_003
            data = np.random.default_rng([total, step]).integers(0, 256, (3 << 10) if step else 9 << 20, np.uint8)
            (folder / "file").write_bytes(data.tobytes())
            if name not in writer:
                writer.add(name, folder / "file")
            checkpoints.save(step + 1, {"total": total})
        for step in range(6):
            assert f"rooms/{step}.bin" in writer
        made = writer.finish({"total": total})
    checkpoints.clear()
    return made


def two_stages(store_url: str, folder: Path, dies_after: int) -> list[str]:
    """Their digests; the first attempt at the first stage dies, as if killed between two steps."""
    assert attempt(store_url, folder / "1", "first", None, dies_after) is None
    first = attempt(store_url, folder / "2", "first", None)
    assert first is not None
    second = attempt(store_url, folder / "3", "second", first)
    assert second is not None
    kept = [open_store(store_url).get_bytes(manifest_key("render", mark)) for mark in ("first", "second")]
    assert [Manifest.from_json(text) for text in kept] == [first, second]
    return [first.digest, second.digest]


def inject(
    s3_store: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    faults: int,
    run: Callable[[str, Path, int], list[str]],
    seed: int,
) -> tuple[Counter[str], float, float]:
    """Runs, each in a store of its own, until so many faults were met; (faults, seconds without, seconds with)."""
    started = time.monotonic()
    wanted = run(f"{s3_store}/whole", folder / "whole", 3)
    plain_s, made, runs, rng = time.monotonic() - started, Counter[str](), 0, random.Random(seed)
    started, requests = time.monotonic(), 0
    server = os.environ["AWS_ENDPOINT_URL"]
    while made.total() < faults:
        proxy = FaultyProxy(server, seed=rng.randrange(1 << 30), share=0.3, limit=faults - made.total())
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        try:
            assert run(f"{s3_store}/{runs}", folder / str(runs), rng.randrange(1, 6)) == wanted
        finally:
            proxy.stop()
            monkeypatch.setenv("AWS_ENDPOINT_URL", server)
        made += proxy.made
        requests += proxy.requests
        runs += 1
    faulty_s = (time.monotonic() - started) / runs
    print(f"\n{made.total()} faults in {requests} requests of {runs} runs: {plain_s:.1f} s a run without them, ")
    print(f"{faulty_s:.1f} s with them; {dict(made)}")
    return made, plain_s, faulty_s


@pytest.mark.usefixtures("quick_to_retry")
def test_sixty_faults(s3_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, _ = inject(s3_store, tmp_path, monkeypatch, 60, two_stages, seed=1)
    assert made.total() >= 60


@pytest.mark.heavy
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("quick_to_retry")
def test_a_thousand_faults(s3_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, _, _ = inject(s3_store, tmp_path, monkeypatch, 1000, two_stages, seed=2)
    assert made.total() >= 1000
    assert len(made) >= KINDS
