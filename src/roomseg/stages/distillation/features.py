"""Feature distillation (beyond the paper): the student's cells should point where the teacher's tokens do.

The student has one feature a cell of 8^3 voxels, the teacher one token a patch of pixels. A cell that is seen gets the
mean of the tokens of the pixels that see it; a linear head, which is thrown away after training, takes the student's
features to the teacher's width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from roomseg.models.upsampled import SCALE

Sizes = tuple[int, int, int]


@dataclass(frozen=True)
class SeenCells:
    """What the teacher says of the cells of a room, from one panorama or several."""

    cells: Tensor  # (C,) int64, flat in C order of the padded room's grid of cells, ascending
    target: Tensor  # (C, d) float32, weighted means of tokens
    weight: Tensor  # (C,) float32, of the pixels that see the cell


def seen_cells(
    tokens: Tensor,  # (d, h, w)
    hit_voxel: Tensor,  # (H, 2H) int32, flat in C order of a room of ``sizes``, -1 for none
    pixel_weights: Tensor,  # (H, 2H)
    sizes: Sizes,
    grid: Sizes,  # cells of the padded room
) -> SeenCells:
    """Each pixel has the token of the patch that it lies in."""
    seen = hit_voxel >= 0
    cells = _cells_of(hit_voxel[seen].long(), sizes, grid)  # (P,)
    patches = _patches(hit_voxel.shape, tokens.shape[1:], tokens.device)[seen]  # (P,)
    n_patches = tokens.shape[1] * tokens.shape[2]
    # many pixels share a cell and a patch: one term a pair
    pairs, place = torch.unique(cells * n_patches + patches, return_inverse=True)
    weights = torch.zeros(len(pairs), device=tokens.device).index_add_(0, place, pixel_weights[seen].float())
    cells, place = torch.unique(pairs // n_patches, return_inverse=True)
    rows = tokens.flatten(1).T.float()[pairs % n_patches] * weights[:, None]
    total = torch.zeros(len(cells), device=tokens.device).index_add_(0, place, weights)
    target = rows.new_zeros(len(cells), rows.shape[1]).index_add_(0, place, rows)
    return SeenCells(cells, target / total.clamp(min=torch.finfo(total.dtype).tiny)[:, None], total)


def join_cells(views: Sequence[SeenCells]) -> SeenCells:
    """Several panoramas of one room as one."""
    cells, place = torch.unique(torch.cat([view.cells for view in views]), return_inverse=True)
    weights = torch.cat([view.weight for view in views])
    rows = torch.cat([view.target for view in views]) * weights[:, None]
    total = weights.new_zeros(len(cells)).index_add_(0, place, weights)
    target = rows.new_zeros(len(cells), rows.shape[1]).index_add_(0, place, rows)
    return SeenCells(cells, target / total.clamp(min=torch.finfo(total.dtype).tiny)[:, None], total)


def _cells_of(voxels: Tensor, sizes: Sizes, grid: Sizes) -> Tensor:
    x, y, z = (axis // SCALE for axis in torch.unravel_index(voxels, sizes))
    return (x * grid[1] + y) * grid[2] + z


def _patches(pixels: torch.Size, patches: torch.Size, device: torch.device) -> Tensor:  # (H, 2H) int64
    rows = torch.arange(pixels[0], device=device) * patches[0] // pixels[0]
    columns = torch.arange(pixels[1], device=device) * patches[1] // pixels[1]
    return rows[:, None] * patches[1] + columns
