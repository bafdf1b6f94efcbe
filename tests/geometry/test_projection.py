"""Hits against the analytic distance in a room, and against a dense march through the same trilinear volume."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.errors import UserError
from roomseg.geometry.equirect import directions, pixel_of
from roomseg.geometry.projection import HitMap, panorama_hits

VOXEL_M, TRUNCATION, MARGIN = 0.05, 5, 5
ROOM_M = np.array([3.2, 2.7, 2.4])
HEIGHT = 64
CAMERA_VOXEL = np.array([1.33, 1.41, 1.45]) / VOXEL_M + MARGIN


def distance_to_box(p: np.ndarray, low: list[float], high: list[float]) -> np.ndarray:
    """Signed, + outside."""
    q = np.maximum(np.array(low) - p, p - np.array(high))
    return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(axis=-1), 0)


def room_distance(p: np.ndarray) -> np.ndarray:  # (..., 3) metres -> (...) metres, + in free space
    """A room with a cupboard, a thin table top of 1.2 voxels and a pillar."""
    walls = -distance_to_box(p, [0, 0, 0], list(ROOM_M))
    cupboard = distance_to_box(p, [2.2, 0.0, 0.0], [3.2, 0.6, 1.7])
    table_top = distance_to_box(p, [0.3, 1.9, 0.70], [1.9, 2.5, 0.76])
    pillar = np.hypot(p[..., 0] - 2.4, p[..., 1] - 1.9) - 0.25
    return np.minimum.reduce([walls, cupboard, table_top, pillar])


@pytest.fixture(scope="module")
def room() -> np.ndarray:  # (X, Y, Z) float32
    shape = np.rint(ROOM_M / VOXEL_M).astype(int) + 1 + 2 * MARGIN
    points = (np.stack(np.indices(shape), axis=-1) - MARGIN) * VOXEL_M
    tsdf = room_distance(points) / (TRUNCATION * VOXEL_M)
    return np.where(tsdf < -1, 1, np.clip(tsdf, -1, 1)).astype(np.float32)  # deep behind is unseen


def trilinear(volume: np.ndarray, p: np.ndarray) -> np.ndarray:  # (X, Y, Z), (N, 3) -> (N,)
    cell = np.clip(np.floor(p).astype(int), 0, np.array(volume.shape) - 2)
    s = p - cell
    total = np.zeros(len(p))
    for corner in np.ndindex(2, 2, 2):
        weight = np.where(corner, s, 1 - s).prod(axis=1)
        total += weight * volume[tuple((cell + corner).T)]
    return total


def dense_march(
    volume: np.ndarray, camera: np.ndarray, rays: np.ndarray, step: float
) -> np.ndarray:  # (N,) voxels, inf
    depth, before = np.full(len(rays), np.inf), np.full(len(rays), -1.0)
    for t in np.arange(0, np.linalg.norm(volume.shape), step):
        p = camera + t * rays
        inside = ((p >= 0) & (p <= np.array(volume.shape) - 1)).all(axis=1)
        value = np.where(inside, trilinear(volume, p), -1.0)
        hit = inside & (before >= 0) & (value < 0) & np.isinf(depth)
        depth[hit] = t - step * value[hit] / (value - before)[hit]
        before = value
    return depth


def analytic_depth(rays: np.ndarray) -> np.ndarray:  # (N, 3) -> (N,) metres, by sphere tracing the exact distance
    eye, depth = (CAMERA_VOXEL - MARGIN) * VOXEL_M, np.zeros(len(rays))
    for _ in range(400):
        depth += np.maximum(room_distance(eye + depth[:, None] * rays), 1e-7)
    return depth


def test_hits_lie_on_the_surfaces_of_the_room(room: np.ndarray) -> None:
    hits = panorama_hits(room, CAMERA_VOXEL, HEIGHT)
    assert hits.hit_rate > 0.99
    rays = directions(HEIGHT).reshape(-1, 3).astype(np.float64)
    depth = analytic_depth(rays)
    nudged = [
        analytic_depth(rays + offset) for offset in ([0, 0, 0.03], [0, 0, -0.03], [0.03, -0.03, 0], [-0.03, 0.03, 0])
    ]
    smooth = np.ptp([depth, *nudged], axis=0) < 0.15 + 0.1 * depth
    error = np.abs(hits.depth_voxels.ravel() - depth / VOXEL_M)[smooth]
    assert smooth.mean() > 0.7
    assert np.median(error) < 0.1
    assert (error < 0.5).mean() > 0.995


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_hits_equal_a_dense_march(room: np.ndarray, dtype: str) -> None:
    volume = np.rint(room * 127).astype(np.int8) if dtype == "int8" else room
    height = 24
    hits = panorama_hits(volume, CAMERA_VOXEL, height)
    rays = directions(height).reshape(-1, 3).astype(np.float64)
    expected = dense_march(volume / (127.0 if dtype == "int8" else 1.0), CAMERA_VOXEL, rays, step=0.02)
    found = hits.voxel.ravel() >= 0
    assert (found == np.isfinite(expected)).mean() > 0.999
    both = found & np.isfinite(expected)
    error = np.abs(hits.depth_voxels.ravel() - expected)[both]
    assert np.median(error) < 1e-3
    assert (error < 0.05).mean() > 0.999


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_rough_volumes_as_a_dense_march(seed: int, outside: bool) -> None:
    rng = np.random.default_rng(seed)
    volume = np.where(rng.random((9, 7, 8)) < 0.08, rng.uniform(-1, 0.9, (9, 7, 8)), 1).astype(np.float32)
    camera = rng.uniform(-3, -1, 3) if outside else rng.uniform(1, 5, 3)
    hits = panorama_hits(volume, camera, 10)
    expected = dense_march(volume, camera, directions(10).reshape(-1, 3).astype(np.float64), step=0.01)
    found = hits.voxel.ravel() >= 0
    same = (found == np.isfinite(expected)) & (~found | (np.abs(hits.depth_voxels.ravel() - expected) < 0.02))
    assert same.mean() > 0.97  # the rest: grazed corners, and a first sample on the border of the volume


def test_the_voxel_is_the_nearest_one_inside_the_band(room: np.ndarray) -> None:
    hits = panorama_hits(room, CAMERA_VOXEL, HEIGHT)
    seen = hits.voxel >= 0
    assert (room.ravel()[hits.voxel[seen]] < 1).all()
    voxel = np.stack(np.unravel_index(hits.voxel[seen], room.shape), axis=-1)
    offset = np.linalg.norm(voxel - hits.positions(CAMERA_VOXEL)[seen], axis=-1)
    assert offset.max() <= np.sqrt(3) / 2 + 1e-3


def test_an_empty_nearest_voxel_is_passed_over() -> None:
    """In a corner of a solid the ray along (1, 1, 1) crosses 0.22 voxels behind the empty corner of its cell."""
    volume = np.full((8, 8, 8), -0.9, np.float32)
    volume[:4, :4, :4] = 1
    height = 64
    row, col = pixel_of(np.array([1.0, 1.0, 1.0]), height)
    hits = panorama_hits(volume, np.array([1.0, 1.0, 1.0]), height)
    step = 1 - (0.9 / 1.9) ** (1 / 3)  # (1 - s)^3 1.9 - 0.9 = 0
    assert hits.depth_voxels[row, col] == pytest.approx(np.sqrt(3) * (2 + step), abs=0.02)
    voxel = np.unravel_index(hits.voxel[row, col], volume.shape)
    assert sorted(voxel) == [3, 3, 4]
    assert volume[voxel] < 1


def test_a_sheet_of_one_voxel_is_never_stepped_over() -> None:
    volume = np.ones((40, 40, 40), np.float32)
    volume[:, :, 3] = -0.02  # values around it say "empty": a step of the truncation would jump over it
    hits = panorama_hits(volume, np.array([20.0, 20.0, 38.0]), 64)
    down = directions(64)[..., 2] < -0.92  # rays that meet the sheet inside the volume
    assert (hits.voxel[down] >= 0).all()
    assert (hits.voxel[directions(64)[..., 2] > 0] == -1).all()


def test_misses_and_a_start_behind_a_surface() -> None:
    empty = panorama_hits(np.full((5, 6, 7), 127, np.int8), np.array([2.0, 2, 2]), 8)
    assert empty.hit_rate == 0
    assert not empty.depth_voxels.any()
    away = panorama_hits(np.full((5, 6, 7), -127, np.int8), np.array([50.0, 50, 50]), 8)
    assert away.hit_rate == 0
    behind = panorama_hits(np.full((5, 6, 7), -127, np.int8), np.array([2.0, 2, 2]), 8)
    assert behind.hit_rate == 0  # no change from + to -


def test_hit_rate_is_the_share_of_pixels() -> None:
    hits = HitMap(np.array([[3, -1, 0, -1]], np.int32), np.zeros((1, 4), np.float32))
    assert hits.hit_rate == 0.5


@pytest.mark.parametrize("volume", [np.zeros((4, 4)), np.zeros((4, 4, 4), np.int32), np.zeros((4, 1, 4), np.int8)])
def test_what_is_no_tsdf_is_refused(volume: np.ndarray) -> None:
    with pytest.raises(UserError, match="got a TSDF"):
        panorama_hits(volume, np.zeros(3), 8)
