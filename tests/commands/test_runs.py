"""``roomseg runs`` and ``roomseg status`` over a real store."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from roomseg.cli import app
from roomseg.errors import UserError
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
    origin = Origin(stage="teacher", fingerprint="f1", code_version="", config={}, parents={})
    writer = StoreArtifactWriter(store, origin, AttemptClock(store, origin.folder), tmp_path / "cache")
    (tmp_path / "file").write_bytes(b"1")
    writer.add("weights", tmp_path / "file")
    assert "no runs yet" in run("runs", "--store", where)
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


def test_damaged_notes_are_passed_over_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    where = str(tmp_path / "store")
    store = open_store(where)
    origin = Origin(stage="teacher", fingerprint="f1", code_version="", config={}, parents={})
    writer = StoreArtifactWriter(store, origin, AttemptClock(store, origin.folder), tmp_path / "cache")
    note_stage(store, "[demo]", writer.finish({"miou": 0.25}))
    key = "runs/%5Bdemo%5D/stages/teacher-f2.json"
    for damage in (
        b"",
        b"[]",
        b"\xff\xfe",
        b'{"stage": 3}',
        b"[" * 100_000,
        store.get_bytes(store.list("runs/")[0])[:60],
    ):
        store.put_bytes(key, damage)
        shown = run("runs", "--store", where)
        assert "miou 0.250" in shown
        assert "[demo]" in shown, "and not taken for markup"
        assert "damaged note" in shown
        assert key in shown
        bad, good = json.loads(run("runs", "--store", where, "--json"))
        assert good["scores"] == {"miou": 0.25}
        assert (bad["run"], bad["damaged"]) == ("[demo]", key)
        told = summarise_run(store, "[demo]", "SUCCEEDED", "")
        assert "| teacher |" in told
        assert f"`{where}/{key}`" in told
        summary = json.loads(store.get_bytes("runs/%5Bdemo%5D/summary.json"))
        assert [len(summary[part]) for part in ("stages", "damaged")] == [1, 1]


def test_a_damaged_manifest_is_no_complete_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    where = str(tmp_path / "store")
    store = open_store(where)
    store.put_bytes("artifacts/teacher/f1/manifest.json", b'{"stage":')
    store.put_bytes("artifacts/teacher/f1/attempts/a.json", b"[" * 100_000)
    store.put_bytes("artifacts/teacher/f1/lease.json", b'{"ttl_s": 1, "token": "", "beat": 1e999, "where": 1}')
    shown = run("status", "--store", where)
    assert "damaged manifest" in shown
    assert f"damaged: {where}/artifacts/teacher/f1/manifest.json is no valid manifest" in shown
    (stage,) = json.loads(run("status", "--store", where, "--json"))
    assert "is no valid manifest" in stage["damage"]


@pytest.mark.parametrize(
    "words",
    [
        ("runs", "--store"),
        ("status", "--store"),
        ("status", "--json", "--store"),
        ("store", "verify"),
        ("store", "gc"),
        ("report", "-o", "out", "--store"),
    ],
)
def test_a_mistyped_store_is_no_empty_one(
    words: tuple[str, ...], s3_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / "pictures").mkdir(parents=True)
    for where in ("missing", "file", "folder", f"{s3_store}/missing"):
        result = CliRunner().invoke(app, [*words, where])
        assert isinstance(result.exception, UserError), (where, result.output)
        assert result.exception.exit_code == 1
        assert re.search(rf"{where} is no store: expected artifacts, .*; look at the name", str(result.exception))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
