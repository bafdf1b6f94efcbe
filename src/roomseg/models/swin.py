"""A 3D Swin Transformer: attention inside windows of 8^3 tokens, every second block with windows moved by 4.

Tokens are flat, (B, N, C) in C order of a grid ``sizes`` = (n0, n1, n2). Legend of shapes: B batch, N tokens,
C channels, W windows, T tokens in a window, H heads, D channels in a head. Source: Video Swin Transformer with cubic
merging (paper, section 3.1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from roomseg.models.attention import window_attention
from roomseg.models.linear import linear, linear_gelu, plus_linear

WINDOW = 8
SHIFT = WINDOW // 2
BIAS_SPAN = 2 * WINDOW - 1  # values of a coordinate difference inside a window

Sizes = tuple[int, int, int]


class Swin3D(nn.Module):
    """Volume -> tokens of width 2 D at an eighth of the resolution."""

    def __init__(
        self, channels: int, width: int, depths: tuple[int, int], heads: tuple[int, int], drop_path: float
    ) -> None:
        super().__init__()
        rates = np.linspace(0, drop_path, sum(depths)).tolist()
        self.patch_embed = PatchEmbed(channels, width)
        self.layers = nn.ModuleList(
            [
                Stage(width, heads[0], rates[: depths[0]], merge=True),
                Stage(2 * width, heads[1], rates[depths[0] :], merge=False),
            ]
        )
        self.norm = nn.LayerNorm(2 * width)

    def forward(self, x: Tensor) -> tuple[Tensor, Sizes]:  # (B, channels, X, Y, Z) -> (B, N, 2 D), grid
        tokens, sizes = self.patch_embed(x)
        for stage in self.layers:
            tokens, sizes = stage(tokens, sizes)
        return self.norm(tokens), sizes


class PatchEmbed(nn.Module):
    PATCH = 4

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(channels, width, kernel_size=self.PATCH, stride=self.PATCH)

    def forward(self, x: Tensor) -> tuple[Tensor, Sizes]:
        # channels last: tokens come out in their own order, and the gradient takes half the time on CPUs
        volume = self.proj(x.contiguous(memory_format=torch.channels_last_3d))  # (B, D, X/4, Y/4, Z/4)
        n0, n1, n2 = volume.shape[2:]
        return volume.flatten(2).transpose(1, 2).contiguous(), (n0, n1, n2)


class Stage(nn.Module):
    def __init__(self, width: int, heads: int, drop_paths: list[float], merge: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads, rate, shifted=bool(i % 2)) for i, rate in enumerate(drop_paths))
        self.downsample = Merging(width) if merge else None

    def forward(self, x: Tensor, sizes: Sizes) -> tuple[Tensor, Sizes]:
        for block in self.blocks:
            x = block(x, sizes)
        return (x, sizes) if self.downsample is None else self.downsample(x, sizes)


class Block(nn.Module):
    def __init__(self, width: int, heads: int, drop_path: float, shifted: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, shifted)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, sizes: Sizes) -> Tensor:
        x = _to_windows(x, sizes, self.attn.shifted)  # in this order to the end: the rest looks at single tokens
        seen = self.attn(self.norm1(x), sizes)
        if self.drop_path.drops:
            x = x + self.drop_path(self.attn.proj(seen))
            x = x + self.drop_path(self.mlp(self.norm2(x)))
        else:
            x = plus_linear(x, self.attn.proj, seen)
            x = plus_linear(x, self.mlp.fc2, self.mlp.hidden(self.norm2(x)))
        return _from_windows(x, sizes, self.attn.shifted)


class Mlp(nn.Module):
    def __init__(self, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.fc2(self.hidden(x)))

    def hidden(self, x: Tensor) -> Tensor:  # (..., C) -> (..., 4 C)
        return self.dropout(linear_gelu(self.fc1, x))


class DropPath(nn.Module):
    """Leaves out a residual branch for whole samples while training, scaled by 1/keep."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    @property
    def drops(self) -> bool:
        return self.training and self.rate > 0

    def forward(self, branch: Tensor) -> Tensor:  # (B, N, C)
        if not self.drops:
            return branch
        keep = 1 - self.rate
        kept = torch.rand(len(branch), 1, 1, device=branch.device) < keep
        return branch * (kept / keep).to(branch.dtype)


class WindowAttention(nn.Module):
    relative_position_index: Tensor

    def __init__(self, width: int, heads: int, shifted: bool) -> None:
        super().__init__()
        self.heads, self.shifted = heads, shifted
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(BIAS_SPAN**3, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.register_buffer("relative_position_index", relative_position_index(), persistent=False)

    def forward(self, x: Tensor, sizes: Sizes) -> Tensor:
        """(B, N, C) window after window, as all of it; what the heads have gathered, before ``proj``."""
        batch, _, width = x.shape
        qkv, bias = linear(self.qkv, x), self.relative_bias()
        groups, parts = window_groups(sizes, self.shifted), []
        # not slices: the gradient of each would be as large as the whole
        for group, part in zip(groups, qkv.split([group.tokens for group in groups], dim=1), strict=True):
            packed = part.reshape(batch * group.windows, -1, 3, self.heads, width // self.heads)  # (B*W, T, 3, H, D)
            parts.append(window_attention(packed, _crop_bias(bias, group.shape)).reshape(batch, -1, width))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def relative_bias(self) -> Tensor:  # (H, 8, 8, 8, 8, 8, 8): query's place, key's place
        rows = self.relative_position_bias_table.T.contiguous()  # gathered along a row, heads need not change places
        return rows.index_select(1, self.relative_position_index.flatten()).reshape(self.heads, *[WINDOW] * 6)


class Merging(nn.Module):
    """2x2x2 tokens become one of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8 * width)
        self.reduction = nn.Linear(8 * width, 2 * width, bias=False)

    def forward(self, x: Tensor, sizes: Sizes) -> tuple[Tensor, Sizes]:
        batch, _, width = x.shape
        m0, m1, m2 = (n // 2 for n in sizes)
        cells = x.reshape(batch, m0, 2, m1, 2, m2, 2, width)
        # the published order of the eight has axis 0 fastest
        joined = cells.permute(0, 1, 3, 5, 6, 4, 2, 7).reshape(batch, m0 * m1 * m2, 8 * width)
        return self.reduction(self.norm(joined)), (m0, m1, m2)


@dataclass(frozen=True)
class WindowGroup:
    """Windows of one shape that lie one after another in the window order."""

    shape: Sizes
    windows: int

    @property
    def tokens(self) -> int:
        return self.windows * math.prod(self.shape)


def window_groups(sizes: Sizes, shifted: bool) -> list[WindowGroup]:
    """The groups of equal windows, in the order of ``window_order``."""
    return [
        WindowGroup((w0, w1, w2), len0 // w0 * (len1 // w1) * (len2 // w2))
        for (_, len0, w0), (_, len1, w1), (_, len2, w2) in _parts(sizes, shifted)
    ]


@lru_cache(maxsize=256)
def window_order(sizes: Sizes, shifted: bool, device: torch.device) -> tuple[Tensor, Tensor]:  # (N,) int64 each
    """The tokens' order window by window, and its inverse.

    Published Swin rolls the grid and masks the pairs of a window that are not neighbours in space. The masked parts
    see nothing of each other, so they are windows of their own here: halves, quarters and eighths of the full one.
    An axis of one window is never shifted.
    """
    rolls = [SHIFT if _moves(n, shifted) else 0 for n in sizes]
    grid = np.roll(np.arange(math.prod(sizes)).reshape(sizes), [-r for r in rolls], axis=(0, 1, 2))
    order = []
    for (i, len0, w0), (j, len1, w1), (k, len2, w2) in _parts(sizes, shifted):
        part = grid[i : i + len0, j : j + len1, k : k + len2]
        windows = part.reshape(len0 // w0, w0, len1 // w1, w1, len2 // w2, w2).transpose(0, 2, 4, 1, 3, 5)
        order.append(windows.reshape(-1))
    forward = np.concatenate(order)
    with torch.inference_mode(False):  # they are kept, for training too
        return torch.from_numpy(forward).to(device), torch.from_numpy(np.argsort(forward)).to(device)


AxisPart = tuple[int, int, int]  # start and length of a part of a rolled axis, and the side of its windows


def _parts(sizes: Sizes, shifted: bool) -> list[tuple[AxisPart, AxisPart, AxisPart]]:
    parts0, parts1, parts2 = (_axis_parts(n, shifted) for n in sizes)
    return [(part0, part1, part2) for part0 in parts0 for part1 in parts1 for part2 in parts2]


def _axis_parts(n: int, shifted: bool) -> list[AxisPart]:
    """The last full window of a shifted axis holds two strangers: two halves."""
    if not _moves(n, shifted):
        return [(0, n, WINDOW)]
    return [(0, n - WINDOW, WINDOW), (n - WINDOW, WINDOW, SHIFT)]


def _moves(n: int, shifted: bool) -> bool:
    return shifted and n > WINDOW


def relative_position_index() -> Tensor:  # (512, 512) int64
    """The row of the bias table for (query, key) of a full window; axis 0 is the most significant."""
    axis = torch.arange(WINDOW)
    places = torch.cartesian_prod(axis, axis, axis)  # (512, 3)
    differences = places[:, None] - places[None] + WINDOW - 1
    return (differences * torch.tensor([BIAS_SPAN**2, BIAS_SPAN, 1])).sum(-1)


def _crop_bias(bias: Tensor, shape: Sizes) -> Tensor:  # (H, T, T)
    """The bias of a smaller window: it depends on differences alone, so any corner of the full one will do."""
    w0, w1, w2 = shape
    tokens = w0 * w1 * w2
    return bias[:, :w0, :w1, :w2, :w0, :w1, :w2].reshape(-1, tokens, tokens)


@torch.library.custom_op(
    "roomseg::to_windows", mutates_args=(), schema="(Tensor tokens, int[] sizes, bool shifted) -> Tensor"
)
def _to_windows(tokens: Tensor, sizes: Sizes, shifted: bool) -> Tensor:  # (B, N, C), window after window
    order, _ = window_order((sizes[0], sizes[1], sizes[2]), shifted, tokens.device)
    return tokens.index_select(1, order)


@torch.library.custom_op(
    "roomseg::from_windows", mutates_args=(), schema="(Tensor tokens, int[] sizes, bool shifted) -> Tensor"
)
def _from_windows(tokens: Tensor, sizes: Sizes, shifted: bool) -> Tensor:
    _, inverse = window_order((sizes[0], sizes[1], sizes[2]), shifted, tokens.device)
    return tokens.index_select(1, inverse)


def _keep_order(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, ctx.sizes, ctx.shifted = inputs


# The gradient of a permutation is a gather too, by the inverse: fast and deterministic.
_to_windows.register_autograd(
    lambda ctx, gradient: (_from_windows(gradient, ctx.sizes, ctx.shifted), None, None), setup_context=_keep_order
)
_from_windows.register_autograd(
    lambda ctx, gradient: (_to_windows(gradient, ctx.sizes, ctx.shifted), None, None), setup_context=_keep_order
)
for _operator in (_to_windows, _from_windows):
    _operator.register_fake(lambda tokens, sizes, shifted: tokens.new_empty(tokens.shape))
