from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomseg.data.blocks import cut_block, grid_blocks, random_corner
from roomseg.data.rooms import Room, network_input


def room(shape: tuple[int, int, int]) -> Room:
    """No voxel of it is empty, and each has values of its own."""
    voxels = np.arange(np.prod(shape)).reshape(shape)
    rgb = np.stack([voxels % 251, voxels % 241, voxels % 239], -1).astype(np.uint8)
    tsdf, label = (voxels % 253 - 126).astype(np.int8), (voxels % 29 + 1).astype(np.uint8)
    return Room("room", "house", "train", np.zeros(3), 0.04, tsdf, rgb, label)


def test_grid_by_hand() -> None:
    assert grid_blocks((10, 4, 8), 4) == [(0, 0, 0), (0, 0, 4), (4, 0, 0), (4, 0, 4), (8, 0, 0), (8, 0, 4)]


@given(st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)), st.integers(1, 5))
def test_blocks_of_the_grid_hold_each_voxel_once(shape: tuple[int, int, int], block: int) -> None:
    whole = room(shape)
    cut = [cut_block(whole, corner, block) for corner in grid_blocks(shape, block)]
    values = np.concatenate([volume[:, volume[0] > -3] for volume, _ in cut], axis=1)
    wanted = network_input(whole).reshape(4, -1)
    np.testing.assert_array_equal(values[:, np.lexsort(values)], wanted[:, np.lexsort(wanted)])
    for block_volume, block_label in cut:
        assert block_volume.shape == (4, block, block, block)
        outside = block_volume[0] == -3
        assert (block_label[outside] == 0).all()
        assert (block_label[~outside] > 0).all()
        assert (block_volume[1:, outside] == -1).all()


def test_cut_by_hand() -> None:
    whole = room((3, 4, 5))
    block_volume, block_label = cut_block(whole, (2, 1, 3), 3)
    np.testing.assert_array_equal(block_volume[:, 0, :, :2], network_input(whole)[:, 2, 1:4, 3:5])
    np.testing.assert_array_equal(block_label[0, :, :2], whole.label[2, 1:4, 3:5])
    assert (block_volume[0, 1:] == -3).all()
    assert (block_label[:, :, 2] == 0).all()


@pytest.mark.parametrize("block", [4, 16])
def test_random_blocks_hold_surface_and_stay_in_the_room(block: int) -> None:
    tsdf = np.full((40, 20, 10), 127, np.int8)
    tsdf[30, 3, 5] = 12  # the only voxel near a surface
    rng = np.random.default_rng(0)
    corners = [random_corner(tsdf, block, rng) for _ in range(200)]
    for corner in corners:
        for first, place, n in zip(corner, (30, 3, 5), tsdf.shape, strict=True):
            assert first <= place < first + block
            assert 0 <= first <= max(0, n - block)
    assert len({corner[0] for corner in corners}) == min(block, 40 - block - (30 - block + 1) + 1)
    again = np.random.default_rng(0)
    assert corners == [random_corner(tsdf, block, again) for _ in range(200)]


def test_a_room_without_surfaces_still_gives_a_block() -> None:
    x, y, z = random_corner(np.full((8, 8, 8), 127, np.int8), 4, np.random.default_rng(0))
    assert max(x, y, z) <= 4
