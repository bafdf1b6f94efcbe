from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from roomseg.geometry.equirect import directions
from roomseg.geometry.projection import panorama_hits
from roomseg.geometry.symmetries import Symmetry

ALL = tuple(Symmetry(turns, mirrored) for mirrored in (False, True) for turns in range(4))
SIZES = st.tuples(*[st.integers(1, 7)] * 3)
SYMMETRIES = st.sampled_from(ALL)


def test_by_hand() -> None:
    plan = np.array([["a", "b"], ["c", "d"], ["e", "f"]])[..., None]  # X = 3, Y = 2
    assert Symmetry(turns=1).volume(plan)[..., 0].tolist() == [["b", "d", "f"], ["a", "c", "e"]]
    assert Symmetry(mirrored=True).volume(plan)[..., 0].tolist() == [["e", "f"], ["c", "d"], ["a", "b"]]
    assert Symmetry(1).point(np.array([2.0, 0.5, 0.0]), (3, 2, 1)).tolist() == [0.5, 2.0, 0.0]
    assert len(ALL) == len(
        {symmetry.volume(plan).tobytes() + str(symmetry.shape((3, 2, 1))).encode() for symmetry in ALL}
    )


@given(SYMMETRIES, SIZES)
def test_a_voxel_is_found_where_its_value_is(symmetry: Symmetry, sizes: tuple[int, int, int]) -> None:
    volume = np.arange(np.prod(sizes)).reshape(sizes)
    moved = symmetry.volume(volume)
    assert moved.shape == symmetry.shape(sizes)
    index = np.append(np.arange(volume.size, dtype=np.int32), np.int32(-1))
    places = symmetry.places(index, sizes)
    assert places.dtype == np.int32
    assert places[-1] == -1
    np.testing.assert_array_equal(moved.reshape(-1)[places[:-1]], volume.reshape(-1))


@pytest.mark.parametrize("symmetry", ALL)
def test_pixels_turn_as_their_directions_do(symmetry: Symmetry) -> None:
    rays = directions(32)
    moved = symmetry.point(rays, (1, 1, 1))  # of one voxel, so that its middle stays
    np.testing.assert_allclose(symmetry.panorama(moved), rays, atol=1e-6)


def lumpy_room(rng: np.random.Generator, sizes: tuple[int, int, int]) -> np.ndarray:  # (X, Y, Z) int8
    """Walls all round and a few boxes, as a projective TSDF truncated at 3 voxels."""
    grid = np.stack(np.meshgrid(*map(np.arange, sizes), indexing="ij"), axis=-1).astype(np.float64)
    far = np.array(sizes) - 1
    distance = np.minimum(grid - 5.3, far - 5.3 - grid).min(-1)
    for _ in range(3):
        low = rng.uniform(6, far - 12)
        high = low + rng.uniform(2, 6, 3)
        distance = np.minimum(distance, np.maximum(low - grid, grid - high).max(-1))
    return np.clip(np.round(distance / 3 * 127), -127, 127).astype(np.int8)


def gap_voxels(points: np.ndarray, places: np.ndarray, sizes: tuple[int, int, int]) -> np.ndarray:
    """From each point (N, 3) to the voxel with its flat index (N,), as (N,)."""
    return np.linalg.norm(points - np.stack(np.unravel_index(places, sizes), axis=-1), axis=-1)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), SYMMETRIES)
@example(97, Symmetry(turns=1))  # with a side half-way between two voxels: a tenth of the pixels may go to either
def test_the_hit_map_of_a_moved_room(seed: int, symmetry: Symmetry) -> None:
    rng = np.random.default_rng(seed)
    sizes = (30, 37, 24)
    tsdf = lumpy_room(rng, sizes)
    camera = np.array(sizes) / 2 + rng.uniform(-2, 2, 3)
    if tsdf[tuple(camera.round().astype(int))] <= 0:
        return
    hits = panorama_hits(tsdf, camera, 32)
    moved_camera, moved_sizes = symmetry.point(camera, sizes), symmetry.shape(sizes)
    moved = panorama_hits(np.ascontiguousarray(symmetry.volume(tsdf)), moved_camera, 32)
    expected = symmetry.panorama(symmetry.places(hits.voxel, sizes))
    assert hits.hit_rate > 0.99
    np.testing.assert_allclose(moved.depth_voxels, symmetry.panorama(hits.depth_voxels), rtol=0, atol=1e-3)
    np.testing.assert_array_equal(moved.voxel < 0, expected < 0)
    other = (moved.voxel != expected) & (expected >= 0)
    seen = moved.positions(moved_camera)[other]
    mine, theirs = (gap_voxels(seen, voxel[other], moved_sizes) for voxel in (moved.voxel, expected))
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-3)  # only a point half-way between voxels goes to another
