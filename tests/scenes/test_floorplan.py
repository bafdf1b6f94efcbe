"""Outlines: simple rectilinear polygons, and what is inside them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.scenes.boxes import Box
from roomseg.scenes.floorplan import MIN_NOTCH_M, FloorPlan, draw_plan

L_SHAPE = FloorPlan(np.array([(0, 0), (4, 0), (4, 2), (2, 2), (2, 3), (0, 3)], np.float64))
shapes = st.sampled_from(["rectangle", "L", "alcoves"])
sides = st.floats(2.0, 8.0)
seeds = st.integers(0, 2**32 - 1)


@settings(max_examples=150, deadline=None)
@given(shape=shapes, width=sides, depth=sides, seed=seeds)
def test_every_outline_is_a_simple_counter_clockwise_rectilinear_polygon(shape, width, depth, seed):
    plan = draw_plan(shape, width, depth, np.random.default_rng(seed))
    steps = np.roll(plan.outline, -1, axis=0) - plan.outline
    assert ((np.abs(steps) > 1e-9).sum(axis=1) == 1).all()  # along x or y, never of no length
    horizontal = np.abs(steps[:, 0]) > 0
    assert (horizontal != np.roll(horizontal, 1)).all()  # in turn
    turns = steps[:, 0] * np.roll(steps, -1, axis=0)[:, 1] - steps[:, 1] * np.roll(steps, -1, axis=0)[:, 0]
    assert (turns > 0).sum() - (turns < 0).sum() == 4  # once round, counter-clockwise
    np.testing.assert_allclose(plan.bounds, (0, 0, width, depth))
    assert min(wall.length_m for wall in plan.walls) >= MIN_NOTCH_M - 1e-9
    covered = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in plan.rectangles)
    assert covered == pytest.approx(plan.area_m2)
    assert plan.area_m2 > 0.4 * width * depth


@settings(max_examples=60, deadline=None)
@given(shape=shapes, seed=seeds)
def test_inside_agrees_with_the_winding_number(shape, seed):
    rng = np.random.default_rng(seed)
    plan = draw_plan(shape, 5.0, 6.0, rng)
    points = rng.uniform(-1, 7, (200, 2))
    to_corner = plan.outline[None] - points[:, None]  # (200, n, 2)
    angle = np.arctan2(to_corner[..., 1], to_corner[..., 0])
    turn = (np.roll(angle, -1, axis=1) - angle + np.pi) % (2 * np.pi) - np.pi
    np.testing.assert_array_equal(plan.contains(points), np.abs(turn.sum(axis=1)) > np.pi)


@pytest.mark.parametrize("seed", range(20))
def test_large_rooms_get_the_shape_that_was_asked_for(seed):
    rng = np.random.default_rng(seed)
    assert len(draw_plan("rectangle", 6, 5, rng).outline) == 4
    assert len(draw_plan("L", 6, 5, rng).outline) == 6
    assert len(draw_plan("alcoves", 6, 5, rng).outline) in (8, 10)


def test_walls_look_into_the_room():
    for wall in L_SHAPE.walls:
        inside = np.array([wall.at(wall.length_m / 2, 0.01), wall.at(wall.length_m / 2, -0.01)])
        assert L_SHAPE.contains(inside).tolist() == [True, False]


def test_an_object_at_a_wall_has_its_front_to_the_room():
    for wall in L_SHAPE.walls:
        box = wall.box((0.5, 1.0), (0.0, 0.2), (0.0, 1.0))
        np.testing.assert_allclose(box.front, wall.inward, atol=1e-12)
        assert L_SHAPE.contains_box(box)


def test_distances_by_hand():
    assert L_SHAPE.area_m2 == 10
    np.testing.assert_allclose(L_SHAPE.wall_distance(np.array([(1.0, 1.5), (2.5, 1.5), (1.9, 2.5)])), (1.0, 0.5, 0.1))
    assert L_SHAPE.ray_m((1.0, 1.0), (1.0, 0.0)) == pytest.approx(3.0)
    assert L_SHAPE.ray_m((1.0, 2.5), (1.0, 0.0)) == pytest.approx(1.0)  # stops at the wall that points in
    assert L_SHAPE.ray_m((3.0, 1.0), (-np.sqrt(0.5), np.sqrt(0.5))) == pytest.approx(np.sqrt(2))


def test_a_box_across_the_inner_corner_is_not_inside():
    assert not L_SHAPE.contains_box(Box((2.0, 2.0), (0.5, 0.5), 0.0, 1.0))  # all of its corners but one are inside
    assert L_SHAPE.contains_box(Box((1.7, 1.7), (0.5, 0.5), 0.0, 1.0))
    assert L_SHAPE.contains_box(Box((1.8, 1.8), (0.5, 0.5), 0.0, 1.0, np.pi / 4))  # 0.28 from the corner, half 0.25
    assert not L_SHAPE.contains_box(Box((1.85, 1.85), (0.5, 0.5), 0.0, 1.0, np.pi / 4))  # 0.21
    assert not L_SHAPE.contains_box(Box((0.2, 1.0), (0.5, 0.5), 0.0, 1.0))
