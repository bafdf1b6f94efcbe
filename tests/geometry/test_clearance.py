from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.geometry import raycast_torch
from roomseg.geometry.clearance import MAX_LEAP, clearance


def kings_moves(tsdf: np.ndarray) -> np.ndarray:
    """From each cell to the nearest one with a corner behind a surface, compared with all of them."""
    shape = np.array(tsdf.shape) - 1
    cells = np.stack(np.indices(shape), axis=-1).reshape(-1, 3)
    near = np.array([c for c in cells if (tsdf[c[0] : c[0] + 2, c[1] : c[1] + 2, c[2] : c[2] + 2] < 0).any()])
    if not len(near):
        return np.full(shape, MAX_LEAP)
    return np.abs(cells[:, None] - near).max(-1).min(1).reshape(shape)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.003, 0.05]), st.booleans())
def test_distance_to_the_nearest_surface_cell(seed: int, share: float, as_float: bool) -> None:
    rng = np.random.default_rng(seed)
    tsdf = np.where(rng.random(rng.integers(2, 13, 3)) < share, -40, 127).astype(np.int8)
    given_tsdf = tsdf.astype(np.float32) / 127 if as_float else tsdf
    expected = kings_moves(tsdf)
    np.testing.assert_array_equal(clearance(given_tsdf), expected)
    found = raycast_torch.clearance(torch.from_numpy(given_tsdf))
    np.testing.assert_array_equal(found.numpy(), np.minimum(expected, raycast_torch.MAX_LEAP))


def test_far_from_everything() -> None:
    tsdf = np.full((600, 2, 2), 127, np.int8)
    tsdf[0] = -1
    assert clearance(tsdf)[:, 0, 0].tolist() == [min(i, MAX_LEAP) for i in range(599)]
