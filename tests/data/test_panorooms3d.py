"""The published release: what the published code makes of its arrays is what our rooms hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from roomseg.data.panorooms3d import PanoRooms3dSource, read_block, read_room
from roomseg.data.rooms import EMPTY_RGB, EMPTY_TSDF, Room, check_room, network_input
from roomseg.front3d_names import MERGED
from tests.data.releases import (
    HOUSES,
    SHAPE,
    annotation,
    block_arrays,
    room_arrays,
    save_npz,
    save_panorama,
    save_release,
)

FIRST, SECOND, THIRD = HOUSES
HALF_A_STEP = 3 / 254 + 1e-6  # of the network's channel 0


def published_input(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:  # (4, X, Y, Z), (X, Y, Z)
    """The network's input and labels, as the release's own loader is described to make them."""
    sdf = -3.0 * arrays["sdf128"]
    color = arrays["color128"].astype(np.float64)
    blue = np.floor(color / 65536)
    green = np.floor((color - 65536 * blue) / 256)
    rgb = np.stack([color - 65536 * blue - 256 * green, green, blue]) / 255
    label = MERGED[arrays["semanticlabel"].astype(int)]
    empty = sdf <= -3
    return np.concatenate([sdf[None], 2 * np.where(empty, 0, rgb) - 1]), np.where(empty, 0, label)


def room_of(planes: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Room:
    room = Room("r", "h", "train", np.zeros(3), 0.04, *planes)
    check_room(room)
    return room


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_rooms_are_what_the_published_loader_makes_of_them(tmp_path_factory, data: st.DataObject) -> None:
    shape = (3, 4, 5)
    distances = st.floats(-1, 1, width=32) | st.sampled_from([1.0, 0.0, -1.0, float(np.nextafter(np.float32(1), 0))])
    arrays = {
        "sdf128": data.draw(arrays_of.arrays(np.float32, shape, elements=distances)),
        "color128": data.draw(arrays_of.arrays(np.int64, shape, elements=st.integers(0, 2**24 - 1))).astype(np.float32),
        "semanticlabel": data.draw(arrays_of.arrays(np.int16, shape, elements=st.integers(0, 98))),
    }
    room = room_of(read_room(save_npz(tmp_path_factory.mktemp("r") / "a_1.npz", arrays)))
    volume, label = published_input(arrays)
    ours = network_input(room)
    np.testing.assert_array_equal(ours[0] == EMPTY_TSDF, volume[0] <= -3)
    np.testing.assert_allclose(ours[0], volume[0], atol=2 * HALF_A_STEP)  # what is nearly empty is not made empty
    clear = np.abs(arrays["sdf128"]) < 0.99
    np.testing.assert_allclose(ours[0][clear], volume[0][clear], atol=HALF_A_STEP)
    np.testing.assert_allclose(ours[1:], volume[1:], atol=1e-6)
    np.testing.assert_array_equal(room.label, label)


def test_a_room_by_hand(tmp_path: Path) -> None:
    sdf = np.array([[[0.0, 0.5, 1.0, -1.0]]], np.float32)
    color = np.array([[[1 + 2 * 256 + 3 * 65536, 2**24 - 1, 5.0, 0.0]]], np.float64)
    label = np.array([[[40, 51, 17, 98]]], np.int64)
    tsdf, rgb, merged = read_room(
        save_npz(tmp_path / "a_1.npz", {"sdf128": sdf, "color128": color, "semanticlabel": label})
    )
    np.testing.assert_array_equal(tsdf, [[[0, 64, 127, -127]]])
    np.testing.assert_array_equal(rgb, [[[(1, 2, 3), (255, 255, 255), (0, 0, 0), (0, 0, 0)]]])
    np.testing.assert_array_equal(merged, [[[17, 20, 0, 5]]])  # wall, floor, empty, door


@pytest.mark.parametrize("left_there", [255, -1, np.nan])
def test_what_stands_in_empty_voxels_does_not_count(tmp_path: Path, left_there: float) -> None:
    arrays = room_arrays()
    empty = arrays["sdf128"] == 1
    assert empty.any()
    odd = {name: np.where(empty, left_there, arrays[name]) for name in ("color128", "semanticlabel")}
    plain = read_room(save_npz(tmp_path / "a_1.npz", arrays))
    for ours, same in zip(read_room(save_npz(tmp_path / "a_2.npz", arrays | odd)), plain, strict=True):
        np.testing.assert_array_equal(ours, same)


def test_arrays_in_fortran_order_are_the_same(tmp_path: Path) -> None:
    arrays = room_arrays()
    plain = read_room(save_npz(tmp_path / "a_1.npz", arrays))
    turned = {name: np.asfortranarray(array) for name, array in arrays.items()}
    for ours, same in zip(read_room(save_npz(tmp_path / "a_2.npz", turned)), plain, strict=True):
        np.testing.assert_array_equal(ours, same)


def test_a_block_by_hand(tmp_path: Path) -> None:
    planes = read_block(save_npz(tmp_path / "train" / "b.npz", block_arrays()))
    room = room_of(planes)
    volume = network_input(room)
    assert room.shape == (128, 128, 128)
    assert (room.tsdf != 127).sum() == 3
    np.testing.assert_allclose(volume[:, 0, 0, 0], (0, -1, 2 * 128 / 255 - 1, 1), atol=1e-6)
    np.testing.assert_allclose(volume[:, 1, 2, 3], (-1.5, -0.6, -0.2, 0.2), atol=HALF_A_STEP)
    np.testing.assert_allclose(volume[:, 127, 127, 127], (3, 1, 1, 1), atol=1e-6)
    np.testing.assert_array_equal(volume[:, 5, 5, 5], (EMPTY_TSDF, *[EMPTY_RGB] * 3))  # listed, and empty all the same
    assert [room.label[at] for at in ((0, 0, 0), (1, 2, 3), (127, 127, 127), (5, 5, 5))] == [17, 20, 29, 0]


# The release as a whole


def test_the_published_split(tmp_path: Path) -> None:
    source = PanoRooms3dSource(save_release(tmp_path))
    keys, rejected = source.plan()
    assert [(key.id, key.house_id, key.split) for key in keys] == [
        (f"{FIRST}_12", FIRST, "train"),
        (f"{FIRST}_3", FIRST, "train"),
        (f"{SECOND}_0", SECOND, "train"),
        (f"{SECOND}_7", SECOND, "val"),
        (f"{THIRD}_1", THIRD, "test"),
    ]
    assert rejected == []
    assert source.load(keys[-1]).panoramas == ()
    before = source.digest()
    assert PanoRooms3dSource(tmp_path).digest() == before
    (tmp_path / "lists" / "train.txt").write_text(f"{FIRST}_12\n")
    assert PanoRooms3dSource(tmp_path).digest() != before


def test_what_the_lists_and_the_rooms_do_not_share_is_told(tmp_path: Path) -> None:
    save_release(tmp_path)
    save_npz(tmp_path / "rooms" / "new_4.npz", room_arrays())
    save_npz(tmp_path / "rooms" / "notes.npz", room_arrays())
    (tmp_path / "rooms" / f"{FIRST}_3.npz").unlink()
    keys, rejected = PanoRooms3dSource(tmp_path).plan()
    assert len(keys) == 4
    assert {each.id: each.reason for each in rejected} == {
        f"{FIRST}_3": f"in train.txt, but there is no {FIRST}_3.npz",
        "new_4": "in none of the published lists",
        "rooms/notes.npz": "neither <house>_<n>.npz nor in a folder train or val",
    }


def test_the_split_by_house_leaks_nothing(tmp_path: Path) -> None:
    save_release(tmp_path)
    keys, _ = PanoRooms3dSource(tmp_path, split="house").plan()
    assert len(keys) == 5
    splits = {(key.house_id, key.split) for key in keys}
    assert len(splits) == len({house for house, _ in splits}) == 3
    assert {split for _, split in splits} == {"train", "val", "test"}


def test_blocks_go_by_their_folders(tmp_path: Path) -> None:
    source = PanoRooms3dSource(save_release(tmp_path), parts="blocks")
    keys, _ = source.plan()
    assert [(key.id, key.house_id, key.split) for key in keys] == [
        (f"train-{FIRST}_3_0", FIRST, "train"),
        ("val-anything", "anything", "val"),
    ]
    assert source.load(keys[1]).shape == (128, 128, 128)


def raw_ids(merged: np.ndarray) -> np.ndarray:
    """Raw ids of the classes, a wall's beyond all merged ones."""
    return np.array([np.flatnonzero(each == MERGED)[-1] for each in range(30)], np.uint8)[merged]


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("raw", [False, True])
def test_a_panorama_is_turned_the_way_that_its_room_is(tmp_path: Path, mirrored: bool, raw: bool) -> None:
    save_release(tmp_path)
    truth = annotation()
    shown = 8 * np.stack([truth, truth, 31 - truth], axis=-1)
    turn = slice(None, None, -1 if mirrored else 1)
    save_panorama(tmp_path / "panoramas", f"{FIRST}_3", (raw_ids(truth) if raw else truth)[:, turn], shown[:, turn])
    source = PanoRooms3dSource(tmp_path)
    room = source.load(next(key for key in source.plan()[0] if key.id == f"{FIRST}_3"))
    (view,) = room.panoramas
    np.testing.assert_allclose(view.camera_m, 0.04 * (np.array(SHAPE) - 1) / 2)
    np.testing.assert_array_equal(view.label, truth)
    assert np.abs(view.rgb.astype(int) - shown).mean() < 6  # JPEG
    assert room.meta["panorama_mirrored"] is mirrored
    assert room.meta["panorama_agreement"] > 0.99
    assert room.meta["hit_rate"] == 1.0
