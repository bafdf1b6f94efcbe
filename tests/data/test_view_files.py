from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.data.view_files import pack_floats, pack_hits, unpack_floats, unpack_hits
from roomseg.geometry.projection import panorama_hits


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    height=st.integers(1, 9),
    miss_share=st.sampled_from([0.0, 0.3, 1.0]),
    sizes=st.tuples(st.integers(1, 600), st.integers(1, 40), st.integers(1, 300)),
)
def test_any_hit_map_comes_back(seed: int, height: int, miss_share: float, sizes: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(seed)
    voxel = rng.integers(0, np.prod(sizes), (height, 2 * height)).astype(np.int32)
    voxel[rng.random(voxel.shape) < miss_share] = -1
    back, header = unpack_hits(pack_hits(voxel, sizes, {"room": "r1", "view": 2}))
    np.testing.assert_array_equal(back, voxel)
    assert back.dtype == np.int32
    assert (header["room"], header["view"], tuple(header["sizes"])) == ("r1", 2, sizes)


def test_floats_come_back_bit_by_bit() -> None:
    values = np.random.default_rng(0).normal(size=(30, 4, 8)).astype(np.float16)
    values[0, 0, :3] = np.nan, -0.0, np.inf
    back, header = unpack_floats(pack_floats(values, {"view": 0}))
    assert back.tobytes() == values.tobytes()
    assert (back.shape, header["view"]) == (values.shape, 0)


def test_a_room_and_viewpoint_take_less_than_they_may() -> None:
    """A furnished box of 6 x 5 x 3 m, with a panorama as large as the paper's and logits that do not compress."""
    grid = np.stack(np.meshgrid(*map(np.arange, (160, 135, 85)), indexing="ij"), axis=-1)
    distance = np.minimum(grid - 5.3, np.array([154, 129, 79]) - 0.3 - grid).min(-1)
    rng = np.random.default_rng(0)
    for _ in range(20):
        low = rng.uniform(5, [130, 105, 30])
        high = low + rng.uniform(4, 25, 3)
        distance = np.minimum(distance, np.maximum(low - grid, grid - high).max(-1))
    tsdf = np.clip(np.round(distance / 5 * 127), -127, 127).astype(np.int8)
    hits = panorama_hits(tsdf, np.array([80.2, 67.7, 62.0]), 512)
    logits = rng.normal(size=(30, 32, 64)).astype(np.float16)
    map_bytes, logit_bytes = len(pack_hits(hits.voxel, tsdf.shape, {})), len(pack_floats(logits, {}))
    assert hits.hit_rate > 0.99
    assert map_bytes < 190_000
    assert map_bytes + logit_bytes < 400_000


@pytest.mark.parametrize("damage", ["cut", "flipped", "other", "empty"])
def test_damaged_bytes_are_refused(damage: str) -> None:
    rng = np.random.default_rng(1)
    data = bytearray(pack_hits(rng.integers(0, 60, (32, 64)).astype(np.int32), (3, 4, 5), {}))
    data[40] ^= 255
    bad = {"cut": bytes(data[:-9]), "flipped": bytes(data), "other": pack_floats(np.zeros(3), {}), "empty": b""}
    with pytest.raises(ValueError, match="view's file"):
        unpack_hits(bad[damage])
