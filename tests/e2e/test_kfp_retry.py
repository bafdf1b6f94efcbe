"""KFP itself starts a stage again that was killed: its local runner knows retries, as a cluster does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from roomseg.runtime.storage import open_store
from tests.e2e.killing.points import CLIENT, KillPoint, killing
from tests.e2e.test_kill_points import Finished, check_artifact, check_figures, manifest_of, tracked
from tests.e2e.test_local_pipeline import ROOT, STAGES, stage_runs

STORE = "roomseg.runtime.storage:DirectoryStore"
POINTS = {
    "render-shard-half-written": KillPoint("os:fsync", inside=f"{STORE}.put_file"),
    "teacher-checkpoint-not-stored": KillPoint(f"{STORE}.put_file", match="checkpoints/teacher/"),
    "pretrain-without-manifest": KillPoint(f"{STORE}.put_if_absent", call=2, match="artifacts/pretrain/"),
    "distill-checkpoint-without-manifest": KillPoint(f"{STORE}.put_bytes", match="checkpoints/distill/"),
    "evaluate-some-files-added": KillPoint(f"{STORE}.put_bytes", call=3, match="artifacts/evaluate/"),
    "register-version-without-alias": KillPoint(f"{CLIENT}.create_model_version", when="after"),
}


@pytest.mark.timeout(1800)
def test_killed_once_in_every_stage_the_pipeline_ends_as_if_undisturbed(finished: Finished, tmp_path: Path) -> None:
    marks, store, undisturbed = tmp_path / "marks", open_store(str(tmp_path / "store")), open_store(str(finished[0]))
    command = [sys.executable, "-m", "tests.e2e.retried_pipeline", store.url]
    environment = os.environ | killing(POINTS, marks)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1700)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert {path.name for path in marks.iterdir()} == set(POINTS)
    for stage in STAGES:
        check_artifact(stage, store, undisturbed)
        assert manifest_of(store, stage).attempts == 2
        assert stage_runs(tmp_path / "store").count(stage) == 1
    check_figures(tracked(tmp_path / "store/mlflow.db"), tracked(finished[0] / "mlflow.db"))
