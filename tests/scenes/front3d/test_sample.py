"""One real house, where it lies beside the repository: its rooms come out as they were designed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roomseg.labels import PANOROOMS3D
from roomseg.scenes.boxes import Box
from roomseg.scenes.front3d.room import Front3dRoom
from roomseg.scenes.front3d.source import Front3dSource
from roomseg.scenes.viewpoints import camera_poses

SAMPLE = Path(__file__).parents[4] / "shared/front3d-sample"
MASTER, SECOND, LIVING = 1, 3, 6

pytestmark = pytest.mark.skipif(not SAMPLE.is_dir(), reason="the 3D-FRONT sample is not here")


@pytest.fixture(scope="module")
def rooms() -> dict[int, Front3dRoom]:
    source = Front3dSource(root=SAMPLE, seed=0, room_types=("living_room", "bedroom"))
    keys, rejected = source.plan()
    assert rejected == []
    return {int(key.place[1]): source.load(key) for key in keys}


def classes(room: Front3dRoom) -> set[str]:
    return {PANOROOMS3D.names[label] for label in np.unique(room.mesh.face_label)}


def box_of(room: Front3dRoom, name: str) -> Box:
    (box,) = [model.box for model in room.furniture if model.name == name]
    return box


def gap_behind(room: Front3dRoom, box: Box) -> float:
    """From the back of a box to the wall behind it, metres."""
    back = -box.front[0], -box.front[1]
    return room.ahead_m(box.center_m, back) - box.reach(back)


def test_its_rooms_and_their_floors(rooms: dict[int, Front3dRoom]) -> None:
    assert sorted(rooms) == [MASTER, SECOND, LIVING]
    assert [rooms[k].room_type for k in (MASTER, SECOND, LIVING)] == ["bedroom", "bedroom", "living_room"]
    for index, area_m2 in ((MASTER, 11.44), (SECOND, 7.95), (LIVING, 25.68)):
        assert rooms[index].floor.area_m2 == pytest.approx(area_m2, rel=0.02)
        assert rooms[index].height_m == pytest.approx(2.6)
        assert rooms[index].floor.covered_share > 0.99
        assert rooms[index].mesh.bounds[0, 2] == pytest.approx(0, abs=0.001)


def test_its_classes(rooms: dict[int, Front3dRoom]) -> None:
    building = {"floor", "ceiling", "wall", "baseboard", "door/window"}
    assert classes(rooms[MASTER]) == building | {"bed", "wardrobe", "cabinet", "table", "chair", "lamp"}
    assert classes(rooms[SECOND]) == building | {"bed", "wardrobe", "cabinet", "lamp"}
    assert classes(rooms[LIVING]) == building | {"sofa", "table", "chair", "cabinet", "stool", "lamp"}


def test_beds_and_wardrobes_have_their_back_to_a_wall(rooms: dict[int, Front3dRoom]) -> None:
    for index, bed in ((MASTER, "double bed"), (SECOND, "single bed")):
        for name in (bed, "wardrobe", "nightstand"):
            assert abs(gap_behind(rooms[index], box_of(rooms[index], name))) < 0.1
    bed_model = next(model for model in rooms[SECOND].furniture if model.name == "single bed")
    high = bed_model.mesh.vertices[bed_model.mesh.vertices[:, 2] > 0.8]  # its headboard and pillows
    back = -np.array(bed_model.box.front)
    assert ((high[:, :2] - bed_model.box.center_m) @ back).min() > 0.7 * bed_model.box.size_m[1] / 2


def test_the_sofa_faces_the_television_and_chairs_the_table(rooms: dict[int, Front3dRoom]) -> None:
    living = rooms[LIVING]
    sofa, stand, table = (
        box_of(living, name) for name in ("three-seat / multi-person sofa", "tv stand", "dining table")
    )
    assert sofa.front == pytest.approx((0, 1), abs=1e-3)
    assert stand.front == pytest.approx((0, -1), abs=1e-3)
    assert abs(sofa.center_m[0] - stand.center_m[0]) < 0.3
    assert sofa.center_m[1] < stand.center_m[1]
    assert abs(gap_behind(living, sofa)) < 0.1
    assert abs(gap_behind(living, stand)) < 0.1
    chairs = [model.box for model in living.furniture if model.name == "dining chair"]
    assert len(chairs) == 4
    for chair in chairs:
        toward = table.center_m[1] - chair.center_m[1]
        assert chair.front[1] * toward > 0.5 * abs(toward)


def test_furniture_stands_on_the_floor_and_inside_its_outline(rooms: dict[int, Front3dRoom]) -> None:
    assert {index: len(room.furniture) for index, room in rooms.items()} == {MASTER: 7, SECOND: 4, LIVING: 15}
    for room in rooms.values():
        for model in room.furniture:
            corners = [
                model.box.at(x * model.box.size_m[0], y * model.box.size_m[1]) for x in (-0.5, 0.5) for y in (-0.5, 0.5)
            ]
            assert max(room.floor.distance_m(*corner) for corner in corners) < 0.15
            if PANOROOMS3D.names[model.label] == "lamp":
                assert model.box.low_m > 1
            else:
                assert model.box.low_m == pytest.approx(0, abs=0.001)


def test_cameras_find_room(rooms: dict[int, Front3dRoom]) -> None:
    for room in rooms.values():
        poses = camera_poses(room, 20, (1.4, 1.8), np.random.default_rng(0))
        assert room.is_free(poses[:, :3, 3], 0.2).all()
