"""The SparseConvNet U-Net (Graham et al., 2018), a baseline: it computes at active voxels only, those not empty.

Parameter names are the published ones: the numbers in them are the order in which parts were added, which the nesting
of ``nn.Sequential`` here repeats. Legend: N active sites of the level that features are at, m the first level's width,
level i has 1/2^i of the resolution and the width (i + 1) m. A volume needs no padding: empty voxels do not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from roomseg.errors import UserError
from roomseg.models.dense_loss import check_labels, class_weights
from roomseg.models.sparse_ops import (
    Halving,
    Sites,
    halve,
    inverse_conv,
    neighbours_of,
    strided_conv,
    submanifold_conv,
    unique_sites,
)
from roomseg.models.volumes import CHANNELS, EMPTY, check_volume

LEVELS = 7
VOID_LOGIT = 20.0  # of class 0 where nothing is, the others 0: a probability of 1 - 6e-8, and a finite loss


class SparseUNet(nn.Module):
    def __init__(self, classes: int, m: int, reps: int, residual: bool) -> None:
        super().__init__()
        self.classes = classes
        self.sparseModel = nn.Sequential(
            nn.Identity(),  # the published input layer's place
            SubmanifoldConv(CHANNELS, m),
            _unet([(level + 1) * m for level in range(LEVELS)], reps, residual),
        )
        self.linear = nn.Linear(m, classes)

    def forward(self, x: Tensor) -> Tensor:  # (B, 4, X, Y, Z) -> (B, K, X, Y, Z)
        """Logits of every voxel, for small volumes; where nothing is, a constant that says void.

        Raises UserError for another number of channels and for NaN or infinite values.
        """
        active = _active(x)
        volume = x.new_zeros(len(x), *x.shape[2:], self.classes)
        volume[..., 0] = VOID_LOGIT
        volume[active] = self._logits(x, active)
        return volume.movedim(-1, 1)

    def loss(self, x: Tensor, labels: Tensor, void_weight: float = 1.0) -> Tensor:
        """The mean cross entropy over active voxels, weighted; 0 if there is none. Class 0 weighs ``void_weight``.

        Labels (B, X, Y, Z) uint8. Empty voxels are void by construction and count for nothing. Raises UserError where
        labels do not fit, else as ``forward``.
        """
        active = _active(x)
        check_labels(labels, tuple(active.shape), self.classes)
        target = labels[active].long()
        weight = class_weights(self.classes, void_weight, x.device)
        logits = self._logits(x, active)
        with torch.autocast(x.device.type, enabled=False):
            total = F.cross_entropy(logits.float(), target, weight, reduction="sum")
            return total / weight[target].sum().clamp(min=torch.finfo(torch.float32).tiny)

    def predict(self, x: Tensor) -> Tensor:  # (B, 4, X, Y, Z) -> (B, X, Y, Z) uint8
        """The class of every voxel, 0 where nothing is; memory goes with the active voxels alone."""
        active = _active(x)
        labels = torch.zeros_like(active, dtype=torch.uint8)
        with torch.no_grad():
            labels[active] = self._logits(x, active).argmax(1).to(torch.uint8)
        return labels

    def logits_at(self, coordinates: Tensor, features: Tensor) -> Tensor:  # (P, K)
        """The published interface: points with coordinates (P, 4), integers (batch, x, y, z), and features (P, 4).

        Points may come in any order. Those in the same voxel are averaged, and each gets its voxel's logits.
        """
        if coordinates.shape != features.shape or features.dim() != 2 or features.shape[1] != CHANNELS:
            got = f"coordinates {tuple(coordinates.shape)} and features {tuple(features.shape)}"
            raise UserError(f"the sparse U-Net got {got}; expected (P, 4) and (P, {CHANNELS})")
        sites, rows = unique_sites(coordinates)
        sums = features.new_zeros(len(sites.keys), features.shape[1]).index_add(0, rows, features)
        averages = sums / torch.bincount(rows, minlength=len(sums))[:, None]
        sparse = Sparse(averages.to(self.linear.weight.dtype), _levels(sites))
        return self.linear(self.sparseModel(sparse).features)[rows]

    def _logits(self, x: Tensor, active: Tensor) -> Tensor:  # (active voxels, K)
        coordinates = active.nonzero()
        features = x.movedim(1, -1)[active]
        return self.logits_at(coordinates, features).to(x.dtype)


def build_sparse_unet(
    classes: int = 30, m: int = 16, reps: int = 1, residual: bool = False, seed: int = 0
) -> SparseUNet:
    """A network with initial weights that depend on ``seed`` alone: m = 16 or 32 and reps = 1 or 2 were published."""
    if min(classes, m, reps) < 1:
        raise UserError(f"the sparse U-Net got classes={classes}, m={m}, reps={reps}; expected 1 or more of each")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SparseUNet(classes, m, reps, residual)


@dataclass(frozen=True)
class Level:
    neighbours: Tensor  # (N, 27), see sparse_ops
    halving: Halving | None  # to the next coarser level, if there is one


@dataclass(frozen=True)
class Sparse:
    """Features at the sites of one level of a pyramid."""

    features: Tensor  # (N, C)
    levels: Sequence[Level]
    depth: int = 0

    @property
    def level(self) -> Level:
        return self.levels[self.depth]


def _levels(sites: Sites) -> list[Level]:
    levels = []
    for _ in range(LEVELS - 1):
        coarser, halving = halve(sites)
        levels.append(Level(neighbours_of(sites), halving))
        sites = coarser
    return [*levels, Level(neighbours_of(sites), None)]


def _active(x: Tensor) -> Tensor:  # (B, X, Y, Z) bool
    """Where channel 0 is above its value for empty; raises UserError as ``check_volume``."""
    check_volume(x)
    return x[:, 0] > EMPTY[0]


# Each part below takes Sparse and gives Sparse, but for Branches and what follows it.


def _unet(widths: Sequence[int], reps: int, residual: bool) -> nn.Sequential:
    """The levels of these widths: blocks, the next level between a halving and its inverse, joined, blocks."""
    block = _residual_block if residual else _plain_block
    width = widths[0]
    parts = [part for _ in range(reps) for part in block(width, width)]
    if len(widths) > 1:
        below = nn.Sequential(
            BatchNormReLU(width),
            StridedConv(width, widths[1]),
            _unet(widths[1:], reps, residual),
            BatchNormReLU(widths[1]),
            InverseConv(widths[1], width),
        )
        parts += [Branches(nn.Identity(), below), Join(), *block(2 * width, width)]
        parts += [part for _ in range(reps - 1) for part in block(width, width)]
    return nn.Sequential(*parts)


def _plain_block(width_in: int, width_out: int) -> list[nn.Module]:
    return [nn.Sequential(BatchNormReLU(width_in), SubmanifoldConv(width_in, width_out))]


def _residual_block(width_in: int, width_out: int) -> list[nn.Module]:
    shortcut = nn.Identity() if width_in == width_out else Shortcut(width_in, width_out)
    convolutions = nn.Sequential(
        BatchNormReLU(width_in),
        SubmanifoldConv(width_in, width_out),
        BatchNormReLU(width_out),
        SubmanifoldConv(width_out, width_out),
    )
    return [Branches(shortcut, convolutions), Add()]


class Branches(nn.Sequential):
    def forward(self, sparse: Sparse) -> list[Sparse]:
        return [branch(sparse) for branch in self]


class Join(nn.Module):
    def forward(self, branches: list[Sparse]) -> Sparse:
        return replace(branches[0], features=torch.cat([branch.features for branch in branches], dim=1))


class Add(nn.Module):
    def forward(self, branches: list[Sparse]) -> Sparse:
        first, second = branches
        return replace(first, features=first.features + second.features)


class BatchNormReLU(nn.Module):
    """Over the active sites of the whole batch.

    Where a level has a single site there is no variance: it is normalised with the running statistics, as in eval
    mode, and they stay as they are.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, sparse: Sparse) -> Sparse:
        normalised = F.batch_norm(
            sparse.features,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            training=self.training and len(sparse.features) > 1,
            momentum=0.01,
            eps=1e-4,
        )
        return replace(sparse, features=F.relu(normalised, inplace=True))


class _Weighted(nn.Module):
    def __init__(self, *shape: int) -> None:  # (taps, 1, in, out) or (in, out)
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape))
        fan_in = self.weight[..., 0].numel()
        nn.init.normal_(self.weight, std=(2 / fan_in) ** 0.5)


class Shortcut(_Weighted):
    """A product with a matrix, without a bias."""

    def forward(self, sparse: Sparse) -> Sparse:
        return replace(sparse, features=sparse.features @ self.weight)


class SubmanifoldConv(_Weighted):
    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(27, 1, width_in, width_out)

    def forward(self, sparse: Sparse) -> Sparse:
        return replace(sparse, features=submanifold_conv(sparse.features, self.weight, sparse.level.neighbours))


class StridedConv(_Weighted):
    """To the next coarser level."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(8, 1, width_in, width_out)

    def forward(self, sparse: Sparse) -> Sparse:
        halving = sparse.level.halving
        assert halving is not None, "halved below the coarsest level"
        return replace(sparse, features=strided_conv(sparse.features, self.weight, halving), depth=sparse.depth + 1)


class InverseConv(_Weighted):
    """Back to the sites of the next finer level."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(8, 1, width_in, width_out)

    def forward(self, sparse: Sparse) -> Sparse:
        finer = sparse.levels[sparse.depth - 1]
        assert finer.halving is not None
        features = inverse_conv(sparse.features, self.weight, finer.halving)
        return replace(sparse, features=features, depth=sparse.depth - 1)
