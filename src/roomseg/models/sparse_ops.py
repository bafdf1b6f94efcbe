"""Sparse convolutions over the active voxels of a batch of volumes, in plain PyTorch, on any device.

Legend: N active sites of a level, M of the next coarser one (half the resolution), T taps of a kernel: 27 or 8, with
the flat index of an offset (x, y, z) in C order. A rulebook is a table of rows, made once a level and shared by all its
convolutions. Features are (sites, channels); an absent row reads as zeros.

Every product gathers the rows of all taps side by side and multiplies once, a chunk of sites at a time. Nothing is
scattered, so each output is one dot product: no atomics, a result that does not change from run to run, and bfloat16
features that are summed in float32 by the matrix product itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from roomseg.errors import UserError

FIELD_BITS = 16  # of a coordinate in a key
COORDINATES = (1 << FIELD_BITS) - 1  # 0 .. 65534: one below a field's range, so that -1 of a neighbour meets no site
CPU_CHUNK_BYTES = 2 << 20  # gathered rows that a core's second cache holds
CUDA_CHUNK_BYTES = 256 << 20
SEARCH_ROWS = 4096  # looked up at a time on a CPU, in memory that is not given back between
CHUNK_ROWS = 512  # at least, or the weights would be read too often


@dataclass(frozen=True)
class Sites:
    """The active voxels of one level, in the C order of (batch, x, y, z)."""

    keys: Tensor  # (N,) int64, ascending: the four coordinates in fields of 16 bits

    @property
    def coordinates(self) -> Tensor:  # (N, 4) int64: batch, x, y, z
        return torch.stack([self.keys >> FIELD_BITS * place & COORDINATES for place in (3, 2, 1, 0)], dim=1)


def unique_sites(coordinates: Tensor) -> tuple[Sites, Tensor]:
    """The sites that points (P, 4) of integers (batch, x, y, z) in any order lie in, and each point's row (P,) there.

    Raises UserError for a coordinate outside 0 .. 65534 (batch: 0 .. 32766).
    """
    points = coordinates.long()
    limits = points.new_tensor([COORDINATES >> 1, COORDINATES, COORDINATES, COORDINATES])
    if ((points < 0) | (points >= limits)).any():
        low, high = points.amin(0).tolist(), points.amax(0).tolist()
        raise UserError(f"got sites (batch, x, y, z) from {low} to {high}; expected 0 to {(limits - 1).tolist()}")
    keys, rows = torch.unique(_packed(*points.unbind(1)), return_inverse=True)
    return Sites(keys), rows


def neighbours_of(sites: Sites) -> Tensor:  # (N, 27) int32
    """The rulebook of submanifold convolutions: the row of the site at each offset in {-1, 0, 1}^3, N if not active."""
    count = len(sites.keys)
    end = sites.keys.new_full((3,), torch.iinfo(torch.int64).max)  # rows that match nothing, to step on past the last
    keys = torch.cat([sites.keys, end])
    offsets = [(x << 2 * FIELD_BITS) + (y << FIELD_BITS) - 1 for x in (-1, 0, 1) for y in (-1, 0, 1)]
    lines = sites.keys.new_tensor(offsets)
    table = torch.empty(count, 9, 3, dtype=torch.int32, device=keys.device)
    step = max(count, 1) if keys.is_cuda else SEARCH_ROWS
    for first in range(0, count, step):
        wanted = sites.keys[first : first + step, None] + lines
        row = torch.searchsorted(keys, wanted)
        for z in range(3):  # z - 1, z and z + 1 follow one another among the keys
            found = keys.take(row) == wanted
            table[first : first + step, :, z] = torch.where(found, row, count)
            row, wanted = row + found, wanted + 1
    return table.view(count, 27)


@dataclass(frozen=True)
class Halving:
    """The rulebook between a level of N sites and the next coarser one of M, for both directions."""

    children: Tensor  # (M, 8) int32: the finer row at each offset in {0, 1}^3, N if not active
    slots: Tensor  # (N,) int64: 8 x the coarser row + the offset; where ``children`` has this site


def halve(sites: Sites) -> tuple[Sites, Halving]:
    """The coarser sites, those with an active child at 2 v + offset, and the rulebook."""
    batch, *place = sites.coordinates.unbind(1)
    keys, parents = torch.unique(_packed(batch, *(axis >> 1 for axis in place)), return_inverse=True)
    x, y, z = (axis & 1 for axis in place)
    slots = parents * 8 + (x * 4 + y * 2 + z)
    count = len(sites.keys)
    children = torch.full((len(keys) * 8,), count, dtype=torch.int32, device=keys.device)
    children[slots] = torch.arange(count, dtype=torch.int32, device=keys.device)
    return Sites(keys), Halving(children.view(len(keys), 8), slots)


def submanifold_conv(
    features: Tensor,  # (N, in)
    weight: Tensor,  # (27, 1, in, out)
    neighbours: Tensor,  # (N, 27) int32, see ``neighbours_of``
) -> Tensor:  # (N, out)
    """3^3 cross-correlation, its outputs at the active sites only (Graham and van der Maaten 2017)."""
    return _SubmanifoldConv.apply(*_operands(features, weight), neighbours)


def strided_conv(features: Tensor, weight: Tensor, halving: Halving) -> Tensor:
    """2^3 convolution with stride 2: (N, in) with a weight of (8, 1, in, out) -> (M, out)."""
    return _StridedConv.apply(*_operands(features, weight), halving.children, halving.slots)


def inverse_conv(features: Tensor, weight: Tensor, halving: Halving) -> Tensor:
    """2^3 transposed convolution, back to the finer sites alone: (M, in), (8, 1, in, out) -> (N, out)."""
    return _InverseConv.apply(*_operands(features, weight), halving.children, halving.slots)


def _operands(features: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the precision of autocast, if it is on; the weight as (T, in, out)."""
    assert weight.shape[1:3] == (1, features.shape[1]), (weight.shape, features.shape)
    kind = features.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
        features, weight = features.to(dtype), weight.to(dtype)
    return features, weight.squeeze(1)


class _SubmanifoldConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features, weight, neighbours):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(features, weight, neighbours)
        return _gather_matmul(features, neighbours, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        """u is v's neighbour at offset o where v is u's at 26 - o: the same rulebook with the taps turned round."""
        features, weight, neighbours = ctx.saved_tensors
        d_features, d_weight = _gather_gradients(gradient, neighbours, weight.flip(0), features)
        return d_features, d_weight.flip(0), None


class _StridedConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features, weight, children, slots):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(features, weight, children, slots)
        return _gather_matmul(features, children, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        features, weight, children, slots = ctx.saved_tensors
        backwards = weight.transpose(1, 2)  # (8, out, in)
        d_backwards = torch.zeros_like(backwards, dtype=_sum_dtype(features))
        for rows, taps in _gathered(features, children):
            _add_taps(d_backwards, gradient[rows], taps)
        return _spread(gradient, backwards, slots), d_backwards.transpose(1, 2).to(weight.dtype), None, None


class _InverseConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx, features, weight, children, slots):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(features, weight, children)
        return _spread(features, weight, slots)

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        features, weight, children = ctx.saved_tensors
        return *_gather_gradients(gradient, children, weight, features), None, None


def _gather_matmul(features: Tensor, table: Tensor, weight: Tensor) -> Tensor:
    """sum over t of features[table[:, t]] weight[t]: (sites, in), (rows, T), (T, in, out) -> (rows, out)."""
    out = features.new_empty(len(table), weight.shape[2])
    matrix = weight.flatten(0, 1)
    for rows, taps in _gathered(features, table):
        torch.mm(taps, matrix, out=out[rows])
    return out


def _gather_gradients(gradient: Tensor, table: Tensor, weight: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
    """Of features (rows, in) and weight (T, in, out), where out[table[r, t]] += features[r] weight[t] was computed."""
    d_features, d_weight = torch.empty_like(features), torch.zeros_like(weight, dtype=_sum_dtype(features))
    matrix = weight.transpose(1, 2).flatten(0, 1)  # (T out, in)
    for rows, taps in _gathered(gradient, table):
        torch.mm(taps, matrix, out=d_features[rows])
        _add_taps(d_weight, features[rows], taps)
    return d_features, d_weight.to(weight.dtype)


def _spread(features: Tensor, weight: Tensor, slots: Tensor) -> Tensor:
    """Each finer site from its parent through its own tap: (M, in), (8, in, out) -> (N, out)."""
    taps, _, width = weight.shape
    products = features @ weight.transpose(0, 1).flatten(1)  # (M, 8 out)
    return products.view(len(features) * taps, width).index_select(0, slots)


def _gathered(features: Tensor, table: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """The rows of table (rows, T) in chunks, with the features (sites, C) of their taps side by side: (chunk, T C)."""
    width = table.shape[1] * features.shape[1]
    source = torch.cat([features, features.new_zeros(1, features.shape[1])])
    budget = CUDA_CHUNK_BYTES if features.is_cuda else CPU_CHUNK_BYTES
    step = max(CHUNK_ROWS, budget // (width * features.element_size()))
    for first in range(0, len(table), step):
        rows = slice(first, min(first + step, len(table)))
        yield rows, source.index_select(0, table[rows].flatten()).view(rows.stop - first, width)


def _add_taps(total: Tensor, left: Tensor, taps: Tensor) -> None:
    """total (T, D, C) += the sum over rows of left (rows, D) times each of the T parts of taps (rows, T C)."""
    product = left.T @ taps  # (D, T C)
    total += product.unflatten(1, (len(total), -1)).transpose(0, 1)


def _sum_dtype(features: Tensor) -> torch.dtype:
    return torch.promote_types(features.dtype, torch.float32)


def _packed(batch: Tensor, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    return ((batch << FIELD_BITS | x) << FIELD_BITS | y) << FIELD_BITS | z
