"""The sparse U-Net as dense convolutions, slow and plain: every tensor is kept at zero outside the active sites.

It walks a state dict by the published names: children are numbered in the order in which they were added, a plain block
takes one number, a residual block two (branches, sum), a join two (branches, concatenation).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

LEVELS = 7


class ReferenceSparseUNet:
    """``weights`` are used as they are given, so that gradients reach them; running statistics are updated in place."""

    def __init__(self, weights: Mapping[str, Tensor], reps: int, residual: bool, training: bool) -> None:
        self.weights, self.reps, self.residual, self.training = weights, reps, residual, training
        self.masks: list[Tensor] = []

    def __call__(self, x: Tensor, active: Tensor) -> Tensor:
        """Logits at the active voxels (N, K): x (B, 4, X, Y, Z) with multiples of 64, active (B, X, Y, Z) bool."""
        self.masks = [active[:, None].to(x.dtype)]
        for _ in range(LEVELS - 1):
            self.masks.append(F.max_pool3d(self.masks[-1], 2))
        features = self.submanifold("sparseModel.1", x * self.masks[0], 0)
        features = self.level("sparseModel.2.", features, 0)
        return F.linear(features.movedim(1, -1)[active], self.weights["linear.weight"], self.weights["linear.bias"])

    def level(self, prefix: str, x: Tensor, i: int) -> Tensor:
        number = 0
        for _ in range(self.reps):
            x, number = self.block(prefix, number, x, i)
        if i == LEVELS - 1:
            return x
        branch = f"{prefix}{number}.1."
        y = self.batch_norm_relu(f"{branch}0", x, i)
        y = F.conv3d(y, self.kernel(f"{branch}1").permute(4, 3, 0, 1, 2), stride=2)
        y = self.level(f"{branch}2.", y, i + 1)
        y = self.batch_norm_relu(f"{branch}3", y, i + 1)
        y = F.conv_transpose3d(y, self.kernel(f"{branch}4").permute(3, 4, 0, 1, 2), stride=2) * self.masks[i]
        x, number = torch.cat([x, y], dim=1), number + 2
        for _ in range(self.reps):
            x, number = self.block(prefix, number, x, i)
        return x

    def block(self, prefix: str, number: int, x: Tensor, i: int) -> tuple[Tensor, int]:
        name = f"{prefix}{number}."
        if not self.residual:
            return self.submanifold(f"{name}1", self.batch_norm_relu(f"{name}0", x, i), i), number + 1
        y = self.submanifold(f"{name}1.1", self.batch_norm_relu(f"{name}1.0", x, i), i)
        y = self.submanifold(f"{name}1.3", self.batch_norm_relu(f"{name}1.2", y, i), i)
        if f"{name}0.weight" in self.weights:
            x = torch.einsum("bixyz,io->boxyz", x, self.weights[f"{name}0.weight"])
        return x + y, number + 2

    def submanifold(self, name: str, x: Tensor, i: int) -> Tensor:
        return F.conv3d(x, self.kernel(name).permute(4, 3, 0, 1, 2), padding=1) * self.masks[i]

    def kernel(self, name: str) -> Tensor:  # (side, side, side, in, out)
        weight = self.weights[f"{name}.weight"]
        side = {27: 3, 8: 2}[len(weight)]
        return weight.reshape(side, side, side, *weight.shape[2:])

    def batch_norm_relu(self, name: str, x: Tensor, i: int) -> Tensor:
        weight, bias, mean, var = (
            self.weights[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")
        )
        active = self.masks[i][:, 0] > 0
        rows = x.movedim(1, -1)[active]
        if self.training:
            batch_mean, batch_var = rows.mean(0), rows.var(0, unbiased=False)
            with torch.no_grad():
                mean.mul_(0.99).add_(0.01 * batch_mean)
                var.mul_(0.99).add_(0.01 * rows.var(0, unbiased=True))
            mean, var = batch_mean, batch_var
        rows = F.relu((rows - mean) / (var + 1e-4).sqrt() * weight + bias)
        out = torch.zeros_like(x).movedim(1, -1)
        out[active] = rows
        return out.movedim(-1, 1)
