"""``roomseg runs`` and ``roomseg status`` over a real store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from roomseg.cli import app
from roomseg.runtime.artifacts import AttemptClock, StoreArtifactWriter
from roomseg.runtime.lease import take
from roomseg.runtime.manifest import Origin
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
    lease, _ = take(store, f"{origin.folder}/lease.json")
    assert lease is not None
    (found,) = json.loads(run("status", "--store", where, "--json"))
    assert (found["stage"], found["step"], found["files"]) == ("teacher", 20, 1)
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
