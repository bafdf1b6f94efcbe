"""The cross entropy of networks that give the logits of every voxel; the student's has the same definition."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from roomseg.errors import UserError


def dense_cross_entropy(logits: Tensor, labels: Tensor, void_weight: float = 1.0) -> Tensor:
    """F.cross_entropy of logits (B, K, X, Y, Z) against labels (B, X, Y, Z) uint8, in float32.

    Class 0 weighs ``void_weight``, the others 1; the mean is over the sum of weights. Raises UserError where labels
    do not fit.
    """
    check_labels(labels, (logits.shape[0], *logits.shape[2:]), logits.shape[1])
    with torch.autocast(logits.device.type, enabled=False):
        weight = class_weights(logits.shape[1], void_weight, logits.device)
        return F.cross_entropy(logits.float(), labels.long(), weight)


def class_weights(classes: int, void_weight: float, device: torch.device) -> Tensor:  # (K,) float32
    weight = torch.ones(classes, device=device)
    weight[0] = void_weight
    return weight


def check_labels(labels: Tensor, shape: tuple[int, ...], classes: int) -> None:
    if tuple(labels.shape) != shape:
        raise UserError(f"the labels have the shape {tuple(labels.shape)}; expected {shape}, one for each voxel")
    if int(labels.max()) >= classes:
        raise UserError(f"the labels go up to {int(labels.max())}; expected 0 to {classes - 1} for {classes} classes")
