"""A label file as the stage render reads it: from S3 too, and what it says decides what is made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roomseg.config import RenderConfig
from roomseg.data.dataset import open_rooms
from roomseg.errors import UserError
from roomseg.runtime.stage import stage_fingerprint
from roomseg.runtime.storage import open_store
from tests.scenes.scans.box_room import DEPTH_LENS, DEPTH_SIZE, TABLE_M, one_camera_rig, takes
from tests.scenes.scans.recordings import encoded, save, write_open3d
from tests.stages.rendered import configured, reader, render

LABELS = """
name = "robot"
class = [
    {name = "table", color = "#ff0000", ids = [4]},
    {name = "shell", color = "#00ff00", ids = [1, 3, 41], shell = true},
]
"""


def recorded(folder: Path, labels: str) -> RenderConfig:
    """One recording of the box room, with ids as ScanNet has them."""
    frames = takes(one_camera_rig(DEPTH_LENS, DEPTH_SIZE), 6)
    write_open3d(folder / "room", frames, "json", DEPTH_LENS)
    for n, take in enumerate(frames):
        save(folder / "room" / "label" / f"{n}.png", encoded(take.ids))
    source = ["source=rgbd", f"rgbd_root={folder}", f"rgbd_labels={labels}", "rgbd_up=+z", "workers=1"]
    return configured(*source, "train_rooms=1", "val_rooms=0", "test_rooms=0", "panorama_height=64")


def test_rooms_have_the_classes_of_a_label_file_on_s3(s3_store: str, tmp_path: Path) -> None:
    remote = open_store(s3_store)
    remote.put_bytes("labels.toml", LABELS.encode())
    config = recorded(tmp_path / "recordings", f"{s3_store}/labels.toml")
    manifest = render(config, tmp_path / "store")
    rooms = open_rooms(reader(manifest, tmp_path / "store"), "train")
    assert (rooms.labels.name, rooms.labels.names) == ("robot", ("void", "table", "shell"))
    assert (rooms.labels.colors[1:], rooms.labels.shell) == (((255, 0, 0), (0, 255, 0)), ("shell",))
    (room,) = rooms
    assert set(np.unique(room.label)) == {0, 1, 2}
    table_m = np.argwhere(room.label == 1) * room.voxel_m + room.origin_m
    reach_m = (room.meta["truncation_voxels"] + 1) * room.voxel_m
    assert (np.abs(table_m - np.clip(table_m, *TABLE_M)) < reach_m).all()

    before = stage_fingerprint("render", config, {})
    remote.put_bytes("labels.toml", LABELS.replace("ff0000", "ff0001").encode())
    assert stage_fingerprint("render", config, {}) != before
    remote.put_bytes("labels.toml", LABELS.encode())
    assert stage_fingerprint("render", config, {}) == before == manifest.fingerprint


def test_a_faulty_label_file_stops_the_stage_and_not_each_room(tmp_path: Path) -> None:
    path = save(tmp_path / "labels.toml", LABELS.replace("#ff0000", "red"))
    config = recorded(tmp_path / "recordings", str(path))
    with pytest.raises(UserError, match=rf"{path}: class 1, color: got 'red'; expected red, green and blue"):
        render(config, tmp_path / "store")
    path.unlink()
    with pytest.raises(UserError, match=rf"render \(rgbd_labels\): {path} is not there, or no file"):
        render(config, tmp_path / "store")
