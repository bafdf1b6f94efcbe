"""Recordings of users: every layout gives the frames that went in; houses, labels, lenses and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from roomseg.errors import UserError
from roomseg.geometry.raster import pack_mesh, render_frame
from roomseg.labels import PANOROOMS3D
from roomseg.scenes.scans.registration import Rig
from roomseg.scenes.scans.rgbd import RgbdSource
from roomseg.scenes.source import Scan
from tests.scenes.scans.box_room import (
    DEPTH_LENS,
    DEPTH_SIZE,
    FLOOR,
    TABLE,
    WALL,
    Take,
    inner,
    one_camera_rig,
    room_mesh,
    takes,
)
from tests.scenes.scans.recordings import (
    encoded,
    matrix_text,
    save,
    write_frame_files,
    write_open3d,
    write_scannet_export,
    write_tum,
)

Writer = Callable[[Path, Rig, list[Take]], Path]
LENS_TEXT = matrix_text(DEPTH_LENS)

WRITERS: dict[str, Writer] = {
    "tum": lambda folder, rig, frames: write_tum(folder, frames),
    "scannet": write_scannet_export,
    "frames": lambda folder, rig, frames: write_frame_files(folder, rig, frames, "7scenes"),
    "open3d": lambda folder, rig, frames: write_open3d(folder, frames),
}


def with_lens(folder: Path, name: str = "intrinsics.txt", text: str = LENS_TEXT) -> Path:
    save(folder / name, text)
    return folder


def only_scan(root: Path, **options: object) -> Scan:
    source = RgbdSource(root, **{"up": "+z", **options})  # type: ignore[arg-type]
    keys, rejected = source.plan()
    assert (len(keys), rejected) == (1, [])
    return source.load(keys[0])


def check_frames(scan: Scan, rig: Rig, expected: list[Take], mean_error: float = 3) -> None:
    posed = list(scan.frames())
    assert len(posed) == len(expected)
    mesh = pack_mesh(room_mesh())
    for got, take in zip(posed, expected, strict=True):
        np.testing.assert_allclose(got.pose, take.pose, atol=2e-6)
        np.testing.assert_allclose(got.camera.lens, rig.depth.lens, rtol=1e-6)
        truth = render_frame(mesh, rig.depth, take.pose)
        seen = got.frame.depth > 0
        assert seen.mean() > 0.9
        np.testing.assert_allclose(got.frame.depth[seen], take.depth_mm[seen] / 1000, rtol=1e-6)
        plain = inner(truth.rgb.astype(int) @ [1, 256, 65536]) & seen
        assert np.abs(got.frame.rgb[plain].astype(int) - truth.rgb[plain]).mean() < mean_error


@pytest.mark.parametrize("layout", ["tum", "frames", "open3d"])
def test_layouts_of_one_view(tmp_path: Path, single_rig: Rig, single_frames: list[Take], layout: str) -> None:
    folder = with_lens(WRITERS[layout](tmp_path / "kitchen", single_rig, single_frames))
    scan = only_scan(folder)
    assert (scan.id, scan.house_id, scan.labels) == ("kitchen", "kitchen", "panorooms3d")
    assert (scan.meta["layout"], scan.meta["labelled"], scan.meta["frames"]) == (layout, False, 4)
    check_frames(scan, single_rig, single_frames)
    check_frames(only_scan(folder, frame_stride=3), single_rig, single_frames[::3])
    assert all((posed.frame.label == 0).all() for posed in scan.frames())


@pytest.mark.parametrize("kind", ["export", "info"])
def test_layouts_with_two_cameras(tmp_path: Path, rig: Rig, frames: list[Take], kind: str) -> None:
    if kind == "export":
        write_scannet_export(tmp_path / "a", rig, frames)
    else:
        write_frame_files(tmp_path / "a", rig, frames, "info")
    check_frames(only_scan(tmp_path), rig, frames)


def test_an_open3d_trajectory_brings_its_lens(tmp_path: Path, single_rig: Rig, single_frames: list[Take]) -> None:
    write_open3d(tmp_path / "a", single_frames, "json", DEPTH_LENS)
    check_frames(only_scan(tmp_path), single_rig, single_frames)


def test_a_camera_file_of_open3d(tmp_path: Path, single_rig: Rig, single_frames: list[Take]) -> None:
    numbers = DEPTH_LENS.T.ravel().tolist()
    text = f'{{"width": 64, "height": 48, "intrinsic_matrix": {numbers}}}'
    with_lens(write_tum(tmp_path / "a", single_frames), "camera.json", text)
    check_frames(only_scan(tmp_path), single_rig, single_frames)


def test_a_lens_of_the_colour_for_a_smaller_depth(tmp_path: Path) -> None:
    """As phones have it: colour three times as large as depth, the lens given for the colour."""
    color_size = (3 * DEPTH_SIZE[0], 3 * DEPTH_SIZE[1])
    color_lens = np.array([[186.0, 0, 94.5], [0, 183.0, 73.3], [0, 0, 1]])
    color_rig = one_camera_rig(color_lens, color_size)
    half = np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])  # the corner of the first pixel, not its centre, stays
    small = (color_lens + half) / [[3], [3], [1]] - half
    depth_rig = one_camera_rig(small, DEPTH_SIZE)
    both = Rig(depth_rig.depth, color_rig.color, np.eye(4))
    frames = takes(both, 3)
    with_lens(write_open3d(tmp_path / "a", frames), text=matrix_text(color_lens))
    check_frames(only_scan(tmp_path), both, frames)


@pytest.mark.parametrize(
    ("name", "lens"),
    [
        ("rgbd_dataset_freiburg1_room", (517.3, 516.5, 318.6, 255.3)),
        ("fr2_desk", (520.9, 521.0, 325.1, 249.7)),
        ("Freiburg3_office", (535.4, 539.2, 320.1, 247.6)),
        ("mine", (525, 525, 319.5, 239.5)),
    ],
)
def test_the_lenses_of_the_tum_benchmark(tmp_path: Path, name: str, lens: tuple[float, ...]) -> None:
    blank = Take(
        np.eye(4), np.full((480, 640), 2000, np.uint16), np.zeros((480, 640, 3), np.uint8), np.zeros((480, 640))
    )
    write_tum(tmp_path / name, [blank])
    camera = next(only_scan(tmp_path).frames()).camera
    np.testing.assert_allclose(camera.lens, (*lens[:2], lens[2] + 0.5, lens[3] + 0.5))


def test_tum_joins_by_time(tmp_path: Path, single_rig: Rig, single_frames: list[Take]) -> None:
    """Lists in any order; a picture without a pose within 0.02 s is left out, a pose without length is counted."""
    folder = with_lens(write_tum(tmp_path / "a", single_frames, poses_late_s=-0.011))
    poses = (folder / "groundtruth.txt").read_text().splitlines()
    times = [line.split()[0] for line in poses[1:]]
    lost = f"{times[3]} 1 2 3 0 0 0 0"
    save(folder / "groundtruth.txt", "\n".join([poses[3], "# a comment", poses[1], lost]))
    scan = only_scan(folder)
    assert (scan.meta["frames"], scan.meta["frames_without_pose"]) == (2, 1)
    check_frames(scan, single_rig, [single_frames[0], single_frames[2]])
    with_lens(write_tum(tmp_path / "a", single_frames, poses_late_s=0.5))
    with pytest.raises(UserError, match=r"none of 4 depth pictures has colour and pose within 0\.02 s"):
        only_scan(folder)


def test_7scenes_has_holes_of_65535_and_lost_poses(tmp_path: Path, single_rig: Rig, single_frames: list[Take]) -> None:
    holed = [Take(t.pose, t.depth_mm.copy(), t.rgb, t.ids) for t in single_frames]
    holed[0].depth_mm[:10] = 0  # written as 65535
    folder = with_lens(write_frame_files(tmp_path / "a", single_rig, holed, "7scenes"), "camera-intrinsics.txt")
    save(folder / "frame-000001.pose.txt", "-1.#INF " * 16)
    save(folder / "frame-000002.pose.txt", "nan " * 16)
    save(folder / "frame-000003.pose.txt", "0 " * 16)
    scan = only_scan(folder, max_depth_m=100.0)
    assert (scan.meta["frames"], scan.meta["frames_without_pose"]) == (1, 3)
    depth = next(scan.frames()).frame.depth
    assert (depth[:10] == 0).all()
    assert (depth[10:] > 0).mean() > 0.95


def test_labels_of_a_set_and_of_nyu(tmp_path: Path, single_rig: Rig, single_frames: list[Take]) -> None:
    ids = np.zeros(256, np.uint8)
    for scannet_id, name in ((WALL, "wall"), (FLOOR, "floor"), (TABLE, "table")):
        ids[scannet_id] = PANOROOMS3D.id(name)
    folder = with_lens(write_open3d(tmp_path / "a", single_frames))
    for i, take in enumerate(single_frames):
        save(folder / "label" / f"{i}.png", encoded(ids[take.ids]))
    scan = only_scan(folder)
    assert (scan.labels, scan.meta["labelled"], scan.meta["frames_without_label"]) == ("panorooms3d", True, 0)
    for got, take in zip(scan.frames(), single_frames, strict=True):
        seen = got.frame.depth > 0
        np.testing.assert_array_equal(got.frame.label, np.where(seen, ids[take.ids], 0))
    nyu = only_scan(folder, labels="nyu40")
    assert nyu.labels == "scannet20"
    save(folder / "label" / "0.png", encoded(np.full(DEPTH_SIZE[::-1], 30, np.uint8)))
    with pytest.raises(UserError, match=r"label/0\.png: got id 30; expected ids of the label set"):
        next(scan.frames())
    save(folder / "label" / "0.png", encoded(np.zeros((48, 63), np.uint8)))
    with pytest.raises(UserError, match=r"depth/0\.png: label is 63 x 48; expected 64 x 48"):
        next(scan.frames())
    (folder / "label" / "2.png").unlink()
    with pytest.raises(UserError, match=r"label has no 2\.png; expected labels for every frame"):
        only_scan(folder)


def test_labels_seen_by_the_depth_camera(tmp_path: Path, rig: Rig, frames: list[Take]) -> None:
    """Label pictures of the depth's size belong to its pixels, though the colour has another size."""
    folder = write_scannet_export(tmp_path / "a", rig, frames)
    label = np.random.default_rng(0).integers(1, 30, DEPTH_SIZE[::-1], np.uint8)
    for i in range(len(frames)):
        save(folder / "label" / f"{i}.png", encoded(label))
    for got in only_scan(folder).frames():
        np.testing.assert_array_equal(got.frame.label, np.where(got.frame.depth > 0, label, 0))


def test_the_unit_of_depth_can_be_said(tmp_path: Path, single_rig: Rig, single_frames: list[Take]) -> None:
    with_lens(write_tum(tmp_path / "a", single_frames))
    tenfold = next(only_scan(tmp_path, depth_units_per_m=50000.0).frames()).frame.depth
    seen = tenfold > 0
    np.testing.assert_allclose(tenfold[seen], single_frames[0].depth_mm[seen] / 10000, rtol=1e-6)


def test_houses_keep_their_recordings_together(tmp_path: Path, single_rig: Rig, single_frames: list[Take]) -> None:
    for name in ("flat 1/kitchen", "flat 1/bath", "flat 2/bath", "cellar", "barn", ".cache"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("flat 1/kitchen", "flat 1/bath", "flat 2/bath", "cellar", "barn"):
        with_lens(write_open3d(tmp_path / name, single_frames[:1]))
    source = RgbdSource(tmp_path, shares=(0.5, 0.25, 0.25), up="+z")
    keys, rejected = source.plan()
    assert rejected == []
    houses = {key.id: key.house_id for key in keys}
    assert houses == {
        "flat-1_kitchen": "flat-1",
        "flat-1_bath": "flat-1",
        "flat-2_bath": "flat-2",
        "cellar": "cellar",
        "barn": "barn",
    }
    sides = {key.house_id: key.split for key in keys}
    assert sorted(sides.values()) == ["test", "train", "train", "val"]
    assert all(key.split == sides[key.house_id] for key in keys)
    assert [key.split for key in keys] == sorted((key.split for key in keys), key=["train", "val", "test"].index)
    assert source.load(keys[0]).id == keys[0].id


def test_two_folders_of_one_id(tmp_path: Path, single_frames: list[Take]) -> None:
    for name in ("a b", "a-b"):
        write_open3d(tmp_path / name, single_frames[:1])
    keys, rejected = RgbdSource(tmp_path).plan()
    assert [key.place for key in keys] == [("a b",)]
    assert [each.id for each in rejected] == ["a-b"]
    assert "the same id as a b: rename it" in rejected[0].reason


def test_the_digest_follows_names_and_sizes(tmp_path: Path, single_frames: list[Take]) -> None:
    folder = write_open3d(tmp_path / "a", single_frames[:1])
    digests = [RgbdSource(tmp_path).digest()]
    with_lens(folder)
    digests += [RgbdSource(tmp_path).digest(), RgbdSource(tmp_path).digest()]
    save(folder / "color" / "0.jpg", b"another")
    digests.append(RgbdSource(tmp_path).digest())
    with_lens(folder, text=LENS_TEXT.replace("62", "63"))
    digests.append(RgbdSource(tmp_path).digest())
    assert digests[1] == digests[2]
    assert len(set(digests)) == 4
