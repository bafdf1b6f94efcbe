"""The tiny pipeline under a kill loop: SIGKILL of all its processes each few seconds, then one run to the end."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.test_local_pipeline import ROOT, STAGES, command, files, manifests, stage_runs, weights

KILLS = 50


def finish(store: Path) -> None:
    done = subprocess.run(command(store), cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def kill_after(seconds: float, store: Path) -> bool:
    """Whether the pipeline was still at work."""
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command(store), cwd=ROOT, start_new_session=True, **silent)
    try:
        assert process.wait(seconds) == 0
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True


@pytest.mark.heavy
@pytest.mark.timeout(7200)
def test_fifty_kills_at_random_times(tmp_path: Path) -> None:
    undisturbed = tmp_path / "undisturbed"
    finish(undisturbed)
    rng = np.random.default_rng(0)
    kills = 0
    while kills < KILLS:  # a pipeline that gets through in between is compared, and another one is begun
        soaked = tmp_path / f"soaked{kills}"
        while kills < KILLS and kill_after(rng.uniform(2, 30), soaked):
            kills += 1
        finish(soaked)
        check_equal(soaked, undisturbed)


def check_equal(soaked: Path, undisturbed: Path) -> None:
    for stage in STAGES:
        assert stage_runs(soaked).count(stage) == 1
        assert set(files(soaked, stage)) == set(files(undisturbed, stage))
    assert files(soaked, "render") == files(undisturbed, "render")
    for stage in ("teacher", "pretrain", "distill"):
        assert weights(soaked, stage) == weights(undisturbed, stage)
    assert manifests(soaked)["evaluate"]["scores"] == manifests(undisturbed)["evaluate"]["scores"]
