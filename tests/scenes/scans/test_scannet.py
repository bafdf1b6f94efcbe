"""ScanNet scans end to end: what a scan of known walls gives, how scans are split, and what is turned away."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from roomseg.errors import UserError
from roomseg.geometry.raster import pack_mesh, render_frame
from roomseg.labels import SCANNET20
from roomseg.ports import RoomKey
from roomseg.scenes.scans.registration import Rig
from roomseg.scenes.scans.scannet import ScannetSource
from roomseg.scenes.source import Scan
from tests.scenes.scans.box_room import CEILING, FLOOR, TABLE, WALL, Take, inner, room_mesh
from tests.scenes.scans.recordings import (
    TABLE as LABEL_TABLE,
)
from tests.scenes.scans.recordings import (
    encoded,
    matrix_text,
    save,
    write_frame_files,
    write_frames_25k,
    write_scan,
    write_scannet_export,
    write_zip,
)

CLASS_OF = {WALL: "wall", FLOOR: "floor", TABLE: "table", CEILING: "void"}
NYU_OF = {WALL: 1, FLOOR: 2, TABLE: 7, CEILING: 22}


def only_scan(root: Path, **options: object) -> Scan:
    source = ScannetSource(root, "random", **options)  # type: ignore[arg-type]
    keys, _ = source.plan()
    assert len(keys) == 1
    return source.load(keys[0])


def check_frames(scan: Scan, rig: Rig, takes: list[Take], jpeg: bool = True) -> None:
    """Each frame against what the depth camera would draw itself."""
    mesh = pack_mesh(room_mesh())
    posed = list(scan.frames())
    assert len(posed) == len(takes)
    for got, take in zip(posed, takes, strict=True):
        np.testing.assert_allclose(got.pose, take.pose, atol=2e-6)
        np.testing.assert_allclose(got.camera.lens, rig.depth.lens, rtol=1e-6)
        truth = render_frame(mesh, rig.depth, take.pose)
        seen = got.frame.depth > 0
        plain = inner(truth.rgb.astype(int) @ [1, 256, 65536]) & seen
        assert plain.mean() > 0.4
        np.testing.assert_allclose(got.frame.depth[seen], take.depth_mm[seen] / 1000, rtol=1e-6)
        classes = np.array([SCANNET20.id(CLASS_OF.get(i, "void")) for i in range(256)], np.uint8)
        np.testing.assert_array_equal(got.frame.label[plain], classes[truth.label][plain])
        error = np.abs(got.frame.rgb[plain].astype(int) - truth.rgb[plain])
        assert error.mean() < (3 if jpeg else 1e-9)


def test_a_released_scan(tmp_path: Path, rig: Rig, frames: list[Take]) -> None:
    save(tmp_path / "scannetv2-labels.combined.tsv", LABEL_TABLE)
    write_scan(tmp_path / "scans", "scene0011_01", rig, frames, "sceneType = Kitchen\nnumColorFrames = 4\n", lost=[1])
    scan = only_scan(tmp_path)
    assert (scan.id, scan.house_id, scan.labels) == ("scene0011_01", "scene0011", "scannet20")
    assert scan.meta == {
        "layout": "sens",
        "room_type": "Kitchen",
        "axis_aligned": False,
        "frame_stride": 1,
        "frames": 3,
        "frames_without_pose": 1,
        "frames_without_label": 0,
    }
    assert "ScanNet Terms of Use" in scan.credits[0]
    check_frames(scan, rig, [frames[0], frames[2], frames[3]])
    check_frames(scan, rig, [frames[0], frames[2], frames[3]])  # from the start again


def test_the_axis_alignment_turns_the_poses(tmp_path: Path, rig: Rig, frames: list[Take]) -> None:
    turn = np.eye(4)
    angle = np.radians(20)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    turn[:3, 3] = (1.0, -2.0, 0.1)
    crooked = [Take(np.linalg.inv(turn) @ take.pose, take.depth_mm, take.rgb, take.ids) for take in frames]
    save(tmp_path / "scannetv2-labels.combined.tsv", LABEL_TABLE)
    info = f"axisAlignment = {matrix_text(turn).replace(chr(10), ' ')}\n"
    write_scan(tmp_path, "scene0000_00", rig, crooked, info)
    scan = only_scan(tmp_path)
    assert scan.meta["axis_aligned"]
    assert scan.meta["room_type"] == "unknown"
    check_frames(scan, rig, frames)


def test_stride_and_farthest_depth(tmp_path: Path, rig: Rig, frames: list[Take]) -> None:
    save(tmp_path / "scannetv2-labels.combined.tsv", LABEL_TABLE)
    write_scan(tmp_path, "scene0000_00", rig, frames)
    posed = list(only_scan(tmp_path, frame_stride=2, max_depth_m=1.6).frames())
    assert len(posed) == 2
    for got, take in zip(posed, frames[::2], strict=True):
        np.testing.assert_allclose(got.pose, take.pose, atol=2e-6)
        depth = got.frame.depth
        assert 1.5 < depth.max() <= 1.6
        assert ((depth == 0) | (depth == take.depth_mm / np.float32(1000))).all()
        assert (got.frame.label[depth == 0] == 0).all()


def test_exported_layouts_give_the_same(tmp_path: Path, rig: Rig, frames: list[Take]) -> None:
    save(tmp_path / "scannetv2-labels.combined.tsv", LABEL_TABLE)
    members = {f"label/{i}.png": encoded(take.ids.astype(np.uint16)) for i, take in enumerate(frames)}
    folder = write_scannet_export(tmp_path / "a" / "scene0000_00", rig, frames)
    write_zip(folder / "scene0000_00_2d-label-filt.zip", members)
    save(tmp_path / "a" / "scannetv2-labels.combined.tsv", LABEL_TABLE)
    check_frames(only_scan(tmp_path / "a"), rig, frames)

    folder = write_frame_files(tmp_path / "b" / "scans" / "scene0000_00", rig, frames, "info")
    for i, take in enumerate(frames):
        save(folder / "label-filt" / f"frame-{i:06d}.png", encoded(take.ids.astype(np.uint16)))
    scan = only_scan(tmp_path / "b")  # the table lies one folder above
    assert scan.meta["layout"] == "frames"
    check_frames(scan, rig, frames)
    write_zip(folder / "scene0000_00_2d-label-filt.zip", members)
    check_frames(only_scan(tmp_path / "b"), rig, frames)


def test_scannet_frames_25k(tmp_path: Path, single_rig: Rig, single_frames: list[Take]) -> None:
    """No table is needed: the labels are NYU's. The numbers of the frames are multiples of 100, and of the stride."""
    nyu = np.zeros(65536, int)
    for scannet_id, nyu_id in NYU_OF.items():
        nyu[scannet_id] = nyu_id
    folder = write_frames_25k(tmp_path / "scannet_frames_25k" / "scene0100_00", single_frames, nyu)
    save(folder / "intrinsics_color.txt", (folder / "intrinsics_depth.txt").read_bytes())
    check_frames(only_scan(tmp_path, frame_stride=10), single_rig, single_frames)
    check_frames(only_scan(tmp_path, frame_stride=200), single_rig, single_frames[::2])


# The plan. Scans of these tests have empty files: planning opens none.


def make_scans(root: Path, ids: list[str], labelled: bool = True) -> None:
    save(root / "scannetv2-labels.combined.tsv", LABEL_TABLE)
    for scan in ids:
        save(root / "scans" / scan / f"{scan}.sens", b"")
        if labelled:
            save(root / "scans" / scan / f"{scan}_2d-label-filt.zip", b"")


def counts(keys: list[RoomKey]) -> dict[str, int]:
    return dict(Counter(key.split for key in keys))


SCANS = [f"scene{space:04d}_{scan:02d}" for space in range(40) for scan in range(3)]


def test_the_random_split_has_the_papers_shares(tmp_path: Path) -> None:
    make_scans(tmp_path, SCANS)
    keys, rejected = ScannetSource(tmp_path, "random", seed=1).plan()
    assert rejected == []
    assert counts(keys) == {"train": 108, "val": 6, "test": 6}
    assert [key.split for key in keys] == ["train"] * 108 + ["val"] * 6 + ["test"] * 6
    assert keys[0].place == (f"scans/{keys[0].id}",)
    assert keys == ScannetSource(tmp_path, "random", seed=1).plan()[0]
    assert keys != ScannetSource(tmp_path, "random", seed=2).plan()[0]
    trained = {key.house_id for key in keys if key.split == "train"}
    assert any(key.house_id in trained for key in keys if key.split == "test")  # it leaks, as it says


def test_of_two_folders_the_whole_one_counts(tmp_path: Path) -> None:
    """Meshes alone under scans/, as many have them, do not hide the exported frames."""
    save(tmp_path / "scans" / "scene0000_00" / "scene0000_00_vh_clean_2.ply", b"")
    make_scans(tmp_path, ["scene0001_00"])
    for scan in ("scene0000_00", "scene0001_00"):
        for folder in ("color", "depth", "pose", "label"):
            (tmp_path / "scannet_frames_25k" / scan / folder).mkdir(parents=True)
    keys, rejected = ScannetSource(tmp_path, "random").plan()
    assert rejected == []
    assert {key.place[0] for key in keys} == {"scannet_frames_25k/scene0000_00", "scans/scene0001_00"}


def test_the_papers_own_numbers(tmp_path: Path) -> None:
    make_scans(tmp_path, [f"scene{space:04d}_00" for space in range(1513)])
    assert counts(ScannetSource(tmp_path, "random").plan()[0]) == {"train": 1361, "val": 77, "test": 75}


def test_the_split_by_space_does_not_leak(tmp_path: Path) -> None:
    make_scans(tmp_path, SCANS)
    keys, _ = ScannetSource(tmp_path, "house").plan()
    sides: dict[str, set[str]] = {}
    for key in keys:
        assert key.house_id == key.id[:9]
        sides.setdefault(key.house_id, set()).add(key.split)
    assert all(len(side) == 1 for side in sides.values())
    assert counts(keys) == {"train": 108, "val": 6, "test": 6}


def test_the_official_split_reports_on_the_validation_scans(tmp_path: Path) -> None:
    """Its test scans have no labels: so the validation list is the test, and none of it is trained or chosen on."""
    more = [f"scene{space:04d}_00" for space in range(200, 240)]
    make_scans(tmp_path, SCANS[:90] + more)
    make_scans(tmp_path, ["scene0707_00", "scene0033_02"], labelled=False)
    save(tmp_path / "scannetv2_train.txt", "\n".join(SCANS[:60] + SCANS[99:102] + more) + "\n")
    save(tmp_path / "scannetv2_val.txt", "\r\n".join(SCANS[60:87]))
    save(tmp_path / "scannetv2_test.txt", "scene0707_00\n")
    keys, rejected = ScannetSource(tmp_path, "official").plan()
    assert {key.id for key in keys if key.split == "test"} == set(SCANS[60:87])
    assert {key.id for key in keys if key.split != "test"} == set(SCANS[:60] + more)
    chosen_on = {key.house_id for key in keys if key.split == "val"}
    assert len(chosen_on) == 3  # of 61 spaces
    assert not chosen_on & {key.house_id for key in keys if key.split == "train"}
    reasons = {each.id: each.reason for each in rejected}
    assert set(reasons) == {"scene0707_00", *SCANS[87:90], *SCANS[99:102]}
    assert len(rejected) == len(reasons)
    assert reasons["scene0707_00"] == "no labels: neither _2d-label-filt.zip nor a folder label"
    assert reasons["scene0033_02"] == reasons["scene0707_00"]
    assert reasons[SCANS[87]] == "in none of the benchmark's lists"
    assert reasons[SCANS[100]] == "in the benchmark's lists, but not found"


def test_lists_whose_test_scans_have_labels_are_taken_as_they_are(tmp_path: Path) -> None:
    make_scans(tmp_path, SCANS[:30])
    for side, scans in (("train", SCANS[:20]), ("val", SCANS[20:25]), ("test", SCANS[25:30])):
        save(tmp_path / f"scannetv2_{side}.txt", "\n".join(scans))
    keys, _ = ScannetSource(tmp_path, "official").plan()
    assert counts(keys) == {"train": 20, "val": 5, "test": 5}
    assert {key.id for key in keys if key.split == "val"} == set(SCANS[20:25])


def test_limits_draw_by_the_seed(tmp_path: Path) -> None:
    make_scans(tmp_path, SCANS)
    whole = ScannetSource(tmp_path, "random").plan()[0]
    few = ScannetSource(tmp_path, "random", limits={"train": 10, "val": 2, "test": 99}).plan()[0]
    assert counts(few) == {"train": 10, "val": 2, "test": 6}
    assert set(few) <= set(whole)
    assert few[:10] != whole[:10]
    assert few == sorted(few, key=lambda key: (["train", "val", "test"].index(key.split), key.id))


def test_the_digest_follows_names_sizes_and_lists(tmp_path: Path) -> None:
    make_scans(tmp_path, SCANS[:3])
    digests = [ScannetSource(tmp_path).digest()]
    assert digests[0] == ScannetSource(tmp_path).digest()
    for path, data in (
        ("scans/scene0000_00/scene0000_00.sens", b"longer"),
        ("scans/scene0000_00/scene0000_00.txt", b""),
        ("scannetv2_val.txt", b"scene0000_00"),
        ("scannetv2_val.txt", b"scene0000_01"),
    ):
        save(tmp_path / path, data)
        digests.append(ScannetSource(tmp_path).digest())
    assert len(set(digests)) == 5


# What is missing or damaged.


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"scannet: .*gone is not a folder"):
        ScannetSource(tmp_path / "gone")
    with pytest.raises(UserError, match="no scan has frames and labels"):
        ScannetSource(tmp_path, "random").plan()
    make_scans(tmp_path, SCANS[:6])
    with pytest.raises(
        UserError, match=r"has no scannetv2_train\.txt; expected the benchmark's lists beside the scans"
    ):
        ScannetSource(tmp_path, "official").plan()
    save(tmp_path / "scannetv2_train.txt", "scene0000_00\n../../etc/passwd\n")
    with pytest.raises(UserError, match=r"scannetv2_train\.txt: got '\.\./\.\./etc/passwd'"):
        ScannetSource(tmp_path, "official").plan()
    (tmp_path / "scannetv2-labels.combined.tsv").unlink()
    with pytest.raises(UserError, match=r"has no scannetv2-labels\.combined\.tsv, which turns label ids into classes"):
        ScannetSource(tmp_path, "random").plan()


def test_a_damaged_scan_fails_when_it_is_loaded(tmp_path: Path, rig: Rig, frames: list[Take]) -> None:
    save(tmp_path / "scannetv2-labels.combined.tsv", LABEL_TABLE)
    folder = write_scan(tmp_path, "scene0000_00", rig, frames)
    sens = folder / "scene0000_00.sens"
    whole = sens.read_bytes()
    save(sens, whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"scene0000_00\.sens: frame \d: \w+: takes"):
        only_scan(tmp_path)
    write_scan(tmp_path, "scene0000_00", rig, frames, lost=range(4))
    with pytest.raises(UserError, match="of 4 frames 0 have a rigid camera-to-world pose"):
        only_scan(tmp_path)
    write_scan(tmp_path, "scene0000_00", rig, frames, info=f"axisAlignment = {' '.join(['2'] * 16)}")
    with pytest.raises(UserError, match=r"scene0000_00\.txt: axisAlignment: .*expected a rotation and a translation"):
        only_scan(tmp_path)
    write_scan(tmp_path, "scene0000_00", rig, frames, info="axisAlignment = 1 0 0")
    with pytest.raises(UserError, match=r"scene0000_00\.txt: axisAlignment: got 3 numbers; expected a 4 x 4 matrix"):
        only_scan(tmp_path)


def test_labels_of_another_size_and_too_few(tmp_path: Path, rig: Rig, frames: list[Take]) -> None:
    save(tmp_path / "scannetv2-labels.combined.tsv", LABEL_TABLE)
    folder = write_scan(tmp_path, "scene0000_00", rig, frames)
    archive = folder / "scene0000_00_2d-label-filt.zip"
    good = encoded(frames[0].ids.astype(np.uint16))
    write_zip(archive, {"label-filt/0.png": good, "label-filt/3.png": encoded(frames[3].ids[:-1].astype(np.uint16))})
    scan = only_scan(tmp_path)
    assert (scan.meta["frames"], scan.meta["frames_without_label"]) == (2, 2)
    posed = scan.frames()
    next(posed)
    with pytest.raises(UserError, match=r"scene0000_00\.sens: frame 3: label is 96 x 71; expected 96 x 72"):
        next(posed)
    archive.unlink()
    (folder / "label").mkdir()
    with pytest.raises(UserError, match=r"scene0000_00/label has no pictures; expected labels such as 0\.png"):
        only_scan(tmp_path)
    write_zip(archive, {"label-filt/9.png": good})
    with pytest.raises(UserError, match="of 4 frames 4 have a rigid camera-to-world pose and 0 have labels"):
        only_scan(tmp_path)
