"""The tutorial on one's own scan does what it says: its commands are run, in order, in one folder."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import trimesh
from typer.testing import CliRunner

from roomseg.cli import app
from roomseg.models.student import build_student
from tests.commands.test_predict import Z_TO_Y_UP
from tests.scenes.scans.box_room import DEPTH_LENS, DEPTH_SIZE, one_camera_rig, takes
from tests.scenes.scans.recordings import write_open3d
from tests.scenes.user_scan.box import as_cloud, box_room

TUTORIAL = Path(__file__).parents[2] / "docs" / "predict.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the files that the tutorial's reader has."""
    room, cloud = box_room(), as_cloud(box_room(), 20_000)
    points = room.points @ Z_TO_Y_UP.T
    trimesh.Trimesh(points, room.faces, vertex_colors=room.color, process=False).export(tmp_path / "scan.glb")
    trimesh.PointCloud(cloud.points, colors=cloud.color).export(tmp_path / "scan.ply")
    write_open3d(tmp_path / "recording", takes(one_camera_rig(DEPTH_LENS, DEPTH_SIZE), 4), "json", DEPTH_LENS)
    torch.save({"state_dict": build_student("T", 30, seed=1).state_dict()}, tmp_path / "3DSeg-T.pth")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_of_the_tutorial_run(folder: Path) -> None:
    text = TUTORIAL.read_text()
    commands = re.findall(r"^    roomseg (.+)$", text, re.M)
    assert len(commands) == 7
    for command in commands:
        result = CliRunner().invoke(app, shlex.split(command))
        assert result.exit_code == 0, (command, result.output, result.exception)
    for out in ("labelled", "labelled-ply", "labelled-recording"):
        assert {path.name for path in (folder / out).iterdir()} == set(
            re.findall(r"^\| `(\S+\.(?:html|ply|npz|json))` \|", text, re.M)
        ) - {"room.npz"}
    (script,) = re.findall(r"```python\n(.*?)```", text, re.S)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=300, check=True
    )
    assert re.fullmatch(r"\d+ of \d+ points are floor\n", done.stdout)
