"""A small task for ``fit``, and what goes with it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from roomseg.training import FitConfig, FitResult, KeepBatch, fit, halving_lr


class Regression:
    """Random inputs, dropout, and a validation score that is best in the middle of the training."""

    def __init__(self, poison: int | None = None, poison_gradient: bool = False) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.poison, self.poison_gradient = poison, poison_gradient
        self.validated: list[bool] = []

    def batch(self, number: int) -> tuple[int, Tensor]:
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(number))
        return number, x * float("nan") if number == self.poison else x

    def describe(self, number: int) -> str:
        return f"item {number}"

    def loss(self, batch: tuple[int, Tensor]) -> tuple[Tensor, dict[str, float]]:
        _, x = batch
        loss = (self.model(x)[:, 0] - x.sum(1)).square().mean()
        if self.poison_gradient:
            loss = loss + 0 * self.model[0].weight.abs().sum().sub(self.model[0].weight.abs().sum()).sqrt()
        return loss, {"largest": x.max().item()}

    def validate(self) -> dict[str, float]:
        self.validated.append(self.model.training or torch.is_grad_enabled())
        return {"miou": -abs(len(self.validated) - 2), "other": 1.0}


@dataclass
class MemoryCheckpoints:
    saved: list[tuple[int, dict[str, Any]]] = field(default_factory=list)

    def save(self, step: int, state: Mapping[str, Any], steps: int | None = None) -> None:
        self.saved.append((step, copy.deepcopy(dict(state))))

    def latest(self) -> tuple[int, dict[str, Any]] | None:
        return copy.deepcopy(self.saved[-1]) if self.saved else None


class PowerCut(Exception):
    pass


@dataclass
class Tracked:
    fails_at: int | None = None
    entries: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if step == self.fails_at:
            raise PowerCut
        self.entries.append((step, dict(metrics)))


class Quiet:
    """A progress display that counts."""

    def __init__(self) -> None:
        self.advanced = 0
        self.said: list[str] = []

    def bar(self, title: str, total: int, done: int = 0, unit: str = "") -> AbstractContextManager[Quiet]:
        self.advanced = done
        return nullcontext(self)

    def advance(self, n: int = 1, **figures: float | str) -> None:
        self.advanced += n

    def track(self, items: Iterable[Any], title: str, total: int, unit: str = "") -> Iterator[Any]:
        yield from items

    def say(self, text: str) -> None:
        self.said.append(text)


CONFIG = FitConfig(steps=20, validate_every=6, seed=5, history_every=4, checkpoint_seconds=0.0)


def train(
    task: Regression,
    config: FitConfig = CONFIG,
    checkpoints: MemoryCheckpoints | None = None,
    tracker: Tracked | None = None,
    progress: Quiet | None = None,
    keep_batch: KeepBatch | None = None,
) -> FitResult:
    optimizer = torch.optim.Adam(task.model.parameters())
    return fit(
        task,
        optimizer,
        halving_lr(0.01, 8),
        config,
        checkpoints=checkpoints or MemoryCheckpoints(),
        tracker=tracker or Tracked(),
        progress=progress or Quiet(),
        title="regression",
        keep_batch=keep_batch,
    )


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
