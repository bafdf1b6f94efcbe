"""What a KFP component does with a stage's manifest, scores and errors."""

from types import SimpleNamespace

import pytest

from roomseg.errors import UserError
from roomseg.profiles import demo
from roomseg.runtime import component
from roomseg.runtime.file_table import FileEntry
from roomseg.runtime.manifest import Manifest


def manifest() -> Manifest:
    return Manifest(
        stage="teacher",
        fingerprint="f" * 20,
        code_version="0",
        config={},
        parents={},
        files=(FileEntry(name="a", key="shards/a", size=1, sha256="0" * 64),),
        scores={"val_miou": 0.25},
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
    return SimpleNamespace(metrics=metrics, inputs={"rooms": str(rooms)}, output=tmp_path / "deep" / "out")


def run(ports, config: str | None = None) -> None:
    text = demo().teacher.model_dump_json() if config is None else config
    component.run_component("teacher", text, "store", "", "run", ports.inputs, str(ports.output), ports.metrics)


def test_manifests_go_in_and_out(ports, monkeypatch):
    given = {}

    def fake(stage, section, **rest):
        given.update(rest, stage=stage, section=section)
        return manifest()

    monkeypatch.setattr(component, "run_stage", fake)
    run(ports)
    assert given["section"] == demo().teacher
    assert given["inputs"]["rooms"] == manifest()
    assert given["tracking_uri"] is None
    assert Manifest.from_json(ports.output.read_text(), "out") == manifest()
    assert ports.metrics.logged == {"val_miou": 0.25}


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
