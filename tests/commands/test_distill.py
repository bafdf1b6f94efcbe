from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from roomseg import cli
from roomseg.errors import UserError
from roomseg.stages.distillation.judging import room_hits
from roomseg.stages.distillation.preview import panorama_picture
from roomseg.stages.networks import load_student, predict_room
from roomseg.stages.teacher import load_teacher
from tests.stages.distilling import furnished, student_artifact, teacher_artifact


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["roomseg", "distill", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["preview", "g0h0-1", "--store", "{}"], 1, "run `roomseg render` first, with the same profile"),
        (["preview", "g0h0-1", "--student", "teacher"], 2, "--student teacher: expected distilled or pretrained"),
        (["--store", "{}", "preview", "g0h0-1"], 2, "distill preview: give its options after it"),
        (["--store", "{}"], 1, "run `roomseg render` first"),  # the stage itself
    ],
)
def test_what_is_refused(
    arguments: list[str],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(monkeypatch, *(argument.format(tmp_path) for argument in arguments)) == code
    assert message in capsys.readouterr().err


def test_help_names_both(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    assert "preview" in shown
    assert "--tracking-uri" in shown


def test_the_picture_is_seen_through_the_hit_map(tmp_path: Path) -> None:
    room = furnished(0, views=2)
    teacher = load_teacher(teacher_artifact(tmp_path / "teacher"))
    student = load_student(student_artifact(tmp_path / "student", room))
    predicted = predict_room(student, room).ravel()
    assert len(np.unique(predicted)) > 1
    maps = {way: room_hits(room, room.panoramas[1], way).voxel for way in ("direct", "cube")}
    assert (maps["direct"] != maps["cube"]).any()
    for way, voxel in maps.items():
        picture = panorama_picture(teacher, student, room, 1, way)
        assert picture.hit.mean() > 0.99
        np.testing.assert_array_equal(picture.hit, voxel >= 0)
        np.testing.assert_array_equal(picture.student, np.where(voxel >= 0, predicted[voxel], 0))
        np.testing.assert_array_equal(picture.truth, room.panoramas[1].label)
        assert picture.teacher.shape == picture.truth.shape


def test_a_room_has_no_more_panoramas_than_it_has(tmp_path: Path) -> None:
    room = furnished(0, views=2)
    teacher = load_teacher(teacher_artifact(tmp_path / "teacher"))
    student = load_student(student_artifact(tmp_path / "student", room))
    with pytest.raises(UserError, match=r"room room0 has no panorama 2; it has 2, the first is 0"):
        panorama_picture(teacher, student, room, number=2)
