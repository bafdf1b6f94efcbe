from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.errors import UserError
from roomseg.geometry.mesh import TriangleMesh, plain_mesh
from roomseg.scenes.front3d.floor import CELL_M, FloorGrid, _cover, _distances, _extent, floor_grid


def rectangle(x0: float, y0: float, x1: float, y1: float, z: float = 0) -> TriangleMesh:
    return plain_mesh(
        np.array([[x0, y0, z], [x1, y0, z], [x1, y1, z], [x0, y1, z]]), np.array([[0, 1, 2], [0, 2, 3]]), 20, (0, 0, 0)
    )


def upright(x0: float, y0: float, x1: float, y1: float, low: float, high: float) -> TriangleMesh:
    corners = np.array([[x0, y0, low], [x1, y1, low], [x1, y1, high], [x0, y0, high]])
    return plain_mesh(corners, np.array([[0, 1, 2], [0, 2, 3]]), 17, (0, 0, 0))


L_SHAPE = [rectangle(0, 0, 4, 2), rectangle(0, 2, 2, 4)]
CEILING = rectangle(0, 0, 4, 4, 2.6)


def l_room(*more: TriangleMesh) -> FloorGrid:
    return floor_grid(L_SHAPE, [CEILING, *more])


def test_area_bounds_and_ceiling() -> None:
    grid = l_room()
    assert grid.area_m2 == pytest.approx(12)
    np.testing.assert_allclose(grid.bounds, [[0, 0], [4, 4]])
    assert grid.covered_share == 1
    assert floor_grid(L_SHAPE, [rectangle(0, 0, 4, 2, 2.6)]).covered_share == pytest.approx(8 / 12, abs=0.03)
    assert floor_grid(L_SHAPE, []).covered_share == 0


@pytest.mark.parametrize(
    ("point", "clearance_m", "clear"),
    [
        ((1, 1, 1.5), 0.9, True),
        ((1, 1, 1.5), 1.05, False),  # 1 m from two walls
        ((3, 3, 1.5), 0.0, False),  # outside the L
        ((-1, 1, 1.5), 0.0, False),  # outside the grid
        ((900, 1, 1.5), 0.0, False),
        ((1, 1, 0.1), 0.2, False),  # near the floor
        ((1, 1, 2.5), 0.2, False),  # near the ceiling
        ((1, 1, 2.3), 0.2, True),
        ((2.2, 1.7, 1.5), 0.2, True),  # beside the inner corner
        ((2.2, 1.95, 1.5), 0.2, False),
    ],
)
def test_what_is_clear(point: tuple[float, ...], clearance_m: float, clear: bool) -> None:
    assert l_room().is_clear(np.array([point]), clearance_m).tolist() == [clear]


def test_what_stands_blocks_and_what_hangs_lowers() -> None:
    pillar = [
        upright(1, 1, 1.4, 1, 0, 2.6),
        upright(1, 1.4, 1.4, 1.4, 0, 2.6),
        rectangle(1, 1, 1.4, 1.4, 2.6),
        rectangle(1, 1, 1.4, 1.4),
    ]
    whole = TriangleMesh(
        np.concatenate([m.vertices for m in pillar]),
        np.concatenate([m.faces + 4 * k for k, m in enumerate(pillar)]),
        *(
            np.concatenate([getattr(m, name) for m in pillar])
            for name in ("face_label", "face_color", "face_texture", "uv")
        ),
    )
    grid = l_room(whole, rectangle(3, 0, 3.2, 2, 2.2), upright(0, 0.5, 4, 0.5, 0, 0.1))
    inside, beside, under_beam = (1.2, 1.2, 1.5), (1.7, 1.2, 1.5), (3.1, 1, 1.5)
    assert grid.is_clear(np.array([inside, beside, under_beam]), 0.2).tolist() == [False, True, True]
    assert grid.is_clear(np.array([(3.1, 1, 2.1), (2.5, 1, 2.1)]), 0.2).tolist() == [False, True]
    assert grid.is_clear(np.array([(2, 0.5, 1.5)]), 0.2).tolist() == [True]  # a baseboard's height is no obstacle
    assert grid.ray_m((0.5, 1.2), (1, 0)) == pytest.approx(0.5, abs=CELL_M)


def test_rays_end_at_the_walls() -> None:
    grid = l_room()
    assert grid.ray_m((1, 1), (1, 0)) == pytest.approx(3, abs=CELL_M)
    assert grid.ray_m((1, 3), (1, 0)) == pytest.approx(1, abs=CELL_M)
    assert grid.ray_m((1, 1), (-math.sqrt(0.5), -math.sqrt(0.5))) == pytest.approx(math.sqrt(2), abs=2 * CELL_M)
    assert grid.ray_m((3, 3), (1, 0)) == 0
    assert grid.ray_m((90, 3), (1, 0)) == 0


def test_distance_from_the_floor() -> None:
    grid = l_room()
    assert grid.distance_m(1, 1) == 0
    assert grid.distance_m(4.3, 1) == pytest.approx(0.3)
    assert grid.distance_m(3, 3) == pytest.approx(1)
    assert grid.distance_m(5, -1) == pytest.approx(math.sqrt(2))


def test_an_absurd_floor_is_told() -> None:
    with pytest.raises(UserError, match="its floor is 61 x 2 m; expected 60 m a side at most"):
        floor_grid([rectangle(0, 0, 61, 2)], [])
    with pytest.raises(UserError, match="its floor is nan x 2 m; expected 60 m a side at most"):
        floor_grid([rectangle(0, 0, math.nan, 2)], [])


COORDINATE = st.floats(0.5, 9.5).map(lambda number: round(number, 2))
TRIANGLE = st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=3)


@settings(max_examples=60, deadline=None)
@given(TRIANGLE)
def test_cells_of_a_triangle_agree_with_half_planes(corners: list[tuple[float, float]]) -> None:
    inside = np.zeros((10, 10), bool)
    _cover(np.array([corners]), inside)
    for i in range(10):
        for j in range(10):
            sides = []
            for k in range(3):
                (x0, y0), (x1, y1) = corners[k], corners[(k + 1) % 3]
                sides.append((x1 - x0) * (j + 0.5 - y0) - (y1 - y0) * (i + 0.5 - x0))
            if min(abs(side) for side in sides) > 1e-6:
                assert inside[i, j] == (len({side > 0 for side in sides}) == 1)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(COORDINATE, COORDINATE, COORDINATE), min_size=3, max_size=3))
def test_the_extent_holds_every_point_of_a_triangle(corners: list[tuple[float, ...]]) -> None:
    """To half a cell: in the cell of a point or one that near, and to what z changes on the way."""
    lowest, highest = np.full((11, 11), np.inf, np.float32), np.full((11, 11), -np.inf, np.float32)
    _extent(np.array([corners]), lowest, highest)
    spread = np.ptp(np.array(corners)[:, 2]) / 2
    for x, y, z in np.random.default_rng(1).dirichlet([1, 1, 1], 200) @ np.array(corners):
        near = (slice(int(x - 0.5), int(x + 0.5) + 1), slice(int(y - 0.5), int(y + 0.5) + 1))
        assert lowest[near].min() - spread - 1e-4 <= z <= highest[near].max() + spread + 1e-4
    seen = np.isfinite(lowest)
    assert lowest[seen].min() == pytest.approx(min(corner[2] for corner in corners))
    assert highest[seen].max() == pytest.approx(max(corner[2] for corner in corners))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 6)), min_size=1, max_size=12))
def test_distances_agree_with_all_pairs(cells: list[tuple[int, int]]) -> None:
    blocked, out = np.zeros((9, 7), bool), np.empty((9, 7), np.float32)
    blocked[tuple(np.array(cells).T)] = True
    _distances(blocked, out)
    expected = [[min(math.dist((i, j), cell) for cell in cells) for j in range(7)] for i in range(9)]
    np.testing.assert_allclose(out, expected, rtol=1e-6)
