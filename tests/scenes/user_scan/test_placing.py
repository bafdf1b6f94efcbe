from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.errors import UserError
from roomseg.geometry.surface import Surface
from roomseg.scenes.user_scan.placing import METRES, Placement, Unit, UpAxis, place
from roomseg.scenes.user_scan.samples import samples_of
from tests.scenes.user_scan.box import SIZE_M, as_cloud, box_room

TO_FILE = {"+z": np.eye(3), "+y": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])}  # +Z up to the file's axes


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
