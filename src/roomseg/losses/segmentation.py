"""Losses against true labels beside cross entropy: Lovasz softmax, and the voxels near surfaces that count more."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from roomseg.geometry.tsdf import STEPS


def surface_band(
    tsdf: Tensor,  # (...) int8 in steps of 1/127, or floating in [-1, 1]; 127 or 1 = empty or unseen
    width_voxels: float,
    truncation_voxels: float,
) -> Tensor:  # (...) bool
    """Voxels within ``width_voxels`` of a surface, on either side; never an empty or unseen one."""
    step = 1.0 if tsdf.is_floating_point() else STEPS
    values = tsdf if tsdf.is_floating_point() else tsdf.float()
    return (values < step) & (values.abs() <= width_voxels / truncation_voxels * step)


def lovasz_softmax(logits: Tensor, labels: Tensor) -> Tensor:  # (V, K), (V,) integer -> ()
    """The convex surrogate of 1 - mean IoU over the classes that are in ``labels`` (Berman, Triki and Blaschko 2018).

    For each class the errors |truth - probability| are sorted, greatest first; each weighs by how much the Jaccard
    loss grows when it becomes a mistake too. Raises ValueError for no voxels.
    """
    if not len(labels):
        raise ValueError("lovasz_softmax got no voxels; expected one at least")
    present = torch.unique(labels)
    shares = F.softmax(logits, dim=1, dtype=torch.promote_types(logits.dtype, torch.float32))
    truth = (labels[:, None] == present).to(shares.dtype)  # (V, C)
    errors = (truth - shares.index_select(1, present.long())).abs()
    errors, order = errors.sort(dim=0, descending=True)
    return (errors * _jaccard_steps(truth.gather(0, order))).sum(0).mean()


def _jaccard_steps(truth: Tensor) -> Tensor:  # (V, C) 0 or 1, in the order of errors -> (V, C)
    """The growth of 1 - IoU with each further voxel that is wrong."""
    positives = truth.sum(0)
    missed, false = truth.cumsum(0), (1 - truth).cumsum(0)
    jaccard = 1 - (positives - missed) / (positives + false)
    return torch.cat([jaccard[:1], jaccard.diff(dim=0)])
