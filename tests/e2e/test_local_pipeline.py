"""The whole pipeline under KFP's local runner, on tiny settings: once, again, and with kill -9 in between."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent.parent
TINY = [
    "render.train_rooms=3",
    "render.val_rooms=1",
    "render.test_rooms=1",
    "render.rooms_per_house=3",
    "render.room_size_m=[2.2,2.6]",
    "render.frames_per_room=8",
    "render.frame_width=96",
    "render.frame_height=72",
    "render.panorama_height=64",
    "render.rooms_per_shard=2",
    "teacher.epochs=2",
    "teacher.validate_every_epochs=1",
    "pretrain.epochs=1",
    "distill.iterations=4",
    "distill.validate_every=2",
    "distill.min_hit_rate=0.1",
    "evaluate.bootstrap_samples=20",
    "evaluate.pictured_rooms=1",
]
STAGES = ("render", "teacher", "pretrain", "distill", "evaluate", "register")


def command(store: Path | str, *more: str) -> list[str]:
    settings = [part for setting in TINY for part in ("--set", setting)]
    return [sys.executable, "pipeline.py", "--local", "--profile", "demo", "--store", str(store), *settings, *more]


def manifests(store: Path) -> dict[str, dict]:
    found = {path.parts[-3]: json.loads(path.read_text()) for path in store.glob("artifacts/*/*/manifest.json")}
    assert len(found) == len(list(store.glob("artifacts/*/*/manifest.json"))), "a stage has two artifacts"
    return found


def files(store: Path, stage: str) -> dict[str, str]:
    """Names and sha256 of a stage's files."""
    return {f["name"]: f["sha256"] for f in manifests(store)[stage]["files"]}


def weights(store: Path, stage: str) -> dict[str, str]:
    return {name: sha256 for name, sha256 in files(store, stage).items() if name.endswith(".safetensors")}


def stage_runs(store: Path) -> list[str]:
    with sqlite3.connect(store / "mlflow.db") as database:
        query = "SELECT name FROM runs WHERE lifecycle_stage = 'active' AND status = 'FINISHED'"
        return sorted(name for (name,) in database.execute(query))


def test_it_ends_with_scores_and_where_things_are(finished):
    store, done = finished
    scores = manifests(store)["evaluate"]["scores"]
    for name, prefix in [("student after distillation", "distilled"), ("2D teacher", "teacher_2d")]:
        line = next(line for line in done.stdout.splitlines() if name in line)
        assert f"{scores[f'{prefix}_miou']:.1%}" in line
        assert f"{scores[f'{prefix}_miou_published']:.1%}" in line
    report = Path(re.search(r"^report\s+(\S+)$", done.stdout, re.M)[1])
    assert report.read_text().lower().startswith("<!doctype html>")
    assert re.search(r"^model\s+roomseg version 1@champion$", done.stdout, re.M)
    assert re.search(r"^gate\s+there was no champion to compare with$", done.stdout, re.M)
    assert f"roomseg ui --store {store}" in done.stdout


def test_every_stage_left_one_artifact_and_one_run(finished):
    store, _ = finished
    assert set(manifests(store)) == set(STAGES)
    runs = stage_runs(store)
    assert [stage for stage in STAGES if runs.count(stage) == 1] == list(STAGES)


def test_scores_are_those_of_the_confusion_matrix(finished):
    scores = manifests(finished[0])["evaluate"]["scores"]
    for value in scores.values():
        assert 0 <= value <= 1
    assert scores["constant_miou"] < scores["constant_miou_published"]  # void voxels are most of a room


def test_the_registered_model_predicts(finished):
    store, _ = finished
    code = """
import io, numpy as np, mlflow, pandas, sys
mlflow.set_tracking_uri(sys.argv[1]); mlflow.set_registry_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/roomseg@champion")
tsdf = np.full((20, 24, 16), 127, np.int8); tsdf[:, :, 4:6] = 0
packed = io.BytesIO(); np.savez_compressed(packed, tsdf=tsdf, rgb=np.zeros((*tsdf.shape, 3), np.uint8))
answer = model.predict(pandas.DataFrame({"volume": [packed.getvalue()]}))
np.save(sys.argv[2], np.load(io.BytesIO(answer["labels"][0]))["label"])
"""
    out = store / "labels.npy"
    uri = f"sqlite:///{store / 'mlflow.db'}"
    done = subprocess.run([sys.executable, "-c", code, uri, str(out)], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    labels = np.load(out)
    assert (labels.shape, labels.dtype) == ((20, 24, 16), np.uint8)


def test_again_runs_nothing_again(finished):
    store, _ = finished
    before, runs = manifests(store), stage_runs(store)
    done = subprocess.run(command(store), cwd=ROOT, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert len(re.findall(r"already complete", done.stdout)) == len(STAGES)
    assert manifests(store) == before
    assert stage_runs(store) == runs


@pytest.mark.heavy
def test_killed_in_every_stage_it_continues_to_the_same_result(finished, tmp_path):
    """kill -9 of the whole process group soon after each stage starts; the last attempt runs through."""
    for stage in STAGES:
        _kill_during(stage, tmp_path)
    done = subprocess.run(command(tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=560)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert files(tmp_path, "render") == files(finished[0], "render")
    for stage in STAGES:
        assert set(files(tmp_path, stage)) == set(files(finished[0], stage))
        assert stage_runs(tmp_path).count(stage) == 1
    for stage in ("teacher", "pretrain", "distill"):
        assert weights(tmp_path, stage) == weights(finished[0], stage), f"{stage} ended with other weights"


def _kill_during(stage: str, store: Path) -> None:
    """Start the pipeline and kill it when the stage has begun its work."""
    process = subprocess.Popen(
        command(store), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 300
    while not list(store.glob(f"artifacts/{stage}/*/attempts/*")):
        assert process.poll() is None, f"the pipeline ended before {stage} began"
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(2.0)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_furniture_archive_cut_short_is_one_clear_line(tmp_path):
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    (libraries / "Scopia.sh3f").write_bytes(b"PK\x03\x04 cut short")
    done = subprocess.run(
        command(tmp_path / "store"),
        cwd=ROOT,
        env=os.environ | {"ROOMSEG_FURNITURE_DIR": str(libraries)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: render: ")
    assert "Scopia.sh3f" in line
    assert "make furniture" in line
    assert not list((tmp_path / "store").glob("artifacts/*/*/manifest.json"))


@pytest.mark.heavy
def test_the_same_on_s3(finished, s3_store, tmp_path):
    tracking = f"sqlite:///{tmp_path / 'mlflow.db'}"
    cache = os.environ | {"ROOMSEG_CACHE_DIR": str(tmp_path / "cache")}
    for words in ("render 5/5", "already complete"):
        done = subprocess.run(
            command(s3_store, "--tracking-uri", tracking),
            cwd=ROOT,
            env=cache,
            capture_output=True,
            text=True,
            timeout=560,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert words in done.stdout
    rows = {line for line in finished[1].stdout.splitlines() if "│" in line}
    assert rows <= set(done.stdout.splitlines())  # the same scores
