"""Every 3D network that ``pretrain`` can train, behind one interface: the student's four variants and the baselines.

The baselines (3D U-Net, SparseConvNet, VT-UNet) are those of the paper's tables, in their own papers' sizes.
"""

from __future__ import annotations

from typing import Protocol, cast, get_args

from torch import Tensor, nn

from roomseg.config import NetworkName, StudentVariant
from roomseg.models.sparse_unet import build_sparse_unet
from roomseg.models.student import build_student
from roomseg.models.unet3d import build_unet3d
from roomseg.models.vtunet import build_vtunet


class Network(Protocol):
    """What training and scoring need; each is an ``nn.Module`` too. Volumes are as ``data.rooms.network_input`` has."""

    def loss(self, x: Tensor, labels: Tensor, void_weight: float = 1.0) -> Tensor:
        """Mean cross entropy: x (B, 4, X, Y, Z) float32, labels (B, X, Y, Z) uint8; class 0 weighs ``void_weight``."""
        ...

    def predict(self, x: Tensor) -> Tensor:
        """(B, 4, X, Y, Z) of any size -> classes (B, X, Y, Z) uint8."""
        ...


def build_network(
    name: NetworkName, classes: int, *, skip: bool = True, drop_path: float = 0.0, seed: int = 0
) -> nn.Module:
    """A ``Network`` with initial weights that depend on ``seed`` alone. ``skip`` is the student's (an ablation)."""
    match name:
        case "unet3d":
            return build_unet3d(classes, seed=seed)
        case "vtunet":
            return build_vtunet(classes, drop_path=drop_path, seed=seed)
        case "sparse_unet":
            return build_sparse_unet(classes, m=16, reps=1, residual=False, seed=seed)
        case "sparse_unet_large":
            return build_sparse_unet(classes, m=32, reps=2, residual=True, seed=seed)
        case _:
            return build_student(name, classes, skip=skip, drop_path=drop_path, seed=seed)


def is_student(name: str) -> bool:
    return name in get_args(StudentVariant)


def as_network(module: nn.Module) -> Network:
    return cast(Network, module)
