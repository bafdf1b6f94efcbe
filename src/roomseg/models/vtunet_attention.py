"""Attention of the VT-UNet in windows of 7^3 tokens, whose keys and values a decoder block uses once more.

Unlike in ``swin.py`` grids are padded, and windows may be smaller than 7 along an axis. Tokens are flat, (B, N, C) in C
order of a grid ``sizes`` = (n0, n1, n2). Legend: B batch, N tokens, C channels, W windows, T places in a window
filled up to a multiple of 32, M = sum of W T, H heads, D channels in a head.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from roomseg.models.attention import window_attention
from roomseg.models.cpu_attention import TOKENS_MULTIPLE

WINDOW = 7
SHIFT = WINDOW // 2
BIAS_SPAN = 2 * WINDOW - 1  # values of a coordinate difference inside a window
PLACES = TOKENS_MULTIPLE  # windows are filled up to a multiple of it, as the CPU kernel asks
NOBODY = -1e4  # the bias of places that fill a window up

Sizes = tuple[int, int, int]
Memory = list[Tensor]  # keys and values (B W, T, 2, H, D) of each group of windows


class WindowAttention(nn.Module):
    def __init__(self, width: int, heads: int, shifted: bool) -> None:
        super().__init__()
        self.heads, self.shifted = heads, shifted
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(torch.empty(BIAS_SPAN**3, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)

    def forward(self, x: Tensor, sizes: Sizes, memory: Memory | None = None) -> tuple[Tensor, Memory]:
        """What tokens (B, N, C) see of each other, and their keys and values.

        With the ``memory`` of another attention: (2 B, N, C), first what they see of each other, then of the memory.
        """
        batch, _, width = x.shape
        layout = window_layout(sizes, self.shifted, x.device)
        qkv = self.qkv(_ToWindows.apply(x, layout.order, layout.inverse))  # (B, M, 3 C)
        bias = F.embedding(layout.bias_rows, self.relative_position_bias_table)  # (*window, *window, H)
        own, crossed = [], []
        kept: Memory = []
        parts = qkv.split([group.windows * group.filled for group in layout.groups], dim=1)
        for group, part in zip(layout.groups, parts, strict=True):
            packed = part.reshape(batch * group.windows, group.filled, 3, self.heads, width // self.heads)
            group_bias = _filled_bias(bias, group)
            own.append(window_attention(packed, group_bias).reshape(batch, -1, width))
            if memory is not None:
                # the published code scales the queries for themselves and once more for the memory
                queries = packed[:, :, :1] * packed.shape[4] ** -0.5
                both = torch.cat([queries, memory[len(kept)]], dim=2)
                crossed.append(window_attention(both, group_bias).reshape(batch, -1, width))
            kept.append(packed[:, :, 1:])
        seen = torch.cat(own, dim=1) if memory is None else torch.cat([torch.cat(own, 1), torch.cat(crossed, 1)])
        return self.proj(_FromWindows.apply(seen, layout.order, layout.inverse)), kept


def _filled_bias(bias: Tensor, group: WindowGroup) -> Tensor:  # (*window, *window, H) -> (H, T, T)
    rows = bias[group.inside + group.inside].permute(6, 0, 1, 2, 3, 4, 5)
    tokens = math.prod(rows.shape[1:4])
    fill = group.filled - tokens
    return F.pad(rows.reshape(-1, tokens, tokens), (0, fill, 0, fill), value=NOBODY)


@dataclass(frozen=True)
class WindowGroup:
    """Windows of one shape that lie one after another: whole ones, or the same part of windows that fall apart."""

    windows: int
    inside: tuple[slice, slice, slice]  # the part of a whole window, per axis

    @property
    def filled(self) -> int:  # T
        tokens = math.prod(part.stop - part.start for part in self.inside)
        return tokens + -tokens % PLACES


@dataclass(frozen=True)
class Layout:
    order: Tensor  # (M,) the token in each place, N where there is none
    inverse: Tensor  # (N,) each token's place
    bias_rows: Tensor  # (*window, *window) row of the bias table for the query's place and the key's
    groups: tuple[WindowGroup, ...]


@lru_cache(maxsize=64)
def window_layout(sizes: Sizes, shifted: bool, device: torch.device) -> Layout:
    """Which token of a grid stands where in its windows: padded at the high ends, rolled if shifted, then cut.

    The published code masks the pairs of a window that are neighbours in the rolled grid only. They see nothing of each
    other, so they are windows of their own here. The padding is seen. An axis of one window is never shifted.
    """
    window = (min(sizes[0], WINDOW), min(sizes[1], WINDOW), min(sizes[2], WINDOW))
    shifts = [SHIFT if shifted and n > WINDOW else 0 for n in sizes]
    nobody = math.prod(sizes)
    grid = np.arange(nobody).reshape(sizes)
    grid = np.pad(grid, [(0, -n % w) for n, w in zip(sizes, window, strict=True)], constant_values=nobody)
    grid = np.roll(grid, [-s for s in shifts], axis=(0, 1, 2))
    order, groups = [], []
    axes = [_axis_parts(*axis) for axis in zip(grid.shape, window, shifts, strict=True)]
    for (part0, in0), (part1, in1), (part2, in2) in itertools.product(*axes):
        tokens = _cut(grid[part0, part1, part2], (in0, in1, in2))
        group = WindowGroup(len(tokens), (in0, in1, in2))
        fill = group.filled - tokens.shape[1]
        order.append(np.pad(tokens, [(0, 0), (0, fill)], constant_values=nobody).reshape(-1))
        groups.append(group)
    forward = np.concatenate(order)
    inverse = np.empty(nobody, np.int64)
    inverse[forward[forward < nobody]] = np.flatnonzero(forward < nobody)
    with torch.inference_mode(False):  # they are kept, for training too
        tensors = [torch.from_numpy(array).to(device) for array in (forward, inverse, _bias_rows(window))]
        return Layout(tensors[0], tensors[1], tensors[2], tuple(groups))


def _axis_parts(padded: int, window: int, shift: int) -> list[tuple[slice, slice]]:
    """Ranges of a rolled axis, and the part of a window that lies in each: the last window holds two strangers."""
    if shift == 0:
        return [(slice(0, padded), slice(0, window))]
    return [
        (slice(0, padded - window), slice(0, window)),
        (slice(padded - window, padded - shift), slice(0, window - shift)),
        (slice(padded - shift, padded), slice(window - shift, window)),
    ]


def _cut(grid: np.ndarray, inside: tuple[slice, slice, slice]) -> np.ndarray:  # (P0, P1, P2) -> (W, tokens)
    w0, w1, w2 = (part.stop - part.start for part in inside)
    m0, m1, m2 = grid.shape[0] // w0, grid.shape[1] // w1, grid.shape[2] // w2
    cells = grid.reshape(m0, w0, m1, w1, m2, w2)
    return cells.transpose(0, 2, 4, 1, 3, 5).reshape(m0 * m1 * m2, w0 * w1 * w2)


def _bias_rows(window: Sizes) -> np.ndarray:  # (*window, *window) int64
    """The published code reads a place's rank in base 7 in smaller windows too, where it is no coordinate."""
    rank = np.arange(math.prod(window))
    place = np.stack([rank // WINDOW**2, rank // WINDOW % WINDOW, rank % WINDOW])
    a0, a1, a2 = place[:, :, None] - place[:, None] + WINDOW - 1
    return ((a0 * BIAS_SPAN + a1) * BIAS_SPAN + a2).reshape(*window, *window)


class _ToWindows(torch.autograd.Function):
    """(B, N, C) -> (B, M, C), zeros where no token is; each token has one place, so both directions are gathers."""

    @staticmethod
    def forward(ctx, x, order, inverse):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(inverse)
        return F.pad(x, (0, 0, 0, 1)).index_select(1, order)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return gradient.index_select(1, *ctx.saved_tensors), None, None


class _FromWindows(torch.autograd.Function):
    """(B, M, C) -> (B, N, C), the way back."""

    @staticmethod
    def forward(ctx, x, order, inverse):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(order)
        return x.index_select(1, inverse)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        return F.pad(gradient, (0, 0, 0, 1)).index_select(1, *ctx.saved_tensors), None, None
