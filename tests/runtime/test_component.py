"""What a KFP component does with a stage's manifest, scores and errors."""

import json
import math
from types import SimpleNamespace

import pytest

from roomseg.errors import UserError
from roomseg.profiles import demo
from roomseg.runtime import component
from roomseg.runtime.file_table import FileEntry
from roomseg.runtime.manifest import Manifest
from roomseg.runtime.run_record import note_stage
from roomseg.runtime.storage import open_store


def manifest() -> Manifest:
    return Manifest(
        stage="teacher",
        fingerprint="f" * 20,
        code_version="0",
        config={},
        parents={},
        files=(FileEntry(name="a", key="shards/a", size=1, sha256="0" * 64),),
        scores={"val_miou": 0.25, "surface_seen": math.nan},
        seconds=1.0,
        attempts=1,
        created="2026-01-01T00:00:00+00:00",
    )


@pytest.fixture
def ports(tmp_path):
    logged = {}
    metrics = SimpleNamespace(path=str(tmp_path / "metrics"), log_metric=logged.__setitem__, logged=logged)
    rooms = tmp_path / "rooms"
    rooms.write_text(manifest().to_json())
    store, output = str(tmp_path / "store"), tmp_path / "deep" / "out"
    return SimpleNamespace(metrics=metrics, inputs={"rooms": str(rooms)}, output=output, store=store)


def run(ports, config: str | None = None) -> None:
    text = demo().teacher.model_dump_json() if config is None else config
    component.run_component("teacher", text, ports.store, "", "run", ports.inputs, str(ports.output), ports.metrics)


def test_manifests_go_in_and_out(ports, monkeypatch, tmp_path):
    given = {}

    def fake(stage, section, **rest):
        given.update(rest, stage=stage, section=section)
        note_stage(open_store(rest["store"]), rest["run_id"], manifest())
        return manifest()

    monkeypatch.setattr(component, "run_stage", fake)
    run(ports)
    assert given["section"] == demo().teacher
    assert given["inputs"]["rooms"] == manifest()
    assert given["tracking_uri"] is None
    assert Manifest.from_json(ports.output.read_text(), "out") == manifest()
    assert ports.metrics.logged == {"val_miou": 0.25}
    component.finish_run(ports.store, "run", "SUCCEEDED", "", str(tmp_path / "summary"))
    assert "| teacher | 1 | 1 | val_miou 0.250 |" in (tmp_path / "summary").read_text()
    summary = json.loads((tmp_path / "store/runs/run/summary.json").read_text())
    assert (summary["state"], summary["stages"][0]["manifest"]) == (
        "SUCCEEDED",
        f"artifacts/teacher/{'f' * 20}/manifest.json",
    )


@pytest.mark.parametrize("name", [".", "..", "..."])
def test_a_run_of_dots_has_a_folder_below_runs(name, tmp_path):
    component.finish_run(str(tmp_path / "store"), name, "FAILED", "", str(tmp_path / "summary"))
    (found,) = (tmp_path / "store").rglob("summary.json")
    assert found == tmp_path / "store/runs" / name.replace(".", "%2E") / "summary.json"


def test_the_summary_of_a_run_that_failed_at_once(tmp_path):
    component.finish_run(str(tmp_path / "store"), "a run/..", "FAILED", "no node\nhad room", str(tmp_path / "summary"))
    text = (tmp_path / "summary").read_text()
    assert text == "# Run a run/..: FAILED\n\n    no node\n    had room\n\nNo stage ended well.\n"
    assert (tmp_path / "store/runs/a%20run%2F../summary.json").is_file()


def test_a_part_runs_its_shard(tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(component, "run_shard", lambda stage, section, **rest: given.update(rest, stage=stage))
    component.run_part("render", demo().render.model_dump_json(), "store", "", "run", "2/8", str(tmp_path / "part"))
    assert (given["stage"], given["shard"], (tmp_path / "part").read_text()) == ("render", (2, 8), "2/8")


@pytest.mark.parametrize("limit", [100, 10])
def test_what_the_ui_shows_of_an_evaluation(tmp_path, monkeypatch, limit):
    (tmp_path / "confusion.json").write_text('{"classes": ["void", "wall"], "voxels": [[3, 1], [0, 2]]}')
    (tmp_path / "report.html").write_text("<!doctype html>the report")
    monkeypatch.setattr(component, "StoreArtifactReader", lambda *_: SimpleNamespace(path=tmp_path.joinpath))
    monkeypatch.setattr(component, "MAX_PAGE_BYTES", limit)
    shown = []
    confusion = SimpleNamespace(path=str(tmp_path / "confusion"), log_confusion_matrix=lambda *it: shown.append(it))
    component.show_evaluation(manifest(), str(tmp_path / "store"), confusion, str(tmp_path / "page"))
    assert shown == [(["void", "wall"], [[3, 1], [0, 2]])]
    page = (tmp_path / "page").read_text()
    assert ("the report" if limit == 100 else f"report.html of {tmp_path}/store/artifacts/teacher/") in page


def test_a_user_s_error_is_one_line_and_its_exit_code(ports, monkeypatch, capsys):
    def fails(*_, **__):
        raise UserError("disk full at /x: free space")

    monkeypatch.setattr(component, "run_stage", fails)
    with pytest.raises(SystemExit) as caught:
        run(ports)
    assert caught.value.code == 1
    assert capsys.readouterr().err == "roomseg teacher: error: disk full at /x: free space\n"
    assert not ports.output.exists()


def test_a_bad_configuration_exits_with_2(ports, capsys):
    with pytest.raises(SystemExit) as caught:
        run(ports, '{"epochs": 0}')
    assert caught.value.code == 2
    assert "configuration of teacher" in capsys.readouterr().err
