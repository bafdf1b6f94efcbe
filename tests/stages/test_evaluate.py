"""evaluate: test-time averaging is a line of its own, and nothing else is averaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from roomseg.config import EvaluateConfig
from roomseg.data.audit import audit_report
from roomseg.data.dataset import open_rooms
from roomseg.data.rooms import network_input
from roomseg.data.shards import write_shard
from roomseg.metrics import miou
from roomseg.stages.evaluate import AVERAGED, run
from roomseg.stages.networks import load_student, room_confusion
from roomseg.stages.outputs import read_json
from roomseg.stages.room_results import NAME, RoomResults, unpacked
from tests.data.rooms import FolderArtifact
from tests.stages.distilling import Bench, bench, furnished


@pytest.fixture
def trained(tmp_path: Path) -> Bench:
    """A student with opinions that differ from place to place, pretrained and distilled alike, and its test rooms."""
    rooms = [furnished(0), furnished(7, "test")]
    made = bench(tmp_path, rooms)
    audit = audit_report([write_shard(rooms, tmp_path / "again.parquet")])
    save_json(made.inputs["rooms"].root / "audit.json", audit)
    folder = made.inputs["pretrained"].root
    weights = load_file(folder / "model.safetensors")
    weights["output.weight"] *= 6
    save_file(weights, folder / "model.safetensors")
    for name in ("teacher", "pretrained"):
        save_json(made.inputs[name].root / "history.json", [])
    made.inputs["distilled"] = made.inputs["pretrained"]
    return made


def save_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value))


def evaluated(made: Bench, average: bool) -> tuple[dict[str, float], FolderArtifact]:
    config = EvaluateConfig(average_symmetries=average, bootstrap_samples=5)
    scores = run(config, made.context())
    return scores, FolderArtifact(made.root / f"run{made.runs}" / "artifact")


def room_results(artifact: FolderArtifact) -> RoomResults:
    return unpacked(artifact.path(NAME).read_bytes(), NAME)


def test_averaging_is_a_line_of_its_own_and_all_else_is_the_student_that_is_registered(trained: Bench) -> None:
    (plain, without), (scores, artifact) = (evaluated(trained, average) for average in (False, True))
    lines = {line["name"]: line for line in read_json(artifact, "scores.json")["models"]}
    before = {line["name"]: line for line in read_json(without, "scores.json")["models"]}
    assert set(lines) - set(before) == {AVERAGED}
    assert [*lines][-2:] == ["pretrained student", "distilled student"]
    averaged = lines.pop(AVERAGED)
    assert lines == before
    assert {name for name in scores if name not in plain} == {"averaged_miou", "averaged_miou_published"}
    assert {name: scores[name] for name in plain} == plain
    assert scores["averaged_miou"] == averaged["miou"]
    np.testing.assert_array_equal(room_results(artifact).confusions, room_results(without).confusions)
    (view,) = artifact.names("views/")
    assert artifact.path(view).read_bytes() == without.path(view).read_bytes()
    assert AVERAGED in artifact.path("report.html").read_text()

    student = load_student(trained.inputs["distilled"])
    (room,) = open_rooms(trained.inputs["rooms"], "test")
    volume = torch.from_numpy(network_input(room))[None]
    labels = [student.predict(volume, average=average)[0].numpy() for average in (False, True)]
    counts = [room_confusion(room, each) for each in labels]
    assert (counts[0] != counts[1]).any()
    np.testing.assert_array_equal(room_results(artifact).confusions[0], counts[0])
    assert averaged["miou"] == pytest.approx(miou(counts[1][None]))
