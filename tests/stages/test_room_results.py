"""The file of what a model did in each room: what it keeps, how a room is known, what is no such file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from roomseg.data.dataset import open_rooms
from roomseg.errors import UserError
from roomseg.stages.room_results import NAME, RoomResults, add_room_results, packed, room_digest, unpacked
from tests.data.rooms import small_room
from tests.stages.distilling import Bench, rooms_artifact


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    one = Bench(tmp_path, {"rooms": rooms_artifact(tmp_path / "rooms", [small_room(n, "test") for n in (4, 5)])})
    rooms = open_rooms(one.inputs["rooms"], "test")
    matrices = list(np.random.default_rng(0).integers(0, 10**12, (2, 30, 30)))
    context = one.context()
    add_room_results(context, rooms, matrices)
    content = context.outputs.path(NAME).read_bytes()
    found = unpacked(content, NAME)
    assert found.classes == rooms.labels.names
    assert found.rooms == ("room4", "room5")
    assert found.digests == (room_digest(rooms[0]), room_digest(rooms[1]))
    np.testing.assert_array_equal(found.confusions, np.stack(matrices))
    assert packed(found) == content
    assert found.rooms_digest == replace(found, digests=found.digests[::-1]).rooms_digest
    assert found.rooms_digest != replace(found, digests=found.digests[:1]).rooms_digest


@pytest.mark.parametrize("plane", ["tsdf", "rgb", "label"])
def test_a_room_is_its_content(plane: str) -> None:
    room = small_room(0)
    other = getattr(room, plane).copy()
    other.flat[7] ^= 1
    assert room_digest(replace(room, id="another", meta={})) == room_digest(room)
    assert room_digest(replace(room, **{plane: other})) != room_digest(room)
    assert room_digest(replace(room, voxel_m=0.05)) != room_digest(room)
    assert room_digest(replace(room, labels="scannet20")) != room_digest(room)


def test_what_is_damaged_or_something_else_is_told() -> None:
    whole = packed(RoomResults(("void", "wall"), ("a",), ("0",), np.ones((1, 2, 2), np.int64)))
    other = pa.BufferOutputStream()
    pq.write_table(pa.table({"room": ["a"]}), other)
    for content in (b"", b"PAR1", whole[: len(whole) // 2], other.getvalue().to_pybytes()):
        with pytest.raises(UserError, match=r"^champion: no room results \(.*\): evaluate the model again$"):
            unpacked(content, "champion")
