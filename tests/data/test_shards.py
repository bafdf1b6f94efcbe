import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from roomseg.data.dataset import epoch_order, open_rooms
from roomseg.data.rooms import Panorama, Room, network_input
from roomseg.data.shards import (
    SCHEMA,
    open_shard,
    read_panoramas,
    read_room,
    read_shape,
    room_ids,
    write_shard,
)
from roomseg.errors import UserError


def small_room(seed: int, split: str = "train", shape=(5, 6, 7)) -> Room:
    rng = np.random.default_rng(seed)
    tsdf = rng.integers(-127, 128, shape).astype(np.int8)
    full = tsdf < 127
    return Room(
        id=f"room{seed}",
        house_id=f"house{seed // 2}",
        split=split,
        origin_m=rng.normal(size=3),
        voxel_m=0.04,
        tsdf=tsdf,
        rgb=(rng.integers(0, 256, (*shape, 3)) * full[..., None]).astype(np.uint8),
        label=(rng.integers(0, 30, shape) * full).astype(np.uint8),
        panoramas=(
            Panorama(
                rng.normal(size=3), np.full((8, 16, 3), 90, np.uint8), rng.integers(0, 30, (8, 16)).astype(np.uint8)
            ),
        ),
        meta={"room_type": "office", "credits": ["someone"], "hit_rate": 0.5},
    )


def read_all(path) -> list[Room]:
    file = open_shard(path)
    return [read_room(file, row, path) for row in range(file.num_row_groups)]


def test_a_room_survives_the_disk(tmp_path):
    rooms = [small_room(0), small_room(1, shape=(9, 3, 4))]
    write_shard(rooms, tmp_path / "a.parquet")
    for got, expected in zip(read_all(tmp_path / "a.parquet"), rooms, strict=True):
        assert (got.id, got.house_id, got.split, got.voxel_m) == (
            expected.id,
            expected.house_id,
            expected.split,
            expected.voxel_m,
        )
        assert dict(got.meta) == dict(expected.meta)
        for plane in ("tsdf", "rgb", "label", "origin_m"):
            np.testing.assert_array_equal(getattr(got, plane), getattr(expected, plane))
        np.testing.assert_array_equal(got.panoramas[0].label, expected.panoramas[0].label)
        np.testing.assert_array_equal(got.panoramas[0].camera_m, expected.panoramas[0].camera_m)
        assert np.abs(got.panoramas[0].rgb.astype(int) - expected.panoramas[0].rgb).max() <= 2  # JPEG


def test_the_same_rooms_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_shard([small_room(0), small_room(1)], tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_parts_of_a_room_are_read_alone(tmp_path):
    path = tmp_path / "a.parquet"
    write_shard([small_room(0), small_room(1, "val")], path)
    assert room_ids(path) == [("room0", "train"), ("room1", "val")]
    file = open_shard(path)
    assert read_shape(file, 1, path) == (5, 6, 7)
    np.testing.assert_array_equal(read_panoramas(file, 1, path)[0].label, small_room(1).panoramas[0].label)


def test_damage_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    write_shard([small_room(0)], path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"a\.parquet: not a readable shard"):
        open_shard(path)
    pq.write_table(pq.read_table(io.BytesIO(whole)).replace_schema_metadata({}), path)
    with pytest.raises(UserError, match="expected format roomseg-rooms-2"):
        open_shard(path)


@pytest.mark.parametrize("change", [{"tsdf": b"abc"}, {"shape": [0, 6, 7]}, {"shape": [70_000] * 3}, {"meta": "{"}])
def test_a_damaged_row_is_refused(tmp_path, change):
    path = tmp_path / "a.parquet"
    _write_changed(path, change)
    with pytest.raises(UserError, match=r"a\.parquet, room 0: damaged"):
        read_room(open_shard(path), 0, path)


def test_a_broken_picture_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    picture = {"camera_m": [0.0] * 3, "rgb_jpeg": b"no picture", "label_png": b""}
    _write_changed(path, {"panoramas": [picture]})
    with pytest.raises(UserError, match="damaged"):
        read_room(open_shard(path), 0, path)


def _write_changed(path, change) -> None:
    write_shard([small_room(0)], path)
    row = pq.read_table(path).to_pylist()[0] | change
    pq.write_table(pa.Table.from_pylist([row], schema=SCHEMA), path)


def test_splits_are_ordered_by_id_and_empty_ones_refused(tmp_path):
    write_shard([small_room(3), small_room(1, "val")], tmp_path / "a.parquet")
    write_shard([small_room(2)], tmp_path / "b.parquet")
    shards = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    assert [room.id for room in open_rooms(shards, "train")] == ["room2", "room3"]
    with pytest.raises(UserError, match=r"no test split.*render\.test_rooms"):
        open_rooms(shards, "test")


def test_network_input_follows_the_convention():
    tsdf = np.array([[[127, 0, -127]]], np.int8)
    rgb = np.array([[[[9, 9, 9], [255, 0, 51], [0, 0, 0]]]], np.uint8)
    room = Room("a", "h", "train", np.zeros(3), 0.04, tsdf, rgb, np.zeros((1, 1, 3), np.uint8))
    volume = network_input(room)
    assert volume.dtype == np.float32
    np.testing.assert_allclose(volume[:, 0, 0, 0], [-3, -1, -1, -1])  # empty, whatever colour is stored
    np.testing.assert_allclose(volume[:, 0, 0, 1], [0, 1, -1, -0.6], atol=1e-6)
    np.testing.assert_allclose(volume[:, 0, 0, 2], [3, -1, -1, -1])


def test_epoch_order_is_a_permutation_of_its_own():
    first = epoch_order(0, 0, 50)
    assert sorted(first) == list(range(50))
    np.testing.assert_array_equal(first, epoch_order(0, 0, 50))
    assert (first != epoch_order(0, 1, 50)).any()
    assert (first != epoch_order(1, 0, 50)).any()


def test_labels_are_stored_without_loss(tmp_path):
    room = small_room(5)
    write_shard([room], tmp_path / "a")
    png = pq.read_table(tmp_path / "a").to_pylist()[0]["panoramas"][0]["label_png"]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), room.panoramas[0].label)
