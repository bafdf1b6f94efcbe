"""The tiny pipeline, from render to register, over S3 while requests fail in all the ways of ``proxy.py``."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roomseg.config import override
from roomseg.profiles import demo
from roomseg.runtime.finding import find_inputs
from roomseg.runtime.s3 import S3Store
from roomseg.runtime.stage import STAGES, run_stage
from roomseg.runtime.storage import DirectoryStore, local_errors
from tests.e2e.test_local_pipeline import TINY
from tests.faults.test_faults import KINDS, inject, quick_to_retry

__all__ = ["quick_to_retry"]
MANY_REQUESTS = [  # for little work
    *("render.train_rooms=1", "render.rooms_per_shard=1", "teacher.epochs=10"),
    *("distill.iterations=6", "distill.validate_every=1"),
]
TELL_SECONDS = {"report.html", "hero.png"}  # so they differ from run to run
Run = Callable[[str, Path, int], list[str]]


@pytest.fixture
def full_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What found the local disk full: half of the near copies of the shared cache, drawn with a seed."""
    rng, put, refused = random.Random(0), DirectoryStore.put_bytes, []

    def sometimes_full(store: DirectoryStore, key: str, data: bytes) -> None:
        if rng.random() < 0.5:
            refused.append(key)
            with local_errors("write", store.root / key):
                raise OSError(errno.ENOSPC, "No space left on device")
        put(store, key, data)

    monkeypatch.setattr(DirectoryStore, "put_bytes", sometimes_full)
    return refused


@pytest.fixture
def store_s(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """Seconds that all threads of each run spent with the store; printed at the end."""
    seconds: list[float] = []
    ask = S3Store._try

    def timed(store: S3Store, action: str, key: str, call: Callable[[], Any]) -> Any:
        started = time.monotonic()
        try:
            return ask(store, action, key, call)
        finally:
            seconds[-1] += time.monotonic() - started

    monkeypatch.setattr(S3Store, "_try", timed)
    yield seconds
    print(f"\nwith the store: {seconds[0]:.1f} s without faults, {np.mean(seconds[1:]):.1f} s a run with them")


@pytest.fixture
def whole_pipeline(monkeypatch: pytest.MonkeyPatch, store_s: list[float]) -> Run:
    """Runs all stages on a store; the sha256 of all files that they made, and their scores."""

    def run(store: str, folder: Path, _: int) -> list[str]:
        monkeypatch.setenv("ROOMSEG_CACHE_DIR", str(folder / "cache"))
        folder.mkdir(parents=True)
        store_s.append(0.0)
        config = override(demo(), [*TINY, *MANY_REQUESTS])
        where = {"store": store, "run_id": "run", "tracking_uri": f"sqlite:///{folder / 'mlflow.db'}"}
        made = []
        for stage in STAGES:
            manifest = run_stage(stage, config.section(stage), inputs=find_inputs(stage, config, store), **where)
            made += [f"{entry.name} {entry.sha256}" for entry in manifest.files if entry.name not in TELL_SECONDS]
            made.append(f"{stage} {manifest.scores}")
        return made

    return run


@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("quick_to_retry")
def test_a_hundred_faults(
    s3_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_pipeline: Run, full_at: list[str]
) -> None:
    made, _, _ = inject(s3_store, tmp_path, monkeypatch, 100, whole_pipeline, seed=3)
    assert made.total() >= 100
    assert full_at


@pytest.mark.heavy
@pytest.mark.timeout(7200)
@pytest.mark.usefixtures("quick_to_retry")
def test_a_thousand_faults(
    s3_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_pipeline: Run, full_at: list[str]
) -> None:
    made, _, _ = inject(s3_store, tmp_path, monkeypatch, 1000, whole_pipeline, seed=4)
    assert made.total() >= 1000
    assert len(made) >= KINDS
    assert full_at
