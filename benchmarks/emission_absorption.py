"""The published way from a volume to a picture: emission and absorption along rays (Max 1995). A peer, used only here.

A ray is sampled at even distances; the density there decides how much of the ray ends at a sample, and the picture is
the mean of the samples' logits, weighted by that.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

MAX_DEPTH_M = 7.0
SHARPNESS, MOST_PER_M = 60.0, 200.0  # of the density around the zero crossing of the TSDF


def composite(
    volume: Tensor,  # (K, X, Y, Z)
    tsdf: Tensor,  # (X, Y, Z) floating
    camera_voxel: np.ndarray,  # (3,)
    rays: Tensor,  # (H, W, 3) unit vectors
    samples: int,
    voxel_m: float,
) -> Tensor:  # (H, W, K)
    """Differentiable in the volume."""
    step_m = MAX_DEPTH_M / samples
    distances = (torch.arange(samples) + 0.5) * (step_m / voxel_m)
    points = torch.tensor(camera_voxel, dtype=torch.float32) + distances[:, None, None, None] * rays  # (S, H, W, 3)
    grid = (2 * points / (torch.tensor(tsdf.shape) - 1) - 1).flip(-1)[None]  # z y x
    value = F.grid_sample(tsdf[None, None], grid, padding_mode="border", align_corners=True)[0, 0]  # (S, H, W)
    opacity = 1 - torch.exp(-step_m * MOST_PER_M * torch.sigmoid(-SHARPNESS * value))
    passed = torch.cumprod(torch.cat([torch.ones_like(opacity[:1]), 1 - opacity[:-1]]), dim=0)
    logits = F.grid_sample(volume[None], grid, padding_mode="border", align_corners=True)[0]  # (K, S, H, W)
    return torch.einsum("shw,kshw->hwk", passed * opacity, logits)
