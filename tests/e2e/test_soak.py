"""Kill loops: SIGKILL of all processes at random times, the same command each time, then one run to the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest

from roomseg.runtime.storage import open_store
from tests.e2e.test_kill_points import Finished, check_artifact, check_figures, tracked
from tests.e2e.test_local_pipeline import ROOT, STAGES, TINY, command, files, manifests, stage_runs, weights
from tests.waiting import wait_until

KILLS = 50
FEW_KILLS = {"render": 2, "pretrain": 1}


def finish(words: Sequence[str]) -> None:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def kill_after(seconds: float, words: Sequence[str], has_begun: Callable[[], bool] = lambda: True) -> bool:
    """Whether it was still at work so long after it had begun."""
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(words, cwd=ROOT, start_new_session=True, **silent)
    try:
        wait_until(lambda: has_begun() or process.poll() is not None, patience_s=600)
        assert process.wait(seconds) == 0
        return False
    except subprocess.TimeoutExpired:
        return True
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.heavy
@pytest.mark.timeout(7200)
def test_fifty_kills_at_random_times(tmp_path: Path) -> None:
    undisturbed = tmp_path / "undisturbed"
    finish(command(undisturbed))
    rng = np.random.default_rng(0)
    kills = 0
    while kills < KILLS:  # a pipeline that gets through in between is compared, and another one is begun
        soaked = tmp_path / f"soaked{kills}"
        while kills < KILLS and kill_after(rng.uniform(2, 30), command(soaked)):
            kills += 1
        finish(command(soaked))
        check_equal(soaked, undisturbed)


def check_equal(soaked: Path, undisturbed: Path) -> None:
    for stage in STAGES:
        assert stage_runs(soaked).count(stage) == 1
        assert set(files(soaked, stage)) == set(files(undisturbed, stage))
    assert files(soaked, "render") == files(undisturbed, "render")
    for stage in ("teacher", "pretrain", "distill"):
        assert weights(soaked, stage) == weights(undisturbed, stage)
    assert manifests(soaked)["evaluate"]["scores"] == manifests(undisturbed)["evaluate"]["scores"]


def test_a_few_kills_of_two_stages_at_random_times(finished: Finished, tmp_path: Path) -> None:
    """How many hit does not depend on the machine: where stages get through before them, they come sooner."""
    rng, longest_s, kills, turns = np.random.default_rng(1), 4.0, 0, 0
    while kills < sum(FEW_KILLS.values()):
        soaked, turns = tmp_path / f"soaked{turns}", turns + 1
        for stage, wanted in FEW_KILLS.items():
            kills += kills_until_it_ends(stage, soaked, rng.uniform(0, longest_s, wanted))
        check_stages(soaked, finished[0])
        longest_s /= 2


def kills_until_it_ends(stage: str, store: Path, delays_s: Sequence[float]) -> int:
    """How many hit: after one that came too late there is nothing to kill."""
    settings = [part for setting in TINY for part in ("--set", setting)]
    words = [sys.executable, "-m", "roomseg", stage, "--profile", "demo", "--store", str(store), *settings]
    hits = list(takewhile(bool, (kill_after(delay, words, next_attempt(stage, store)) for delay in delays_s)))
    finish(words)
    return len(hits)


def next_attempt(stage: str, store: Path) -> Callable[[], bool]:
    """Tells when one more has begun."""

    def attempts() -> int:
        return len(list(store.glob(f"artifacts/{stage}/*/attempts/*.json")))

    before = attempts()
    return lambda: attempts() > before


def check_stages(soaked: Path, undisturbed: Path) -> None:
    for stage in FEW_KILLS:
        check_artifact(stage, open_store(str(soaked)), open_store(str(undisturbed)))
        assert stage_runs(soaked).count(stage) == 1
    figures = [each for each in tracked(undisturbed / "mlflow.db") if each[0][0] in FEW_KILLS]
    check_figures(tracked(soaked / "mlflow.db"), figures)
