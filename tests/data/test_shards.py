from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from roomseg.data.rooms import Panorama, Room, check_room, network_input
from roomseg.data.shards import SCHEMA, ShardFile, pack_room, write_shard
from roomseg.data.summary import ShardSummary
from roomseg.errors import UserError
from roomseg.ports import Rejected
from tests.data.rooms import small_room


def test_a_room_survives_the_disk(tmp_path: Path) -> None:
    rooms = [small_room(0), small_room(1, shape=(9, 3, 4))]
    write_shard(rooms, tmp_path / "a.parquet")
    shard = ShardFile(tmp_path / "a.parquet")
    assert len(shard) == 2
    for row, expected in enumerate(rooms):
        got = shard.room(row)
        for name in ("id", "house_id", "split", "voxel_m", "labels"):
            assert getattr(got, name) == getattr(expected, name)
        assert dict(got.meta) == dict(expected.meta)
        for plane in ("tsdf", "rgb", "label", "origin_m"):
            np.testing.assert_array_equal(getattr(got, plane), getattr(expected, plane))
        (view,) = got.panoramas
        np.testing.assert_array_equal(view.label, expected.panoramas[0].label)
        np.testing.assert_array_equal(view.camera_m, expected.panoramas[0].camera_m)
        assert np.abs(view.rgb.astype(int) - expected.panoramas[0].rgb).max() <= 2  # JPEG


def test_the_same_rooms_give_the_same_bytes(tmp_path: Path) -> None:
    write_shard([small_room(0), small_room(1)], tmp_path / "a")
    write_shard([pack_room(small_room(0)), Rejected("x", "why"), small_room(1)], tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_parts_of_a_room_are_read_alone(tmp_path: Path) -> None:
    write_shard([small_room(0), small_room(1, "val")], tmp_path / "a.parquet")
    shard = ShardFile(tmp_path / "a.parquet")
    assert shard.id_and_shape(1) == ("room1", (5, 6, 7))
    np.testing.assert_array_equal(shard.panoramas(1)[0].label, small_room(1).panoramas[0].label)
    assert len(shard.panoramas(1)[:5]) == 1


def test_the_summary_says_what_was_written(tmp_path: Path) -> None:
    rooms = [small_room(0, hit_rate=0.25, surface_seen=0.75), small_room(3, "val", credits=["Bo, sofas, CC-BY"])]
    rejected = Rejected("bad", "no faces")
    summary = write_shard([rooms[0], rejected, rooms[1]], tmp_path / "a.parquet")
    assert [(line.id, line.house_id, line.split, line.hit_rate, line.surface_seen) for line in summary.rooms] == [
        ("room0", "house0", "train", 0.25, 0.75),
        ("room3", "house1", "val", 0.5, None),
    ]
    assert summary.labels == "panorooms3d"
    assert summary.quarantined == (rejected,)
    assert summary.credits == ("Ann, chairs, CC0", "Bo, sofas, CC-BY")
    for room in rooms:
        assert list(summary.class_voxels[room.split]) == [int((room.label == k).sum()) for k in range(30)]
    assert summary.occupied == sum(int((room.tsdf < 127).sum()) for room in rooms)
    assert summary.labelled == sum(int((room.label > 0).sum()) for room in rooms)
    assert 0 < sum(line.bytes for line in summary.rooms) < (tmp_path / "a.parquet").stat().st_size
    assert ShardSummary.from_json(summary.to_json()) == summary


def test_a_shard_may_have_no_rooms(tmp_path: Path) -> None:
    summary = write_shard([Rejected("bad", "no faces")], tmp_path / "a.parquet")
    assert (summary.labels, summary.rooms, len(ShardFile(tmp_path / "a.parquet"))) == (None, (), 0)


def test_a_damaged_summary_is_named(tmp_path: Path) -> None:
    data = write_shard([small_room(0)], tmp_path / "a.parquet").to_json()
    with pytest.raises(UserError, match=r"^here: not a summary of rooms \(.*; render it again$"):
        ShardSummary.from_json(data[:-9], "here")
    with pytest.raises(UserError, match=r"rooms\.0\.split"):
        ShardSummary.from_json(data.replace(b'"train"', b'"trian"', 1))


def test_label_sets_do_not_mix(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="room1 has the labels scannet20, those before it panorooms3d"):
        write_shard([small_room(0), small_room(1, labels="scannet20")], tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("split", "trian", "room0: got the split 'trian', expected one of train, val, test"),
        ("house_id", "", "expected an id and a house id"),
        ("labels", "ade20k", "label set 'ade20k' is unknown"),
        ("origin_m", np.array([0, np.nan, 0]), "origin_m .*expected finite"),
        ("label", np.ones((5, 6, 7), np.uint8), "labels in empty voxels"),
        ("rgb", np.ones((5, 6, 7, 3), np.uint8), "labels in empty voxels"),
        ("rgb", np.zeros((5, 6, 8, 3), np.uint8), r"got rgb of uint8 \(5, 6, 8, 3\), expected uint8 \(5, 6, 7, 3\)"),
        ("tsdf", np.zeros((5, 6, 7), np.float32), r"got tsdf of float32 .*expected int8"),
        ("tsdf", np.zeros((0, 6, 7), np.int8), "expected X, Y, Z of 1 to"),
    ],
)
def test_rooms_that_are_not_as_they_should_be(name: str, value: Any, message: str) -> None:
    room = small_room(0)
    room.tsdf[0, 0, 0], room.rgb[0, 0, 0], room.label[0, 0, 0] = 127, 0, 0
    check_room(room)
    with pytest.raises(UserError, match=message):
        pack_room(replace(room, **{name: value}))


def test_a_class_that_the_label_set_does_not_have() -> None:
    room = small_room(0)
    room.label[room.tsdf < 127] = 30
    with pytest.raises(UserError, match=r"room0: label: got class id 30, expected 0\.\.29 of panorooms3d"):
        pack_room(room)


@pytest.mark.parametrize(
    ("view", "message"),
    [
        (Panorama(np.zeros(3), np.zeros((8, 16, 3), np.uint8), np.full((8, 16), 30, np.uint8)), "class id 30"),
        (Panorama(np.zeros(3), np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8)), "expected H x 2H"),
        (Panorama(np.full(3, np.inf), np.zeros((8, 16, 3), np.uint8), np.zeros((8, 16), np.uint8)), "camera_m"),
    ],
)
def test_panoramas_that_are_not_as_they_should_be(view: Panorama, message: str) -> None:
    with pytest.raises(UserError, match=rf"room0: panoramas\[0\].*{message}"):
        pack_room(replace(small_room(0), panoramas=[view]))


def test_damage_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_shard([small_room(0)], path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"a\.parquet: not a readable shard"):
        ShardFile(path)
    pq.write_table(pq.read_table(io.BytesIO(whole)).replace_schema_metadata({}), path)
    with pytest.raises(UserError, match="expected format roomseg-rooms-3"):
        ShardFile(path)


def test_a_flipped_bit_is_found_when_the_room_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_shard([small_room(0), small_room(1)], path)
    data = bytearray(path.read_bytes())
    packed = pack_room(small_room(1)).row["rgb"]
    data[bytes(data).index(packed) + len(packed) // 2] ^= 1
    path.write_bytes(data)
    ShardFile(path).room(0)
    with pytest.raises(UserError, match=r"a\.parquet, room 1: damaged \(.*\); render it again"):
        ShardFile(path).room(1)


@pytest.mark.parametrize("change", [{"tsdf": b"abc"}, {"shape": [0, 6, 7]}, {"shape": [70_000] * 3}, {"meta": "{"}])
def test_a_damaged_row_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "a.parquet"
    write_changed(path, change)
    with pytest.raises(UserError, match=r"a\.parquet, room 0: damaged"):
        ShardFile(path).room(0)


def test_a_row_that_is_not_there(tmp_path: Path) -> None:
    write_shard([small_room(0)], tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"a\.parquet, room 1: damaged \(the shard has 1 rooms\)"):
        ShardFile(tmp_path / "a.parquet").room(1)


def test_a_broken_picture_is_refused_when_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_changed(path, {"panoramas": [{"camera_m": [0.0] * 3, "rgb_jpeg": b"no picture", "label_png": b""}]})
    room = ShardFile(path).room(0)
    assert room.shape == (5, 6, 7)
    with pytest.raises(UserError, match=r"a\.parquet, room 0, panorama 0: damaged"):
        room.panoramas[0]
    with pytest.raises(IndexError):
        room.panoramas[1]


def write_changed(path: Path, change: dict[str, Any]) -> None:
    write_shard([small_room(0)], path)
    row = pq.read_table(path).to_pylist()[0] | change
    pq.write_table(pa.Table.from_pylist([row], schema=SCHEMA), path)


def test_labels_are_stored_without_loss(tmp_path: Path) -> None:
    room = small_room(5)
    write_shard([room], tmp_path / "a")
    row = pq.read_table(tmp_path / "a").to_pylist()[0]
    png = row["panoramas"][0]["label_png"]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), room.panoramas[0].label)
    assert json.loads(row["meta"])["hit_rate"] == 0.5


def test_network_input_follows_the_convention() -> None:
    tsdf = np.array([[[127, 0, -127]]], np.int8)
    rgb = np.array([[[[9, 9, 9], [255, 0, 51], [0, 0, 0]]]], np.uint8)
    room = Room("a", "h", "train", np.zeros(3), 0.04, tsdf, rgb, np.zeros((1, 1, 3), np.uint8))
    volume = network_input(room)
    assert volume.dtype == np.float32
    np.testing.assert_allclose(volume[:, 0, 0, 0], [-3, -1, -1, -1])  # empty, whatever colour is stored
    np.testing.assert_allclose(volume[:, 0, 0, 1], [0, 1, -1, -0.6], atol=1e-6)
    np.testing.assert_allclose(volume[:, 0, 0, 2], [3, -1, -1, -1])
