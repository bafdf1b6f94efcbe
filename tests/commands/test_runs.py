"""``roomseg runs`` and ``roomseg status`` over a real store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from roomseg.cli import app
from roomseg.runtime.artifacts import AttemptClock, StoreArtifactWriter
from roomseg.runtime.checkpoints import StoreCheckpoints
from roomseg.runtime.lease import take
from roomseg.runtime.manifest import Manifest, Origin
from roomseg.runtime.run_record import note_stage, summarise_run
from roomseg.runtime.storage import open_store


def run(*words: str) -> str:
    result = CliRunner().invoke(app, [*words])
    assert result.exit_code == 0, result.output
    return result.output


def test_runs_and_what_is_still_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # or the table is as narrow as where the tests run
    where = str(tmp_path / "store")
    store = open_store(where)
    assert "no runs yet" in run("runs", "--store", where)
    origin = Origin(stage="teacher", fingerprint="f1", code_version="", config={}, parents={})
    writer = StoreArtifactWriter(store, origin, AttemptClock(store, origin.folder), tmp_path / "cache")
    (tmp_path / "file").write_bytes(b"1")
    writer.add("weights", tmp_path / "file")
    store.put_bytes("checkpoints/teacher/f1/step-00000020/manifest.json", b"{}")
    store.put_bytes("checkpoints/teacher/f1/step-00000030/state.pt", b"no manifest: not a checkpoint yet")
    assert "step 20 " in run("status", "--store", where)
    checkpoints = StoreCheckpoints(store, "teacher", "f1", tmp_path / "scratch", pytest.fail)
    checkpoints.save(1500, {}, steps=45_000)
    assert "step 1,500 of 45,000 (3%)" in run("status", "--store", where)
    store.delete("checkpoints/teacher/f1/step-00001500/manifest.json")
    store.put_bytes("checkpoints/teacher/f1/step-00000020/manifest.json", b"no JSON")
    lease, _ = take(store, f"{origin.folder}/lease.json")
    assert lease is not None
    (found,) = json.loads(run("status", "--store", where, "--json"))
    assert (found["stage"], found["step"], found["steps"], found["files"]) == ("teacher", 20, None, 1)
    assert len(found["holders"]) == 1
    assert found["holders"][0].startswith("process ")
    lease.release()
    assert json.loads(run("status", "--store", where, "--json"))[0]["holders"] == []
    assert "interrupted" in run("status", "--store", where)

    note_stage(store, "demo/1", writer.finish({"miou": 0.25}))
    assert "nothing is open" in run("status", "--store", where)
    wrote = {"config": {"network": "T", "skip": False}, "stage": "pretrain"}
    note_stage(store, "demo/2", writer.finish({}).model_copy(update=wrote))
    assert " pretrain (student without skip) " in run("runs", "--store", where)
    assert "| pretrain (student without skip) |" in summarise_run(store, "demo/2", "SUCCEEDED", "")
    note, _ = json.loads(run("runs", "--store", where, "--json"))
    assert (note["run"], note["stage"], note["scores"]) == ("demo/1", "teacher", {"miou": 0.25})
    assert note["manifest"] == "artifacts/teacher/f1/manifest.json"


def test_the_newest_run_is_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    store = open_store(str(tmp_path))
    for run_id, stage, day in (("b", "teacher", 3), ("a", "render", 9), ("b", "render", 2), ("a", "teacher", 1)):
        made = Manifest(
            stage=stage, fingerprint="f", code_version="", config={}, parents={}, files=(), scores={},
            seconds=1, attempts=1, created=f"2026-01-0{day}T10:20:30+00:00",
        )  # fmt: skip
        note_stage(store, run_id, made)
    store.put_bytes("runs/old/stages/render-f.json", (tmp_path / "runs/b/stages/render-f.json").read_bytes())
    old = json.loads(store.get_bytes("runs/old/stages/render-f.json"))
    del old["created"]  # as earlier versions noted it
    store.put_bytes("runs/old/stages/render-f.json", json.dumps(old).encode())
    notes = json.loads(run("runs", "--store", str(tmp_path), "--json"))
    assert [(note["run"], note["stage"]) for note in notes] == [
        ("old", "render"), ("b", "render"), ("b", "teacher"), ("a", "teacher"), ("a", "render"),
    ]  # fmt: skip
    assert run("runs", "--store", str(tmp_path)).splitlines()[-1].split()[:4] == ["a", "render", "2026-01-09", "10:20"]
