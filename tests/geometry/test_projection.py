"""Hits against a dense march through the same trilinear volume, and their special cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.errors import UserError
from roomseg.geometry.equirect import directions
from roomseg.geometry.projection import HitMap, check_camera, panorama_hits
from tests.geometry.analytic_rooms import CAMERA_VOXEL, MARGIN, VOXEL_M, distance_to_box, furnished, sampled
from tests.geometry.projected import pixel_of

HEIGHT = 64


@pytest.fixture(scope="module")
def room() -> np.ndarray:  # (X, Y, Z) float32
    return sampled(furnished).astype(np.float32) / 127


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


@pytest.mark.parametrize(
    "volume",
    [np.zeros((4, 4)), np.zeros((4, 1, 4), np.int8), *(np.zeros((4, 4, 4), kind) for kind in (np.int32, np.float16))],
)
def test_what_is_no_tsdf_is_refused(volume: np.ndarray) -> None:
    with pytest.raises(UserError, match="got a TSDF"):
        panorama_hits(volume, np.zeros(3), 8)


def test_a_camera_without_a_place_is_refused(room: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"camera at voxel \(nan, 0.0, 0.0\); expected finite"):
        panorama_hits(room, np.array([np.nan, 0, 0]), 8)


@pytest.mark.parametrize("threads", [1, 2])
def test_hits_do_not_depend_on_threads(room: np.ndarray, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = panorama_hits(room, CAMERA_VOXEL, 41)  # not a multiple of a tile
    monkeypatch.setattr("numba.get_num_threads", lambda: threads)
    hits = panorama_hits(room, CAMERA_VOXEL, 41)
    np.testing.assert_array_equal(hits.voxel, expected.voxel)
    np.testing.assert_array_equal(hits.depth_voxels, expected.depth_voxels)


def big_cupboard(p: np.ndarray) -> np.ndarray:
    """One so deep that the fusion never fills its inside."""
    return np.minimum(-distance_to_box(p, [0, 0, 0], [3.2, 2.8, 2.4]), distance_to_box(p, [1.6, 0, 0], [3.2, 2.8, 1.9]))


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_cameras_in_furniture_or_outside_are_refused(dtype: str) -> None:
    volume = sampled(big_cupboard)
    volume = volume if dtype == "int8" else volume.astype(np.float32) / 127

    def at(*position_m: float) -> np.ndarray:
        return np.array(position_m) / VOXEL_M + MARGIN

    check_camera(volume, at(0.8, 1.4, 1.5))
    check_camera(volume, at(0.1, 1.4, 1.5))  # near a wall
    check_camera(volume, at(2.4, 1.4, 2.0))  # above the cupboard
    with pytest.raises(UserError, match=r"\(105\.0, 40\.0, 42\.5\) lies outside the volume of 91 x 81 x 71 voxels"):
        check_camera(volume, at(4.0, 1.4, 1.5))
    with pytest.raises(UserError, match=r"\(47\.5, 40\.0, 42\.5\) lies behind a surface: the TSDF is -0\.50 there"):
        check_camera(volume, at(1.7, 1.4, 1.5))
    with pytest.raises(UserError, match=r"\(65\.0, 40\.0, 27\.5\) lies inside something: 100% of its rays"):
        check_camera(volume, at(2.4, 1.4, 0.9))
    with pytest.raises(UserError, match="lies inside something"):
        check_camera(volume, np.array([0.5, 0.5, 0.5]))  # the corner of the margin
