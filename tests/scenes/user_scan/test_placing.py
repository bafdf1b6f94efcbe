from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.errors import UserError
from roomseg.geometry.surface import Surface
from roomseg.scenes.generated import GeneratedSource
from roomseg.scenes.user_scan.placing import METRES, Placement, Unit, UpAxis, place
from roomseg.scenes.user_scan.samples import samples_of
from tests.scenes.user_scan.box import COLORS, SIZE_M, as_cloud, box_room

TO_FILE = {"+z": np.eye(3), "+y": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])}  # +Z up to the file's axes


def with_shelves(room: Surface) -> Surface:
    """With two more of its floor's size a third as high: table tops, seats, beds."""
    shelf = box_room()
    floor = shelf.faces[(shelf.points[shelf.faces][..., 2] == 0).all(axis=1)]
    points = np.concatenate([room.points, *(shelf.points * (0.6, 0.6, 0) + (0.4, 0.4, z) for z in (0.5, 0.8))])
    faces = [room.faces, *(floor + len(room.points) + n * len(shelf.points) for n in range(2))]
    return Surface(points, np.concatenate(faces).astype(np.int32), np.zeros((len(points), 3), np.uint8))


def empty_room() -> Surface:
    room = box_room()
    bed = (room.color == COLORS["bed"]).all(axis=1)
    return replace(room, faces=room.faces[~bed[room.faces].any(axis=1)])


def placed(surface: Surface, suffix: str = ".ply", units: Unit | None = None, up: UpAxis | None = None) -> Placement:
    return place(samples_of(surface, np.random.default_rng(0), n=8_000), suffix, units, up)


@settings(max_examples=15, deadline=None)
@given(
    unit=st.sampled_from(["m", "cm", "mm"]),
    up=st.sampled_from(["+y", "+z"]),
    yaw=st.floats(0, 6.3),
    shift=st.tuples(*[st.floats(-50, 50)] * 3),
    cloud=st.booleans(),
)
def test_units_and_up_of_a_room_are_found(unit: Unit, up: str, yaw: float, shift: tuple, cloud: bool) -> None:
    room = as_cloud(box_room(), 10_000) if cloud else box_room()
    turn = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    points = (room.points @ turn.T + shift) @ TO_FILE[up].T / METRES[unit]
    placement = placed(replace(room, points=points))
    assert (placement.units, placement.up) == (unit, up)
    in_room = placement.apply(points)
    assert np.ptp(in_room[:, 2]) == pytest.approx(np.ptp(room.points[:, 2]), rel=1e-6)
    np.testing.assert_allclose(np.linalg.det(placement.to_room[:3, :3]), METRES[unit] ** 3)  # no mirroring
    assert (in_room.min(axis=0) > 0).all()
    assert (in_room.max(axis=0) < placement.bounds[1] + 0.05).all()


IN_FEET_M = (2.1, 2.6, 4.3)  # floor to ceiling


@pytest.mark.parametrize("unit", ["ft", "in"])
@pytest.mark.parametrize("height_m", IN_FEET_M)
def test_a_room_in_feet_or_inches_is_found_and_said_to_be_a_guess(unit: Unit, height_m: float) -> None:
    room = box_room()
    points = room.points * (2, 2, height_m / SIZE_M[2]) / METRES[unit]
    placement = placed(replace(room, points=points))
    assert placement.units == unit
    assert np.ptp(placement.apply(points)[:, 2]) == pytest.approx(height_m)
    (warning,) = placement.warnings
    assert warning.startswith(f"taken to be in {unit}, for it is {height_m / METRES[unit]:.2f} units high")
    assert placed(replace(room, points=points), units=unit).warnings == ()


def test_a_height_that_is_no_room_s_is_said() -> None:
    room = box_room()
    tall = replace(room, points=room.points * (1, 1, 5.2 / SIZE_M[2]))
    (warning,) = placed(tall, up="+z").warnings
    assert warning == "it is 5.20 m high, expected 2 to 4.5 m of a room: are units and up right?"
    in_feet = replace(room, points=room.points @ TO_FILE["+y"].T / METRES["ft"])
    placement = placed(in_feet, ".glb")  # is in metres by its specification
    assert placement.units == "m"
    assert placement.warnings == (
        "it is 8.20 m high, expected 2 to 4.5 m of a room (in ft it is 2.50 m): are units and up right?",
    )
    assert placed(tall, units="m", up="+z").warnings == ()


@pytest.mark.parametrize("ceiling", [True, False])
@pytest.mark.parametrize("cloud", [True, False])
@pytest.mark.parametrize("up", ["+y", "-y", "+z", "-z"])
def test_furniture_and_floor_tell_which_end_is_up(up: UpAxis, cloud: bool, ceiling: bool) -> None:
    room = with_shelves(box_room(ceiling=ceiling))
    points = (room.points if up[0] == "+" else room.points * (1, -1, -1)) @ TO_FILE[f"+{up[1]}"].T
    room = replace(room, points=points)
    placement = placed(as_cloud(room, 10_000) if cloud else room)
    assert (placement.up, placement.warnings) == (up, ())
    assert ("turned over" in placement.reasons[1]) == (up[0] == "-")


def test_rooms_of_the_generator_are_set_upright_or_said_to_be_a_guess() -> None:
    types = ("bedroom", "kitchen", "living_room")
    source = GeneratedSource(7, {"train": 0, "val": 0, "test": 9}, 1, types, (2.8, 5.5), None)
    found: list[tuple[str, int]] = []
    for key in source.plan()[0]:
        mesh = source.load(key).mesh
        room = Surface(mesh.vertices.astype(np.float64), mesh.faces, np.zeros((len(mesh.vertices), 3), np.uint8))
        upright, over = placed(room), placed(replace(room, points=room.points * (1, -1, -1)))
        assert upright.up == "+z"
        assert over.up == "-z" or any("is a guess" in text for text in over.warnings)
        found += [("upright", len(upright.warnings)), (over.up, len(over.warnings))]
    assert found.count(("upright", 0)) >= 8
    assert found.count(("-z", 0)) >= 6


def test_where_nothing_tells_which_end_is_up_that_is_said() -> None:
    (warning,) = placed(empty_room()).warnings
    assert warning.startswith(
        "that +Z and not -Z is up is a guess: as much lies flat near the one end as near the other"
    )
    assert warning.endswith("if it is upside down, say --up -z")
    assert placed(empty_room(), up="+z").warnings == ()


def test_gltf_upside_down_is_left_so_and_said() -> None:
    room = with_shelves(box_room(ceiling=False))
    placement = placed(replace(room, points=(room.points * (1, -1, -1)) @ TO_FILE["+y"].T), ".glb")
    assert placement.up == "+y"
    assert placement.warnings == (
        "more of it lies flat near its ceiling than near its floor; if it is upside down, say --up -y",
    )


@pytest.mark.parametrize("up", ["+x", "-x", "+y", "-y", "+z", "-z"])
def test_up_as_it_is_given(up: UpAxis) -> None:
    axis = "xyz".index(up[1])
    placement = placed(box_room(), units="m", up=up)
    assert placement.reasons == ("as given", "as given")
    direction = (1.0 if up[0] == "+" else -1.0) * np.eye(3)[axis]
    np.testing.assert_allclose(placement.to_room[:3, :3] @ direction, [0, 0, 1])
    assert np.linalg.det(placement.to_room[:3, :3]) == pytest.approx(1)


def test_gltf_is_y_up_whatever_its_shape() -> None:
    placement = placed(box_room(), ".glb")
    assert placement.up == "+y"
    assert placement.reasons[1] == "as glTF specifies"


def test_a_million_strays_do_not_widen_the_bounds() -> None:
    cloud = as_cloud(box_room(), 60_000)
    strays = np.random.default_rng(1).uniform(-40, 40, (1_000_000, 3))
    points = np.concatenate([cloud.points, strays])
    noisy = Surface(points, cloud.faces, np.zeros((len(points), 3), np.uint8))
    placement = place(samples_of(noisy, np.random.default_rng(0), n=200_000), ".ply", "m", "+z")
    extent = placement.bounds[1] - placement.bounds[0]
    assert (extent > SIZE_M).all()
    assert (extent < np.array(SIZE_M) + 0.7).all()


def test_a_scan_that_is_no_room_says_what_to_do() -> None:
    room = box_room()
    flat = Surface(np.zeros((12, 3)), np.array([[0, 1, 2]], np.int32), np.zeros((12, 3), np.uint8))
    with pytest.raises(UserError, match=r"^got a scan whose faces have no area; expected a mesh of a room"):
        placed(flat)
    with pytest.raises(UserError, match=r"^got a scan whose points all lie in one place; expected a room"):
        placed(replace(flat, faces=np.zeros((0, 3), np.int32)))
    with pytest.raises(UserError, match=r"^got a scan that is 2.5e\+05 units high; .*say its unit by --units"):
        placed(replace(room, points=room.points * 1e5))
    with pytest.raises(UserError, match=r"^got a scan of 360 x 300 x 250 m; expected at most 120 m a side"):
        placed(replace(room, points=room.points * 100), units="m")
    for count in (1, 2, 9):
        few = np.random.default_rng(0).random((count, 3))
        with pytest.raises(UserError, match=rf"^got a cloud of {count} finite points; expected a room, 10 points at"):
            placed(Surface(few, np.zeros((0, 3), np.int32), np.zeros((count, 3), np.uint8)))
    apart = np.random.default_rng(0).uniform(-40, 40, (5000, 3))
    with pytest.raises(UserError, match=r"^got 5,000 points that lie too far apart for a surface"):
        placed(Surface(apart, np.zeros((0, 3), np.int32), np.zeros((5000, 3), np.uint8)), units="m")
