"""Differentiable projection of a volume of K classes to an image (paper, section 4), through a map found beforehand.

A pixel shows one voxel (nearest) or a mean of the eight around the point that it sees (trilinear). Both are linear maps
from the few voxels that are seen at all: logits are needed there only, and gradients arrive there only.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class PixelMap:
    """Pixel ``pixels[p]`` of an image shows sum_n weights[p, n] x the voxel ``voxels[place[p, n]]``."""

    voxels: Tensor  # (V,) int64, flat C-order indices, ascending: all that are seen
    place: Tensor  # (P, N) int64
    weights: Tensor  # (P, N), rows sum to 1
    pixels: Tensor  # (P,) int64, flat: those that hit something
    size: tuple[int, int]  # H, W


def nearest_map(hit_voxel: Tensor) -> PixelMap:  # (H, W) integer, flat voxel that each pixel sees or -1
    """Each pixel shows the voxel that it hits."""
    pixels = (hit_voxel.flatten() >= 0).nonzero()[:, 0]
    corners = hit_voxel.flatten()[pixels].long()[:, None]
    return _pixel_map(corners, torch.ones(corners.shape, device=corners.device), pixels, hit_voxel)


def trilinear_map(
    hit_voxel: Tensor,  # (H, W) integer, -1 = nothing is hit
    positions: Tensor,  # (H, W, 3) floating, the points that are hit, in voxels
    shape: tuple[int, int, int],  # X, Y, Z, each 2 or more
) -> PixelMap:
    """Each pixel shows the trilinear mean at the point that it hits."""
    pixels = (hit_voxel.flatten() >= 0).nonzero()[:, 0]
    points = positions.flatten(0, 1)[pixels]  # (P, 3)
    corners, weights = pixels.new_zeros(len(pixels), 1), points.new_ones(len(pixels), 1)
    for axis, size in enumerate(shape):
        low = points[:, axis].floor().long().clamp(0, size - 2)[:, None]
        share = (points[:, axis, None] - low).clamp(0, 1)
        corners = torch.cat([corners * size + low, corners * size + low + 1], dim=1)
        weights = torch.cat([weights * (1 - share), weights * share], dim=1)
    return _pixel_map(corners, weights, pixels, hit_voxel)


def _pixel_map(corners: Tensor, weights: Tensor, pixels: Tensor, hit_voxel: Tensor) -> PixelMap:
    voxels, place = torch.unique(corners, return_inverse=True)
    return PixelMap(voxels, place, weights, pixels, (hit_voxel.shape[0], hit_voxel.shape[1]))


def project(logits: Tensor, pixel_map: PixelMap) -> Tensor:  # (V, K) at pixel_map.voxels -> (H, W, K)
    """The image; 0 where nothing is hit. Its gradient is (V, K) too: no volume is made."""
    height, width = pixel_map.size
    seen = F.embedding_bag(pixel_map.place, logits, per_sample_weights=pixel_map.weights.to(logits.dtype), mode="sum")
    image = seen.new_zeros(height * width, seen.shape[1]).index_copy(0, pixel_map.pixels, seen)
    return image.view(height, width, -1)


def project_volume(volume: Tensor, pixel_map: PixelMap) -> Tensor:  # (K, X, Y, Z) -> (H, W, K)
    """``project`` of a whole volume, for networks that give one; its gradient is 0 but at ``pixel_map.voxels``."""
    return project(volume.flatten(1).index_select(1, pixel_map.voxels).T, pixel_map)
