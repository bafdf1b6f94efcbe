"""Generated rooms: nothing meets, everything is inside, groups face as they should, the seed decides all."""

import hashlib
import itertools
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context

import numpy as np
import pytest

from roomseg.errors import UserError
from roomseg.labels import PANOROOMS3D
from roomseg.scenes.boxes import penetration_m
from roomseg.scenes.furniture import open_furniture
from roomseg.scenes.generator import camera_poses, generate_room, panorama_cameras
from roomseg.scenes.openings import MAX_DEPTH_M
from roomseg.scenes.textures import floor_textures, wall_textures
from roomseg.scenes.viewpoints import CLEARANCE_M

ROOM_TYPES = ("living_room", "bedroom", "office", "kitchen", "bathroom")
N_ROOMS = 60


@lru_cache(maxsize=1)
def assets():
    return open_furniture(None), (floor_textures(None), wall_textures(None))


def make_room(number, size_range_m=(3.0, 7.0), index=0):
    return generate_room((7, number), f"h{number}", index, ROOM_TYPES[number % 5], size_range_m, *assets())


def digest(room):
    mesh = room.mesh
    arrays = (mesh.vertices, mesh.faces, mesh.face_label, mesh.face_color, mesh.face_texture, mesh.uv, room.outline)
    content = b"".join(array.tobytes() for array in (*arrays, *mesh.textures))
    return hashlib.sha256(content + repr((room.id, room.height_m, room.credits)).encode()).hexdigest()


def room_digest(number):
    return digest(make_room(number))


@pytest.fixture(scope="module")
def rooms():
    return [make_room(number) for number in range(N_ROOMS)]


def of_kind(room, *kinds):
    return [placed for placed in room.objects if placed.kind in kinds]


def test_no_two_objects_overlap(rooms):
    for room in rooms:
        for a, b in itertools.combinations(room.objects, 2):
            assert penetration_m(a.box, b.box) < 0.01, (room.id, a.name, b.name)


def test_every_object_is_inside(rooms):
    for room in rooms:
        for placed in room.objects:
            box = placed.box
            assert room.plan.contains_box(box), (room.id, placed.name)
            assert box.low_m >= -0.01, (room.id, placed.name)
            assert box.high_m <= room.height_m + 0.01, (room.id, placed.name)


def test_the_mesh_ends_at_the_room_and_its_holes(rooms):
    for room in rooms:
        low, high = room.mesh.bounds
        x0, y0, x1, y1 = room.plan.bounds
        hole = MAX_DEPTH_M + 0.02
        assert (low >= (x0 - hole, y0 - hole, -0.01)).all()
        assert (high <= (x1 + hole, y1 + hole, room.height_m + 0.01)).all()


def test_a_room_has_8_to_25_objects_and_a_usual_height(rooms):
    for room in rooms:
        assert 8 <= len(room.objects) <= 25
        assert 2.4 <= room.height_m <= 2.9
        assert len(room.mesh) < 260_000
    assert np.mean([len(room.objects) for room in rooms]) > 11


def test_nothing_floats(rooms):
    """What neither stands on the floor nor hangs (on a wall, from the ceiling) stands on something."""
    for room in rooms:
        for placed in room.objects:
            box = placed.box
            hangs = box.high_m > room.height_m - 0.02
            back = np.array([box.at(0, box.size_m[1] / 2)])
            at_wall = room.plan.wall_distance(back)[0] < 0.03
            stands = any(
                abs(other.box.high_m - box.low_m) < 0.01
                and other.box.distance(np.array([(*box.center_m, box.low_m)]))[0] < 0.01
                for other in room.objects
            )
            assert box.low_m < 0.01 or hangs or at_wall or stands, (room.id, placed.name, box)


def test_forty_rooms_show_every_class(rooms):
    seen = set(np.concatenate([np.unique(room.mesh.face_label) for room in rooms[:40]]).tolist())
    assert seen == set(range(1, len(PANOROOMS3D)))


def test_shapes_vary(rooms):
    corners = Counter(len(room.outline) for room in rooms)
    assert corners[4] >= 10
    assert corners[6] >= 5
    assert corners[8] + corners[10] >= 5


def test_bedside_tables_stand_beside_the_head_of_the_bed(rooms):
    found = 0
    for room in rooms:
        for table in of_kind(room, "bedside_table"):
            (bed,) = of_kind(room, "bed")
            assert table.box.yaw_rad == bed.box.yaw_rad
            apart = np.linalg.norm(np.subtract(table.box.center_m, bed.box.center_m))
            assert penetration_m(table.box, bed.box) <= 0
            assert apart < bed.box.size_m[0] / 2 + bed.box.size_m[1] / 2 + table.box.size_m[0]
            backs = np.subtract(table.box.at(0, table.box.size_m[1] / 2), bed.box.at(0, bed.box.size_m[1] / 2))
            assert np.dot(backs, bed.box.front) == pytest.approx(0, abs=1e-6)  # in one line with the bed's head
            found += 1
    assert found >= 6


def test_beds_have_their_head_to_a_wall(rooms):
    beds = [(room, bed) for room in rooms for bed in of_kind(room, "bed")]
    assert len(beds) >= 6
    for room, bed in beds:
        head = np.array([bed.box.at(0, bed.box.size_m[1] / 2)])
        assert room.plan.wall_distance(head)[0] == pytest.approx(0.02, abs=1e-6)


def test_chairs_at_tables_face_them(rooms):
    found = 0
    for room in rooms:
        tables = of_kind(room, "dining_table", "desk")
        for chair in of_kind(room, "chair", "office_chair"):
            ahead = np.array([(*chair.box.at(0, -chair.box.size_m[1] / 2 - 0.2), 0.5)])
            assert any(table.box.distance(ahead)[0] < 0.15 for table in tables), (room.id, chair.name)
            found += 1
    assert found >= 40


def test_sofas_with_a_screen_face_it(rooms):
    found = 0
    for room in rooms:
        for stand in of_kind(room, "tv_stand"):
            seats = []
            for sofa in of_kind(room, "sofa", "corner_sofa"):
                to_stand = np.subtract(stand.box.center_m, sofa.box.center_m)
                to_stand = to_stand / np.linalg.norm(to_stand)
                seats.append(min(np.dot(sofa.box.front, to_stand), np.dot(stand.box.front, -to_stand)))
            assert max(seats) > 0.99, room.id
            found += 1
    assert found >= 6


def test_every_room_has_a_door_and_nothing_but_rugs_before_it(rooms):
    for room in rooms:
        doors = [opening for opening in room.openings if opening.kind == "door"]
        assert doors, room.id
        for door in doors:
            before = room.plan.walls[door.wall].box((door.from_m, door.to_m), (0.0, 0.8), (0.02, door.high_m))
            assert all(penetration_m(before, box) < 0.01 for box in room.obstacles), room.id


def test_nothing_tall_stands_before_a_window(rooms):
    found = 0
    for room in rooms:
        others = [placed.box for placed in room.objects if placed.kind != "curtain"]
        for window in (opening for opening in room.openings if opening.kind == "window"):
            middle = (max(window.low_m, 0.6) + window.high_m) / 2 + 0.2
            before = room.plan.walls[window.wall].box((window.from_m, window.to_m), (0.0, 0.3), (middle, window.high_m))
            assert all(penetration_m(before, box) < 0.01 for box in others), room.id
            found += 1
    assert found > 60


def test_cameras_stand_in_free_space_and_look_around(rooms):
    for room in rooms[:15]:
        poses = camera_poses(room, 40, (1.4, 1.8), np.random.default_rng(1))
        assert poses.shape == (40, 4, 4)
        eyes, forward = poses[:, :3, 3], poses[:, :3, 2]
        assert room.is_free(eyes, CLEARANCE_M).all()
        assert room.plan.contains(eyes[:, :2]).all()
        assert ((eyes[:, 2] >= 1.4) & (eyes[:, 2] <= 1.8)).all()
        np.testing.assert_allclose(np.linalg.det(poses[:, :3, :3]), 1.0)
        assert (poses[:, 2, 1] < 0).all()  # +Y of the image is down
        pitch_deg = np.degrees(np.arcsin(forward[:, 2]))
        assert pitch_deg.min() < -30
        assert pitch_deg.max() > 15
        eighths = np.unique(((np.arctan2(forward[:, 1], forward[:, 0]) + np.pi) / (np.pi / 4)).astype(int) % 8)
        assert len(eighths) == 8


def test_cameras_spread_better_than_chance(rooms):
    def nearest_gap(points):
        gaps = np.linalg.norm(points[:, None] - points[None], axis=-1) + 99 * np.eye(len(points))
        return gaps.min(axis=1).mean()

    room = rooms[0]
    spread = camera_poses(room, 40, (1.6, 1.6), np.random.default_rng(2))[:, :3, 3]
    drawn = np.random.default_rng(2).uniform((0, 0, 1.6), (*room.plan.bounds[2:], 1.6), (400, 3))
    chance = drawn[room.is_free(drawn, CLEARANCE_M)][:40]
    assert nearest_gap(spread) > 1.2 * nearest_gap(chance)


def test_panoramas_are_taken_in_free_space_and_the_first_near_the_middle(rooms):
    for room in rooms:
        positions = panorama_cameras(room, 3, np.random.default_rng(0))
        assert positions.shape == (3, 3)
        assert room.is_free(positions, CLEARANCE_M).all()
        np.testing.assert_allclose(positions[:, 2], 1.6)
        middle = (room.outline.min(axis=0) + room.outline.max(axis=0)) / 2
        assert np.linalg.norm(positions[0, :2] - middle) < 0.5 * np.linalg.norm(middle)
        np.testing.assert_array_equal(panorama_cameras(room, 1, np.random.default_rng(0)), positions[:1])


def test_is_free_by_hand(rooms):
    room = rooms[0]
    placed = room.objects[0].box
    inside = (*placed.center_m, (placed.low_m + placed.high_m) / 2)
    above_floor = (*room.plan.walls[0].at(0.5, 0.1), 0.05)
    assert not room.is_free(np.array([inside, (-0.5, 1.0, 1.5), above_floor]), 0.1).any()


def test_the_seed_decides_every_byte_in_any_process(rooms):
    numbers = [4, 0, 2, 1, 3]
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        there = list(pool.map(room_digest, numbers))
    assert there == [digest(rooms[number]) for number in numbers]
    assert len(set(there)) == len(there)


def test_rooms_of_one_house_differ():
    first, second = make_room(1, index=0), make_room(1, index=1)
    assert (first.id, second.id) == ("h1-0", "h1-1")
    assert digest(first) != digest(second)


def test_the_models_used_are_credited(rooms):
    for room in rooms:
        assert list(room.credits) == sorted(set(room.credits))
        assert room.credits == ("roomseg, Apache-2.0", "roomseg, parametric, Apache-2.0")  # textures, models


def test_small_rooms_still_hold_eight_objects():
    for number in range(10):
        room = make_room(number, (2.5, 3.0))
        assert len(room.objects) >= 8
        assert max(room.plan.bounds[2:]) <= 3.0


def test_rooms_too_small_for_furniture_say_so():
    with pytest.raises(UserError, match=r"set render\.room_size_m higher"):
        make_room(1, (0.9, 1.1))
