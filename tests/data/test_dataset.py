from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roomseg.data import index
from roomseg.data.dataset import epoch_order, find_room, open_rooms
from roomseg.data.index import read_split, write_index
from roomseg.data.shards import write_shard
from roomseg.data.summary import RoomLine, ShardSummary
from roomseg.errors import UserError
from tests.data.rooms import FolderArtifact, small_room, write_rooms


@pytest.fixture
def artifact(tmp_path: Path) -> FolderArtifact:
    shards = {
        "rooms/train-00000.parquet": [small_room(5), small_room(2, shape=(4, 4, 9))],
        "rooms/train-00001.parquet": [small_room(3), small_room(1, "val")],
    }
    return write_rooms(tmp_path / "artifact", shards)[0]


def test_a_split_is_opened_from_the_index_alone(artifact: FolderArtifact) -> None:
    rooms = open_rooms(artifact, "train")
    assert artifact.asked == ["rooms/index.parquet"]
    assert [ref.id for ref in rooms.refs] == ["room5", "room2", "room3"]
    assert rooms.refs[1].shape == (4, 4, 9)
    np.testing.assert_array_equal(rooms.shapes, [(5, 6, 7), (4, 4, 9), (5, 6, 7)])
    assert rooms.labels.name == "panorooms3d"
    assert artifact.asked == ["rooms/index.parquet"]
    assert rooms[2].id == "room3"
    assert artifact.asked[1:] == ["rooms/train-00001.parquet"]


def test_rooms_and_panoramas_come_from_their_shards(artifact: FolderArtifact) -> None:
    for room, seed, shape in zip(open_rooms(artifact, "train"), (5, 2, 3), [None, (4, 4, 9), None], strict=True):
        expected = small_room(seed, shape=shape or (5, 6, 7))
        np.testing.assert_array_equal(room.tsdf, expected.tsdf)
    (ref,) = open_rooms(artifact, "val").refs
    np.testing.assert_array_equal(ref.panoramas()[0].label, small_room(1).panoramas[0].label)


def test_references_are_a_sequence(artifact: FolderArtifact) -> None:
    refs = open_rooms(artifact, "train").refs
    assert (len(refs), refs[-1].id, [ref.id for ref in refs[1:]]) == (3, "room3", ["room2", "room3"])
    with pytest.raises(IndexError):
        refs[3]


def test_an_empty_split_is_refused(artifact: FolderArtifact) -> None:
    with pytest.raises(UserError, match=r"no test split.*render\.test_rooms"):
        open_rooms(artifact, "test")


def test_a_room_is_found_by_its_id(artifact: FolderArtifact) -> None:
    assert find_room(artifact, "room1").load().split == "val"
    with pytest.raises(UserError, match=r"there is no room 'room9' .*begins with room5, room2, room3"):
        find_room(artifact, "room9")


def test_a_shard_that_is_not_what_the_index_says(artifact: FolderArtifact) -> None:
    write_shard([small_room(5), small_room(7)], artifact.root / "rooms/train-00000.parquet")
    rooms = open_rooms(artifact, "train")
    assert rooms[0].id == "room5"
    message = r"train-00000\.parquet: row 1 is room room7 of \(5, 6, 7\) voxels, the index says room2 of \(4, 4, 9\)"
    with pytest.raises(UserError, match=message):
        rooms[1]
    with pytest.raises(UserError, match=message):
        rooms.refs[1].panoramas()
    write_shard([small_room(5)], artifact.root / "rooms/train-00001.parquet")
    with pytest.raises(UserError, match=r"train-00001\.parquet, room 1: damaged \(the shard has 1 rooms\)"):
        open_rooms(artifact, "val")[0]


def test_missing_files_are_named(artifact: FolderArtifact) -> None:
    rooms = open_rooms(artifact, "val")
    (artifact.root / "rooms/train-00001.parquet").unlink()
    with pytest.raises(UserError, match=r"has no rooms/train-00001\.parquet, which it should have: render it again"):
        rooms[0]
    (artifact.root / index.NAME).unlink()
    with pytest.raises(UserError, match=r"has no rooms/index\.parquet"):
        open_rooms(artifact, "val")


def test_a_damaged_index_is_named(artifact: FolderArtifact) -> None:
    path = artifact.root / index.NAME
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(UserError, match=r"index\.parquet: not a readable index of rooms"):
        open_rooms(artifact, "train")
    flipped = bytearray(whole)
    flipped[20] ^= 1  # in the first page
    path.write_bytes(flipped)
    with pytest.raises(UserError, match=r"index\.parquet: damaged"):
        find_room(artifact, "room1")
    path.write_bytes((artifact.root / "rooms/train-00000.parquet").read_bytes())
    with pytest.raises(UserError, match=r"not a readable index of rooms|not an index of rooms"):
        open_rooms(artifact, "train")


def test_label_sets_do_not_mix(tmp_path: Path) -> None:
    shards = {"rooms/a.parquet": [small_room(0)], "rooms/b.parquet": [small_room(1, labels="scannet20")]}
    with pytest.raises(UserError, match=r"rooms/b\.parquet has the labels scannet20, those before it panorooms3d"):
        write_rooms(tmp_path / "artifact", shards)


def test_an_index_of_several_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "ROWS_PER_GROUP", 4)
    write_index(((f"rooms/{k}.parquet", summary_of(range(3 * k, 3 * k + 3))) for k in range(5)), tmp_path / "i")
    assert index.open_index(tmp_path / "i").num_row_groups == 4
    rows = read_split(tmp_path / "i", "val")
    assert rows["id"].to_pylist() == [f"r{n}" for n in range(15) if n % 2]
    assert rows["shard"].to_pylist() == [f"rooms/{n // 3}.parquet" for n in range(15) if n % 2]
    assert rows["row"].to_pylist() == [n % 3 for n in range(15) if n % 2]


def summary_of(numbers: range) -> ShardSummary:
    lines = tuple(
        RoomLine(
            id=f"r{n}",
            house_id="h",
            split="val" if n % 2 else "train",
            shape=(2, 3, 4),
            room_type="office",
            hit_rate=None,
            surface_seen=None,
            panoramas=0,
            bytes=1,
        )
        for n in numbers
    )
    return ShardSummary(
        labels="panorooms3d", rooms=lines, class_voxels={}, occupied=0, labelled=0, credits=(), quarantined=()
    )


def test_epoch_order_is_a_permutation_of_its_own() -> None:
    first = epoch_order(0, 0, 50)
    assert sorted(first) == list(range(50))
    np.testing.assert_array_equal(first, epoch_order(0, 0, 50))
    assert (first != epoch_order(0, 1, 50)).any()
    assert (first != epoch_order(1, 0, 50)).any()
