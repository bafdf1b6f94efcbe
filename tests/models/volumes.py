"""Inputs and weights for tests of the models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

GOLDEN = Path(__file__).parent.parent / "golden"


def golden(name: str) -> tuple[dict[str, np.ndarray], dict[str, Tensor]]:
    """Arrays of a golden file and its state dict, as float32."""
    with np.load(GOLDEN / name) as file:
        arrays = {key: file[key] for key in file}
    prefix = "state_dict/"
    state = {k.removeprefix(prefix): torch.from_numpy(v).float() for k, v in arrays.items() if k.startswith(prefix)}
    return arrays, state


def room_like(sizes: tuple[int, int, int], seed: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    """A mostly empty volume (B, 4, X, Y, Z) and labels (B, X, Y, Z) uint8."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.rand(batch, 4, *sizes, generator=rng) * 2 - 1
    empty = torch.rand(batch, *sizes, generator=rng) < 0.8
    x = torch.where(empty[:, None], torch.tensor([-3.0, -1, -1, -1]).view(1, 4, 1, 1, 1), x)
    labels = torch.randint(0, 30, (batch, *sizes), generator=rng).masked_fill_(empty, 0)
    return x, labels.to(torch.uint8)


def randomise(model: nn.Module, seed: int, spread: float) -> None:
    """Weights large enough that every part of the network is felt in the output."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += spread * torch.randn(parameter.shape, generator=rng)
