"""The tutorial on one's own classes does what it says: its commands are run, in order, in one folder."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import tomllib
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from roomseg.cli import app
from roomseg.geometry.cameras import Pinhole
from scripts.draw_recordings import draw_recordings

TUTORIAL = Path(__file__).parents[2] / "docs" / "own-classes.md"
TINY = """
    render.frames_per_room=8 render.panoramas_per_room=1 render.panorama_height=64 render.workers=1
    teacher.epochs=1 teacher.validate_every_epochs=1 pretrain.epochs=1 pretrain.batch=4 distill.iterations=1
    distill.validate_every=1 distill.min_hit_rate=0.05 distill.min_label_agreement=0.05 evaluate.bootstrap_samples=20
    evaluate.pictured_rooms=1
"""
CLASSES = ["void", "floor", "wall", "ceiling", "opening", "seat", "table", "storage", "other"]
PALETTE = ["#000000", "#98df8a", "#aec7e8", "#c49c94", "#ff9896", "#bcbd22", "#9467bd", "#1f77b4", "#7f7f7f"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the recordings and the label file that the tutorial's reader has."""
    camera = Pinhole.from_fov(64, 48, 75.0)
    draw_recordings(tmp_path / "recordings", 3, 16, camera, (2.2, 2.5))
    draw_recordings(tmp_path / "other", 1, 8, camera, (2.2, 2.5), seed=1)
    (tmp_path / "other" / "room-01").rename(tmp_path / "new-recording")
    (tmp_path / "labels.toml").write_text(label_file(TUTORIAL.read_text()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_of_the_tutorial_run_and_all_that_comes_out_has_the_own_classes(folder: Path) -> None:
    text = TUTORIAL.read_text()
    (own,) = re.findall(r'^    OWN="(.+)"$', text, re.M)
    commands = re.findall(r"^    roomseg (.+)$", text, re.M)
    assert len(commands) == 10
    seen = set(np.unique([np.asarray(Image.open(path)) for path in (folder / "recordings").rglob("label/*.png")]))
    printed = {}
    for command in commands:
        if command.startswith("report"):  # the store and the model have the classes
            (folder / "labels.toml").unlink()
            shutil.rmtree(folder / "recordings")
        words = shlex.split(command.replace("$OWN", own + " --set " + " --set ".join(TINY.split())))
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, (command, result.output, result.exception)
        printed[command] = result.output

    checked = printed["data check roomseg-store"]
    assert re.search(r"^labels +robot, ", checked, re.M)
    voxels = {name: voxels_of(name, checked) for name in CLASSES[1:]}
    labels = tomllib.loads(label_file(text))["class"]
    assert seen <= {0, *chain.from_iterable(each["ids"] for each in labels)}
    assert {name for name, n in voxels.items() if n} == {each["name"] for each in labels if seen & set(each["ids"])}
    assert voxels["wall"] > voxels["floor"] > voxels["table"]
    assert (folder / "room-01.png").is_file()
    check_report((folder / "report" / "report.html").read_text())
    check_model(folder / "roomseg-store")
    check_prediction(folder / "labelled")


def label_file(text: str) -> str:
    (found,) = re.findall(r"```toml\n(.*?)```", text, re.S)
    return found


def voxels_of(name: str, table: str) -> int:
    """In all splits; the table has them and their shares in turn."""
    (row,) = re.findall(rf"^ +{name} +([\d,. ]+)$", table, re.M)
    return sum(int(number.replace(",", "")) for number in row.split() if "." not in number)


def check_report(page: str) -> None:
    for name, color in zip(CLASSES, PALETTE, strict=True):
        assert f'<i class="swatch" style="background:{color}"></i>{name}' in page
    assert "sewerpipe" not in page


def check_model(store: Path) -> None:
    (path,) = store.rglob("MLmodel")
    described = yaml.safe_load(path.read_text())["metadata"]
    assert (described["label_set"], described["classes"], described["palette"]) == ("robot", CLASSES, PALETTE)
    assert "| 6 | table | `#9467bd` |" in (path.parent / "README.md").read_text()


def check_prediction(folder: Path) -> None:
    found = np.load(folder / "labels.npz")
    assert found["classes"].tolist() == CLASSES
    assert ["#{:02x}{:02x}{:02x}".format(*color) for color in found["colors"]] == PALETTE
    assert set(np.unique(found["label"])) <= set(range(len(CLASSES)))
    head = (folder / "labeled.ply").read_bytes().split(b"end_header")[0].decode()
    assert re.findall(r"comment class \d+ (.+)", head) == CLASSES
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["model"]["labels"] == "robot"
    shown = {each["name"]: each["color"] for each in summary["classes"]}
    assert shown
    assert shown.items() <= dict(zip(CLASSES, PALETTE, strict=True)).items()
    page = (folder / "view.html").read_text()
    assert all(f'"{name}"' in page for name in shown)
