"""Blocks of voxels cut from rooms, for pretraining. Axes and empty values as in ``rooms.py``."""

from __future__ import annotations

import itertools

import numpy as np

from roomseg.data.rooms import TSDF_STEPS, Room, input_of

Corner = tuple[int, int, int]


def grid_blocks(shape: tuple[int, int, int], block: int) -> list[Corner]:
    """Lowest corners of the blocks that slice a room, padded at its high ends to whole blocks."""
    x, y, z = (range(0, n, block) for n in shape)
    return list(itertools.product(x, y, z))


def random_corner(tsdf: np.ndarray, block: int, rng: np.random.Generator) -> Corner:
    """Lowest corner of a block of a room (tsdf (X, Y, Z) int8) around a random voxel near a surface.

    The voxel may lie anywhere in the block, but the block leaves the room only where the room is smaller.
    """
    flat = tsdf.reshape(-1)
    near = np.flatnonzero((flat < TSDF_STEPS) & (flat > -TSDF_STEPS))
    chosen = near[rng.integers(len(near))] if len(near) else rng.integers(tsdf.size)
    places = np.unravel_index(chosen, tsdf.shape)
    offsets = rng.integers(block, size=3)
    x, y, z = (
        int(np.clip(place - offset, 0, max(0, n - block)))
        for place, offset, n in zip(places, offsets, tsdf.shape, strict=True)
    )
    return x, y, z


def cut_block(room: Room, corner: Corner, block: int) -> tuple[np.ndarray, np.ndarray]:
    """The block's ``network_input`` (4, block, block, block) and labels; what lies outside the room is empty."""
    tsdf = _cut(room.tsdf, corner, block, outside=TSDF_STEPS)
    rgb, label = (_cut(plane, corner, block, outside=0) for plane in (room.rgb, room.label))
    return input_of(tsdf, rgb), label


def _cut(plane: np.ndarray, corner: Corner, block: int, outside: int) -> np.ndarray:
    part = plane[tuple(slice(first, first + block) for first in corner)]
    cut = np.full((block, block, block, *plane.shape[3:]), outside, plane.dtype)
    cut[tuple(slice(0, n) for n in part.shape[:3])] = part
    return cut
