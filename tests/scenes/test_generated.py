"""The generator as a source: which rooms there are, and that a key alone makes its room."""

from pathlib import Path

import numpy as np
import pytest

from roomseg.errors import UserError
from roomseg.scenes.generated import GeneratedSource, furniture_dir
from roomseg.splits import SPLITS

ROOMS = {"train": 9, "val": 3, "test": 4}


def source(furniture: Path | None = None, seed: int = 0) -> GeneratedSource:
    return GeneratedSource(seed, ROOMS, 2, ("bedroom", "office", "kitchen"), (2.5, 3.0), furniture)


def test_houses_are_in_one_split_only() -> None:
    keys, rejected = source().plan()
    assert rejected == []
    assert [sum(key.split == split for key in keys) for split in SPLITS] == [9, 3, 4]
    houses = [{key.house_id for key in keys if key.split == split} for split in SPLITS]
    assert [len(each) for each in houses] == [5, 2, 2]
    assert len(set.union(*houses)) == 9
    assert len({key.id for key in keys}) == 16
    assert (keys[0].id, keys[3].id, keys[9].id) == ("g0h000000-0", "g0h000001-1", "g0h000005-0")


def test_a_key_makes_its_room() -> None:
    keys, _ = source().plan()
    rooms = [source().load(keys[n]) for n in (1, 4)]
    assert [room.room_type for room in rooms] == ["office", "office"]
    assert [(room.id, room.house_id) for room in rooms] == [(keys[n].id, keys[n].house_id) for n in (1, 4)]
    again = source().load(keys[4])
    np.testing.assert_array_equal(again.mesh.vertices, rooms[1].mesh.vertices)
    assert len(source(seed=1).load(keys[4]).mesh.vertices) != len(again.mesh.vertices)


def test_a_damaged_library_is_named_before_any_room_is_made(tmp_path: Path) -> None:
    (tmp_path / "Some.sh3f").write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"Some\.sh3f.*make furniture"):
        source(tmp_path).plan()
    assert source(tmp_path).digest() != source().digest()


def test_where_furniture_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="nowhere is not a folder"):
        furniture_dir(str(tmp_path / "nowhere"))
    monkeypatch.setenv("ROOMSEG_FURNITURE_DIR", str(tmp_path))
    assert furniture_dir("auto") == tmp_path
    monkeypatch.setenv("ROOMSEG_FURNITURE_DIR", str(tmp_path / "nowhere"))
    assert furniture_dir("auto") is None
