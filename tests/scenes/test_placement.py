"""Boxes that must not meet, and the search for free places."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.geometry.mesh import join_meshes, plain_mesh
from roomseg.scenes.boxes import Box, penetration_m
from roomseg.scenes.floorplan import FloorPlan
from roomseg.scenes.furnisher import covered
from roomseg.scenes.furniture import FurnitureItem
from roomseg.scenes.groups import chairs_round
from roomseg.scenes.layout import (
    MAX_OBJECTS,
    Layout,
    Member,
    PlacedObject,
    corner_candidates,
    member_box,
    placed_mesh,
    standing,
    stretched,
    wall_candidates,
)
from roomseg.scenes.surfaces import Finish
from tests.scenes.cuboids import cuboid

PLAN = FloorPlan(np.array([(0, 0), (4, 0), (4, 3), (0, 3)], np.float64))


def item(width=1.0, depth=0.5, height=0.8, kind="cabinet"):
    return FurnitureItem(
        name=f"test/{kind}-{width}x{depth}x{height}",
        kind=kind,
        label=2,
        size_m=(width, depth, height),
        elevation_m=0.0,
        creator="test",
        licence="test",
        library="test",
        load=lambda: cuboid(Box((0, 0), (width, depth), 0.0, height), 2, Finish((9, 9, 9))),
    )


def sampled_overlap(a, b):
    """Slow reference: whether any of many points of one box is inside the other."""
    grid = np.stack(np.meshgrid(*[np.linspace(-0.5, 0.5, 15)] * 2), axis=-1).reshape(-1, 2)
    points = []
    for box in (a, b):
        points += [(*box.at(x * box.size_m[0], y * box.size_m[1]), 0.5) for x, y in grid]
    points = np.array(points)
    return bool(((a.distance(points) == 0) & (b.distance(points) == 0)).any())


box = st.builds(
    lambda x, y, w, d, yaw: Box((x, y), (w, d), 0.0, 1.0, yaw),
    st.floats(-1, 1),
    st.floats(-1, 1),
    st.floats(0.2, 2),
    st.floats(0.2, 2),
    st.floats(-4, 4),
)


@settings(max_examples=200, deadline=None)
@given(a=box, b=box)
def test_penetration_agrees_with_sampling(a, b):
    depth = penetration_m(a, b)
    assert max(depth, 0) == pytest.approx(max(penetration_m(b, a), 0))
    if sampled_overlap(a, b):
        assert depth >= -1e-9
    if depth > 0.4:  # deep enough for the samples to see it
        assert sampled_overlap(a, b)


def test_penetration_by_hand():
    a = Box((0.0, 0.0), (2.0, 1.0), 0.0, 1.0)
    assert penetration_m(a, Box((1.4, 0.0), (1.0, 1.0), 0.0, 1.0)) == pytest.approx(0.1)
    assert penetration_m(a, Box((0.0, 0.0), (0.5, 0.5), 1.0, 2.0)) == 0  # stands on it
    assert penetration_m(a, Box((0.0, 0.0), (0.5, 0.5), 0.98, 2.0)) == pytest.approx(0.02)
    diagonal = Box((1.3, 0.8), (1.0, 0.2), 0.0, 1.0, -np.pi / 4)  # bounding rectangles meet, the boxes do not
    assert penetration_m(a, diagonal) <= 0


def test_distance_by_hand():
    turned = Box((1.0, 1.0), (2.0, 1.0), 0.5, 1.0, np.pi / 2)  # x 0.5..1.5, y 0..2
    points = np.array([(1.0, 1.0, 0.7), (2.0, 1.0, 0.7), (1.8, 2.4, 0.7), (1.0, 1.0, 1.6), (1.0, -0.3, 0.1)])
    np.testing.assert_allclose(turned.distance(points), [0, 0.5, 0.5, 0.6, 0.5], atol=1e-12)


def test_nothing_is_placed_on_something_else_or_in_a_zone():
    layout = Layout(PLAN, 2.5)
    cabinet = item()
    assert layout.place(cabinet, [standing(cabinet, (1.0, 0.5), 0.0)]) is not None
    assert layout.place(cabinet, [standing(cabinet, (1.5, 0.5), 0.0)]) is None
    layout.zones.append(Box((3.0, 2.0), (1.0, 1.0), 0.0, 2.0))
    assert layout.place(cabinet, [standing(cabinet, (3.0, 2.0), 0.0)]) is None
    assert layout.place(cabinet, [standing(cabinet, (3.0, 2.0), 0.0)], may_use_zones=True) is not None
    assert layout.place(cabinet, [standing(cabinet, (1.0, 0.5), 0.0, 2.0)]) is None  # through the ceiling


def test_what_is_in_front_of_a_wardrobe_stays_free():
    layout = Layout(PLAN, 2.5)
    wardrobe, stool = item(), item(0.3, 0.3, 0.4)
    placed = layout.place(wardrobe, [standing(wardrobe, (1.0, 2.7), 0.0)], access_m=0.5)
    assert placed is not None
    assert layout.place(stool, [standing(stool, (1.0, 2.2), 0.0)]) is None
    assert layout.place(stool, [standing(stool, (1.0, 1.7), 0.0)]) is not None
    facing_the_wall = standing(wardrobe, (3.0, 2.7), np.pi)
    assert layout.place(wardrobe, [facing_the_wall], access_m=0.5) is None


@pytest.mark.parametrize("seed", range(5))
def test_along_walls_backs_are_to_the_wall(seed):
    rng = np.random.default_rng(seed)
    for candidate in [
        *wall_candidates(item(), PLAN.walls, rng, 20),
        *corner_candidates(item(), PLAN.walls, rng, 0.02),
    ]:
        assert PLAN.contains_box(candidate)
        back = np.array([candidate.at(0, 0.25)])
        assert PLAN.wall_distance(back)[0] == pytest.approx(0.02)
        ahead = np.array([candidate.at(0, -0.6)])
        assert PLAN.wall_distance(ahead)[0] > 0.5


def test_a_group_goes_where_most_of_its_members_fit():
    layout = Layout(PLAN, 2.5)
    bed, table = item(1.6, 2.0), item(0.5, 0.4)
    sides = [Member(table, 1.08, 0.8), Member(table, -1.08, 0.8)]
    in_corner, in_middle = standing(bed, (0.82, 1.98), 0.0), standing(bed, (2.0, 1.98), 0.0)
    group = layout.place_group(bed, [in_corner, in_middle], lambda _: sides)
    assert [placed.item for placed in group] == [bed, table, table]
    assert group[0].box == in_middle


def test_a_group_without_its_required_member_is_not_placed():
    layout = Layout(PLAN, 2.5)
    desk, chair = item(1.4, 0.7), item(0.5, 0.5)
    chair_in_wall = [Member(chair, 0.0, 0.7, required=True)]
    assert layout.place_group(desk, [standing(desk, (2.0, 2.6), 0.0)], lambda _: chair_in_wall) == []
    assert layout.place_group(desk, [standing(desk, (2.0, 2.6), 0.0)], lambda _: None) == []
    assert layout.placed == []


def test_a_full_room_takes_no_more():
    layout = Layout(FloorPlan(np.array([(0, 0), (40, 0), (40, 3), (0, 3)], np.float64)), 2.5)
    cabinet = item()
    for k in range(MAX_OBJECTS):
        assert layout.place(cabinet, [standing(cabinet, (1 + 1.1 * k, 1.0), 0.0)]) is not None
    assert layout.place(cabinet, [standing(cabinet, (35.0, 1.0), 0.0)]) is None
    assert layout.place_group(cabinet, [standing(cabinet, (35.0, 1.0), 0.0)], lambda _: []) == []


@pytest.mark.parametrize("yaw", [0.0, np.pi / 2, 2.0])
@pytest.mark.parametrize("size", [(1.6, 0.9), (0.8, 0.8), (2.2, 1.1)])
def test_chairs_face_their_table_and_do_not_meet_it(size, yaw):
    table = Box((1.0, 2.0), size, 0.0, 0.75, yaw)
    for seed in range(10):
        members = chairs_round(table, item(0.45, 0.5, 0.9, kind="chair"), np.random.default_rng(seed))
        assert 2 <= len(members) <= 6
        for chair in (member_box(table, member) for member in members):
            assert penetration_m(table, chair) <= 0
            nearest = np.clip(to_local(table, chair.center_m), -np.array(size) / 2, np.array(size) / 2)
            to_table = np.array(table.at(*nearest)) - chair.center_m
            assert np.dot(chair.front, to_table) / np.linalg.norm(to_table) > 0.9


def to_local(box, point):
    offset = np.subtract(point, box.center_m)
    cos, sin = np.cos(box.yaw_rad), np.sin(box.yaw_rad)
    return np.array([cos * offset[0] + sin * offset[1], cos * offset[1] - sin * offset[0]])


def test_a_placed_mesh_fills_its_box():
    shelf = item(1.0, 0.4, 2.0)
    box = stretched(standing(shelf, (2.0, 1.0), np.pi / 2, 0.3), high_m=2.5)
    bounds = placed_mesh(PlacedObject(shelf, box), shelf.load()).bounds
    np.testing.assert_allclose(bounds, [(1.8, 0.5, 0.3), (2.2, 1.5, 2.5)], atol=1e-6)


def test_a_placed_mesh_keeps_its_front():
    """A nose at the front (-Y) of the model ends up where the box says the front is."""
    nose = plain_mesh([(0, -0.5, 0), (0.1, -0.5, 0), (0, -0.5, 0.1)], [(0, 1, 2)], 8, (0, 0, 0))
    chair = item(1.0, 1.0, 1.0)
    for yaw in (0.0, np.pi / 2, 2.5):
        box = standing(chair, (1.0, 1.0), yaw)
        tip = placed_mesh(PlacedObject(chair, box), nose).vertices[0, :2]
        np.testing.assert_allclose(tip, np.array(box.center_m) + 0.5 * np.array(box.front), atol=1e-6)


def test_a_top_is_only_where_the_highest_surface_is():
    low, high = Box((0.0, 0.0), (1.0, 1.0), 0.0, 0.7), Box((-0.25, 0.0), (0.5, 1.0), 0.7, 1.0)
    desk = join_meshes([cuboid(box, 3, Finish((0, 0, 0))) for box in (low, high)])
    points = np.array([(-0.3, 0.2), (0.3, 0.2), (-0.6, 0.0)])
    assert covered(desk, 0.98, points).tolist() == [True, False, False]
    assert covered(desk, 0.5, points).tolist() == [True, True, False]
