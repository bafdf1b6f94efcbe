"""Polygons as triangles: they cover the polygon once, whatever its form."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.scenes import polygons
from roomseg.scenes.polygons import signed_area, triangulated

FRAME = [(-4, 0), (-4, 10), (4, 10), (4, 0), (5, 0), (5, 11), (-5, 11), (-5, 0)]  # round an opening, like a door's


def areas(triangles: np.ndarray, points: np.ndarray) -> np.ndarray:  # signed, in x and y
    a, b, c = (points[triangles[:, i]] for i in range(3))
    return np.cross(b - a, c - a)[:, 2] / 2


def lifted(flat: list[tuple[float, float]]) -> np.ndarray:
    return np.array([(x, y, 0.5 * x - y) for x, y in flat], float)


def covers(triangles: np.ndarray, points: np.ndarray, x: float, y: float) -> int:
    """How many of the triangles have the point inside."""
    count = 0
    for triangle in triangles:
        corners = points[triangle][:, :2]
        sides = [
            np.cross(np.append(q - p, 0), (x - p[0], y - p[1], 0))[2]
            for p, q in zip(corners, np.roll(corners, -1, 0), strict=True)
        ]
        count += min(sides) > 0 or max(sides) < 0
    return count


def test_a_frame_leaves_its_opening_free() -> None:
    points = lifted(FRAME)
    triangles, polygon = triangulated(np.array([8]), points)
    assert polygon.tolist() == [0] * 6
    assert np.abs(areas(triangles, points)).sum() == 10 * 11 - 8 * 10
    assert covers(triangles, points, 0, 5) == 0
    assert covers(triangles, points, 4.5, 5.1) == covers(triangles, points, -4.5, 5.1) == 1
    assert covers(triangles, points, 0.1, 10.4) == 1
    assert (areas(triangles, points) < 0).all() or (areas(triangles, points) > 0).all()


def test_polygons_of_every_kind_after_another() -> None:
    triangle, square, dart = (
        [(0, 0), (1, 0), (0, 1)],
        [(0, 0), (1, 0), (1, 1), (0, 1)],
        [(0, 1), (1, 0), (0, 3), (-1, 0)],
    )
    points = np.concatenate(
        [lifted(each) for each in (triangle, dart, FRAME, square)]
    )  # the dart's fan would cover its notch
    triangles, polygon = triangulated(np.array([3, 4, 8, 4]), points)
    assert polygon.tolist() == [0, 1, 1, *[2] * 6, 3, 3]
    sums = [np.abs(areas(triangles, points))[polygon == n].sum() for n in range(4)]
    np.testing.assert_allclose(sums, (0.5, 2, 30, 1))
    assert triangles[-2:].tolist() == [[15, 16, 17], [15, 17, 18]]  # convex ones stay fans
    assert [set(triangles[polygon == n].ravel().tolist()) for n in range(4)] == [
        set(range(3)), set(range(3, 7)), set(range(7, 15)), set(range(15, 19))
    ]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(0.2, 3), min_size=3, max_size=14),
    st.integers(0, 13),
    st.booleans(),
)
def test_stars_are_covered_once(radii: list[float], first: int, clockwise: bool) -> None:
    """Star-shaped polygons from any corner, both ways round: no triangle is turned over, and the areas add up."""
    n = len(radii)
    flat = [(r * math.cos(2 * math.pi * k / n), r * math.sin(2 * math.pi * k / n)) for k, r in enumerate(radii)]
    flat = flat[first % n :] + flat[: first % n]
    if clockwise:
        flat.reverse()
    points = lifted(flat)
    x, y = points[:, 0], points[:, 1]
    whole = 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))
    parts = areas(triangulated(np.array([n]), points)[0], points)
    assert (parts * np.sign(whole) > -1e-5 * abs(whole)).all()
    np.testing.assert_allclose(parts.sum(), whole, rtol=1e-9)


def test_polygons_that_are_none_still_end(monkeypatch) -> None:
    crossing = lifted([(0, 0), (2, 2), (2, 0), (0, 2), (1, 5), (1, -3)])
    assert triangulated(np.array([6]), crossing)[0].shape == (4, 3)
    nothing = np.zeros((5, 3))
    assert triangulated(np.array([5]), nothing)[0].tolist() == [[0, 1, 2], [0, 2, 3], [0, 3, 4]]
    monkeypatch.setattr(polygons, "MAX_CORNERS", 6)
    assert triangulated(np.array([8]), lifted(FRAME))[0][:, 0].tolist() == [0] * 6  # too many corners: a fan


def test_the_area_of_a_flat_polygon_has_the_sign_of_its_sense() -> None:
    frame = np.array(FRAME, float)
    assert signed_area(frame) == -signed_area(frame[::-1]) == 10 * 11 - 8 * 10
    assert signed_area(np.zeros((0, 2))) == 0
