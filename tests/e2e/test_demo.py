"""The demo itself, as ``make demo`` runs it: about ten minutes on two cores."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.e2e.test_local_pipeline import ROOT, manifests


def history(store: Path, stage: str) -> list[dict]:
    (entry,) = (f for f in manifests(store)[stage]["files"] if f["name"] == "history.json")
    return json.loads((store / entry["key"]).read_text())


@pytest.mark.heavy
@pytest.mark.timeout(1800)
def test_the_demo_learns(tmp_path):
    command = [sys.executable, "pipeline.py", "--local", "--profile", "demo", "--store", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    scores = manifests(tmp_path)["evaluate"]["scores"]
    assert scores["distilled_miou"] > 3 * scores["constant_miou"]
    assert scores["distilled_miou"] > 3 * scores["untrained_miou"]
    assert scores["distilled_miou_published"] > 2 * scores["constant_miou_published"]
    for stage in ("teacher", "pretrain", "distill"):
        losses = [point["loss"] for point in history(tmp_path, stage) if "loss" in point]
        third = len(losses) // 3
        assert np.mean(losses[-third:]) < 0.9 * np.mean(losses[:third]), stage
    peak_kib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss  # of the largest process
    assert peak_kib < 6 * 2**20
