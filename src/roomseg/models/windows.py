"""Coarse logits of rooms that do not fit into memory at once: overlapping windows, blended.

Windows start at multiples of 64 voxels, so their attention windows are those of the whole room; only what is within a
receptive field of a seam differs. The blend is of coarse logits: the layers after them are linear, so it is a blend of
the logits too.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

MULTIPLE = 64  # voxels: full windows of 8 tokens at both stages
SMALLEST = 128  # voxels, of a window's side
OVERLAP = 64  # voxels
SCALE = 8  # voxels a coarse cell

Sizes = tuple[int, int, int]


def window_sizes(sizes: Sizes, max_voxels: int) -> Sizes:
    """The sides of windows over a room of ``sizes`` (multiples of 64): the longest halved until they hold few enough.

    No side goes below 128 voxels, so the smallest window may hold more than ``max_voxels``.
    """
    window = list(sizes)
    while window[0] * window[1] * window[2] > max_voxels and max(window) > SMALLEST:
        longest = window.index(max(window))
        half = -(-window[longest] // 2)
        window[longest] = max(SMALLEST, -(-half // MULTIPLE) * MULTIPLE)
    return window[0], window[1], window[2]


def blended_coarse(
    coarse_of: Callable[[Tensor], Tensor],  # (B, 4, x, y, z) -> (B, K, x/8, y/8, z/8)
    x: Tensor,  # (B, 4, X, Y, Z), sides multiples of 64
    window: Sizes,
) -> Tensor:  # (B, K, X/8, Y/8, Z/8)
    """Coarse logits from windows that overlap by 64 voxels, weighted by the distance to the window's border."""
    sizes = [n // SCALE for n in x.shape[2:]]
    total, weight = None, x.new_zeros(sizes)
    ramp = _ramps(window, x)
    starts = [window_starts(n, side) for n, side in zip(x.shape[2:], window, strict=True)]
    for corner in itertools.product(*starts):
        i, j, k = (slice(first, first + side) for first, side in zip(corner, window, strict=True))
        ci, cj, ck = (slice(s.start // SCALE, s.stop // SCALE) for s in (i, j, k))
        part = coarse_of(x[..., i, j, k])
        if total is None:
            total = part.new_zeros(*part.shape[:2], *sizes)
        total[..., ci, cj, ck] += ramp * part
        weight[ci, cj, ck] += ramp
    assert total is not None
    return total / weight


def window_starts(length: int, side: int) -> list[int]:
    """First voxels of windows along an axis: multiples of 64, the last window flush with the end."""
    last = length - side
    return [*range(0, last, max(side - OVERLAP, MULTIPLE)), last] if last > 0 else [0]


def _ramps(window: Sizes, like: Tensor) -> Tensor:  # (x/8, y/8, z/8)
    """Rises from each face of the window to 1 over the overlap."""
    x, y, z = (_ramp(side // SCALE, like) for side in window)
    return x[:, None, None] * y[:, None] * z


def _ramp(cells: int, like: Tensor) -> Tensor:  # (cells,)
    place = torch.arange(cells, device=like.device, dtype=like.dtype) + 0.5
    return torch.minimum(place, cells - place).clamp(max=OVERLAP / SCALE)
