"""The same training in processes of their own gives the same bits."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


OTHER_HEAP = {"MALLOC_PERTURB_": "165", "PADDING": "x" * 3333}  # other garbage in memory, which lies elsewhere


def weights_of_a_process(**environment: str) -> dict[str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.few_steps"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_a_process_that_compiles_and_one_that_loads_end_with_the_same_bits(tmp_path: Path) -> None:
    compiled = weights_of_a_process(NUMBA_CACHE_DIR=str(tmp_path))
    assert list(tmp_path.rglob("*.nbc")), "the first process has compiled nothing"
    assert all(len(set(digests)) == 2 for digests in compiled.values())  # each step changes the weights
    assert weights_of_a_process(NUMBA_CACHE_DIR=str(tmp_path), **OTHER_HEAP) == compiled
