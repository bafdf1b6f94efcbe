"""Classes of a room from a network that takes small volumes only: overlapping tiles, their logits blended smoothly.

A voxel's logits are the mean over the tiles that hold it, weighted by Hann windows that fade towards a tile's faces.
The weights are divided by their sum first, so where a single tile sees a voxel its logits are taken as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from roomseg.models.volumes import check_volume, padded

AxisTiles = list[tuple[slice, Tensor]]  # a tile's voxels along an axis and its share of each


def predict_tiled(
    logits_of: Callable[[Tensor], Tensor],  # (1, 4, x, y, z) -> (1, K, x, y, z)
    x: Tensor,  # (B, 4, X, Y, Z)
    tile: Sequence[int],
    overlap: int,
    classes: int,
    align: int = 1,
) -> Tensor:  # (B, X, Y, Z) uint8
    """The class of every voxel, K at most 256; raises UserError as ``check_volume``.

    ``logits_of`` sees volumes of the size ``tile`` that overlap by ``overlap`` voxels or more; a smaller room is padded
    with empty at the high ends. ``align`` > 1 is for networks with strides: tiles start at its multiples then, and the
    last one of an axis ends with the room, up to align - 1 voxels short. Besides what ``logits_of`` takes, memory
    holds the logits of one layer of tiles across the room: 4 K tile[0] Y Z bytes.
    """
    check_volume(x)
    sizes = x.shape[2:]
    enough = [max(pair) for pair in zip(sizes, tile, strict=True)]
    labels = torch.empty(len(x), *sizes, dtype=torch.uint8, device=x.device)
    with torch.no_grad():
        for room, out in zip(padded(x, enough), labels, strict=True):
            for planes, logits in _blended(logits_of, room[None], tile, overlap, classes, align):
                seen = logits[:, : sizes[0] - planes.start, : sizes[1], : sizes[2]]
                out[planes] = seen.argmax(0).to(torch.uint8)
    return labels


def _blended(
    logits_of: Callable[[Tensor], Tensor], x: Tensor, tile: Sequence[int], overlap: int, classes: int, align: int
) -> Iterator[tuple[slice, Tensor]]:
    """Planes along X of one room (1, 4, X, Y, Z) and their logits (K, planes, Y, Z), in order, each plane once.

    The logits are good until the next planes are asked for.
    """
    rows, columns, stacks = (axis_tiles(n, t, overlap, align, x.device) for n, t in zip(x.shape[2:], tile, strict=True))
    layer = torch.zeros(classes, tile[0], *x.shape[3:], device=x.device)  # what the tiles so far give to these planes
    for i, (planes, share0) in enumerate(rows):
        for column, share1 in columns:
            for stack, share2 in stacks:
                logits = logits_of(x[:, :, planes, column, stack])[0]
                share = share0[:, None, None] * share1[:, None] * share2
                layer[:, : len(share0), column, stack].addcmul_(logits.to(layer.dtype), share)
        end = rows[i + 1][0].start if i + 1 < len(rows) else planes.stop
        done = end - planes.start
        yield slice(planes.start, end), layer[:, :done]
        unfinished = layer[:, done:].clone()
        layer[:, : tile[0] - done] = unfinished
        layer[:, tile[0] - done :] = 0


def axis_tiles(length: int, tile: int, overlap: int, align: int, device: torch.device) -> AxisTiles:
    """As few tiles as cover an axis of ``length`` >= ``tile`` voxels, evenly spread; their shares sum to 1."""
    stride = (tile - overlap) // align  # in units of align, as last and start
    last = -(-(length - tile) // align)
    assert stride > 0 or last == 0, (tile, overlap, align)
    steps = -(-last // stride) if last else 0
    starts = [last * i // max(steps, 1) * align for i in range(steps + 1)]
    ranges = [slice(start, min(start + tile, length)) for start in starts]
    window = torch.hann_window(tile + 2, periodic=False, dtype=torch.float64, device=device)[1:-1]  # none is zero
    total = torch.zeros(length, dtype=torch.float64, device=device)
    for voxels in ranges:
        total[voxels] += window[: voxels.stop - voxels.start]
    return [(voxels, (window[: voxels.stop - voxels.start] / total[voxels]).float()) for voxels in ranges]
