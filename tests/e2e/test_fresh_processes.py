"""The same training in processes of their own gives the same bits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


OTHER_HEAP = {"MALLOC_PERTURB_": "165", "PADDING": "x" * 3333}  # other garbage in memory, which lies elsewhere


def weights_of_a_process(**environment: str) -> dict[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.few_steps"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_two_processes_end_with_the_same_weights_bit_for_bit() -> None:
    first, second = weights_of_a_process(), weights_of_a_process(**OTHER_HEAP)
    assert second == first
    assert all(len(set(digests)) == 2 for digests in first.values())  # each step changes the weights


@pytest.mark.heavy
def test_kernels_that_are_compiled_and_kernels_that_are_loaded_round_alike(tmp_path: Path) -> None:
    compiled = weights_of_a_process(NUMBA_CACHE_DIR=str(tmp_path))
    assert list(tmp_path.rglob("*.nbc")), "the first process has compiled nothing"
    assert weights_of_a_process(NUMBA_CACHE_DIR=str(tmp_path), **OTHER_HEAP) == compiled
