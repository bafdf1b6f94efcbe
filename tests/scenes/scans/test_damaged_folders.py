"""Folders of frames with something missing, wrong or of another kind: the error says which file, and what to do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from roomseg.errors import UserError
from roomseg.scenes.scans.registration import Rig
from roomseg.scenes.scans.rgbd import RgbdSource
from tests.scenes.scans.box_room import DEPTH_LENS, Take
from tests.scenes.scans.recordings import (
    encoded,
    matrix_text,
    save,
    write_frame_files,
    write_open3d,
    write_scannet_export,
    write_tum,
)


def read_all(root: Path) -> None:
    source = RgbdSource(root, up="+z")
    for _ in source.load(source.plan()[0][0]).frames():
        pass


def refuses(root: Path, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read_all(root)
    assert "\n" not in str(caught.value)


def named(value: object) -> str:
    return value if isinstance(value, str) else ""


def test_no_recording(tmp_path: Path) -> None:
    refuses(tmp_path, "no recording in it or 2 folders below; expected one of these: tum, scannet, frames, open3d")
    with pytest.raises(UserError, match=r"rgbd: .*gone is not a folder"):
        RgbdSource(tmp_path / "gone")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "depth/0.png",
            encoded(np.zeros((48, 64), np.uint8)),
            r"depth/0\.png has pixels of the kind L; expected 16 bits",
        ),
        ("depth/3.png", None, "got 4 colour pictures, 3 depth pictures, 4 poses in trajectory.log; expected as many"),
        ("color/9.jpg", b"", "got 5 colour pictures, 4 depth pictures"),
        ("color/0.jpg", b"", r"color/0\.jpg is no whole picture"),
        ("color/0.jpg", encoded(np.zeros((48, 80, 3), np.uint8)), "80 x 48 cannot show the same view"),
        ("intrinsics.txt", b"525 0 319.5\n0 525 239.5\n", r"intrinsics\.txt: got 6 numbers; expected a 3 x 3 or 4 x 4"),
        ("intrinsics.txt", b"525 0 x\n", r"intrinsics\.txt: could not convert string to float: 'x'; expected numbers"),
        ("intrinsics.txt", matrix_text(np.eye(3) * 500).encode(), r"intrinsics\.txt: got a principal point \(0, 0\)"),
        ("intrinsics.txt", None, "the layout's usual intrinsics: got a principal point .* for images of 64 x 48"),
        (
            "trajectory.log",
            b"0 0 1\n1 0 0 0\n0 1 0 0\n0 0 1 0\n",
            r"trajectory\.log: pose 0 has 12 numbers; expected 16",
        ),
        ("other.log", b"", "got the trajectories other.log, trajectory.log; expected one"),
        (
            "trajectory.log",
            ("0 0 1\n" + "nan " * 4 + "\n" + "1 1 1 1\n" * 3).encode() * 4,
            "of 4 frames 0 have a rigid",
        ),
    ],
    ids=named,
)
def test_open3d(tmp_path: Path, single_frames: list[Take], file: str, content: bytes | None, message: str) -> None:
    folder = write_open3d(tmp_path / "a", single_frames)
    save(folder / "intrinsics.txt", matrix_text(DEPTH_LENS))
    read_all(tmp_path)
    if content is None:
        (folder / file).unlink()
    else:
        save(folder / file, content)
    refuses(tmp_path, message)


Change = Callable[[dict], None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("parameters"), "expected a list parameters with a camera for each frame"),
        (lambda t: t["parameters"][2].pop("extrinsic"), r"parameters\[2\]\.extrinsic: expected 16 numbers"),
        (lambda t: t["parameters"][1].update(extrinsic=[1, 2]), r"parameters\[1\]\.extrinsic: expected 16 numbers"),
        (lambda t: t["parameters"][0].pop("intrinsic"), r"parameters\[0\]\.intrinsic: expected width, height"),
        (lambda t: t["parameters"][0]["intrinsic"].update(width="x"), r"parameters\[0\]\.intrinsic: expected width"),
        (lambda t: t["parameters"].pop(), "4 depth pictures, 3 poses in trajectory.json"),
        (lambda t: [p.update(extrinsic=[0] * 16) for p in t["parameters"]], "of 4 frames 0 have a rigid"),
    ],
)
def test_a_trajectory_of_open3d(tmp_path: Path, single_frames: list[Take], change: Change, message: str) -> None:
    path = write_open3d(tmp_path / "a", single_frames, "json", DEPTH_LENS) / "trajectory.json"
    read_all(tmp_path)
    trajectory = json.loads(path.read_text())
    change(trajectory)
    save(path, json.dumps(trajectory))
    refuses(tmp_path, message)


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "[]", "3"])
def test_a_trajectory_that_is_none(tmp_path: Path, single_frames: list[Take], text: str) -> None:
    folder = write_open3d(tmp_path / "a", single_frames, "json", DEPTH_LENS)
    save(folder / "trajectory.json", text)
    refuses(tmp_path, r"trajectory\.json(: expected a list parameters| is no JSON)")


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("groundtruth.txt", "1 2 3\n", r"groundtruth\.txt: expected lines of time tx ty tz qx qy qz qw"),
        (
            "groundtruth.txt",
            "# nothing\n",
            r"groundtruth\.txt: expected lines of time tx ty tz qx qy qz qw, at least one",
        ),
        ("groundtruth.txt", "1 2 3 4 5 6 7 w\n", r"groundtruth\.txt: could not convert string to float: 'w'"),
        ("depth.txt", "1305031102.175304\n", r"depth\.txt: expected lines of a time and a file"),
        ("depth.txt", "1305031102.175304 /etc/passwd\n", r"depth\.txt: /etc/passwd lies outside the recording"),
        ("rgb.txt", "1305031102.175304 ../../x.png\n", r"rgb\.txt: \.\./\.\./x\.png lies outside the recording"),
        ("rgb.txt", "1305031102.175304 rgb/gone.png\n", r"rgb/gone\.png cannot be read \(No such file"),
        ("depth.txt", "nan depth/1305031102.175304.png\n", "none of 1 depth pictures has colour and pose"),
    ],
    ids=named,
)
def test_tum(tmp_path: Path, single_frames: list[Take], file: str, content: str, message: str) -> None:
    folder = write_tum(tmp_path / "a", single_frames)
    save(folder / "intrinsics.txt", matrix_text(DEPTH_LENS))
    read_all(tmp_path)
    save(folder / file, content)
    refuses(tmp_path, message)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("pose/0.txt", None, r"pose/0\.txt cannot be read \(No such file"),
        ("pose/0.txt", b"1 0 0 0", r"pose/0\.txt: got 4 numbers; expected a 4 x 4 matrix"),
        ("color/0.jpg", None, "color has no picture 0 though depth/ has"),
        ("depth/note.png", b"", r"depth/note\.png: expected a frame's number for its name"),
        ("depth/0.png", encoded(np.zeros((40, 64), np.uint16)), r"depth/1\.png is 64 x 48; expected 64 x 40"),
        (
            "depth/1.png",
            encoded(np.zeros((40, 64), np.uint16)),
            r"depth/1\.png is 64 x 40; expected 64 x 48 as the camera",
        ),
        ("intrinsic/intrinsic_depth.txt", None, r"intrinsic_depth\.txt cannot be read"),
        ("intrinsic/intrinsic_color.txt", b"1 2", r"intrinsic_color\.txt: got 2 numbers; expected a 4 x 4 or 3 x 3"),
        ("intrinsic/extrinsic_depth.txt", b"0 " * 16, r"extrinsic_depth\.txt: .*expected a rotation and a translation"),
    ],
    ids=named,
)
def test_scannet_export(
    tmp_path: Path, rig: Rig, frames: list[Take], file: str, content: bytes | None, message: str
) -> None:
    folder = write_scannet_export(tmp_path / "a", rig, frames)
    if content is None:
        (folder / file).unlink()
    else:
        save(folder / file, content)
    refuses(tmp_path, message)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("frame-000000.color.jpg", None, r"has frame-000000\.depth\.pgm but no frame-000000\.color\.jpg or \.png"),
        ("frame-000000.pose.txt", None, r"frame-000000\.pose\.txt cannot be read"),
        ("_info.txt", b"m_depthShift = 1000\n", r"_info\.txt: 'm_calibrationDepthIntrinsic' is missing"),
        ("_info.txt", None, "the layout's usual intrinsics: got a principal point"),
    ],
    ids=named,
)
def test_frame_files(
    tmp_path: Path, rig: Rig, frames: list[Take], file: str, content: bytes | None, message: str
) -> None:
    folder = write_frame_files(tmp_path / "a", rig, frames, "info")
    read_all(tmp_path)
    if content is None:
        (folder / file).unlink()
    else:
        save(folder / file, content)
    refuses(tmp_path, message)


def test_a_depth_shift_of_nothing(tmp_path: Path, rig: Rig, frames: list[Take]) -> None:
    path = write_frame_files(tmp_path / "a", rig, frames, "info") / "_info.txt"
    for shift, message in (("0", "m_depthShift is 0.0; expected"), ("", "is missing"), ("many", "could not convert")):
        save(path, path.read_text().replace("m_depthShift = 1000", f"m_depthShift = {shift}"))
        refuses(tmp_path, message)
        save(path, path.read_text().replace(f"m_depthShift = {shift}\n", "m_depthShift = 1000\n"))
