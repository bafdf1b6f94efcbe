"""Blocks of voxels cut from rooms, for pretraining. Axes and empty values as in ``rooms.py``."""

from __future__ import annotations

import itertools

import numpy as np

from roomseg.data.rooms import EMPTY_RGB, EMPTY_TSDF, TSDF_STEPS

Corner = tuple[int, int, int]


def grid_blocks(shape: tuple[int, int, int], block: int) -> list[Corner]:
    """Lowest corners of the blocks that slice a room, padded at its high ends to whole blocks."""
    x, y, z = (range(0, n, block) for n in shape)
    return list(itertools.product(x, y, z))


def random_corner(tsdf: np.ndarray, block: int, rng: np.random.Generator) -> Corner:
    """Lowest corner of a block of a room (tsdf (X, Y, Z) int8) around a random voxel near a surface.

    The voxel may lie anywhere in the block, but the block leaves the room only where the room is smaller.
    """
    near = np.flatnonzero(np.abs(tsdf.reshape(-1).astype(np.int16)) < TSDF_STEPS)
    chosen = near[rng.integers(len(near))] if len(near) else rng.integers(tsdf.size)
    places = np.unravel_index(chosen, tsdf.shape)
    offsets = rng.integers(block, size=3)
    x, y, z = (
        int(np.clip(place - offset, 0, max(0, n - block)))
        for place, offset, n in zip(places, offsets, tsdf.shape, strict=True)
    )
    return x, y, z


def cut_block(
    volume: np.ndarray,  # (4, X, Y, Z) float32, of rooms.network_input
    label: np.ndarray,  # (X, Y, Z) uint8
    corner: Corner,
    block: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The block's volume (4, block, block, block) and labels; what lies outside the room is empty."""
    inside = tuple(slice(first, first + block) for first in corner)
    part = volume[(slice(None), *inside)]
    filled = tuple(slice(0, n) for n in part.shape[1:])
    cut_volume = np.full((len(volume), block, block, block), EMPTY_RGB, np.float32)
    cut_volume[0] = EMPTY_TSDF
    cut_volume[(slice(None), *filled)] = part
    cut_label = np.zeros((block, block, block), np.uint8)
    cut_label[filled] = label[inside]
    return cut_volume, cut_label
