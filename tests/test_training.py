from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from roomseg.errors import UserError
from roomseg.training import FitConfig, FitResult, constant_lr, fit, halving_lr, poly_lr


class Regression:
    """Random inputs, dropout, and a validation score that is best in the middle of the training."""

    def __init__(self, poison: int | None = None, poison_gradient: bool = False) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.poison, self.poison_gradient = poison, poison_gradient
        self.validated: list[bool] = []

    def batch(self, step: int) -> tuple[int, Tensor]:
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(step))
        return step, x * float("nan") if step == self.poison else x

    def describe(self, batch: tuple[int, Tensor]) -> str:
        return f"item {batch[0]}"

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

    def save(self, step: int, state: Mapping[str, Any]) -> None:
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

    def bar(self, title: str, total: int, done: int = 0, unit: str = "") -> AbstractContextManager[Quiet]:
        self.advanced = done
        return nullcontext(self)

    def advance(self, n: int = 1, **figures: float | str) -> None:
        self.advanced += n

    def track(self, items: Iterable[Any], title: str, total: int, unit: str = "") -> Iterator[Any]:
        yield from items

    def say(self, text: str) -> None:
        pass


CONFIG = FitConfig(steps=20, validate_every=6, seed=5, log_every=4, checkpoint_seconds=0.0)


def train(
    task: Regression,
    config: FitConfig = CONFIG,
    checkpoints: MemoryCheckpoints | None = None,
    tracker: Tracked | None = None,
    progress: Quiet | None = None,
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
    )


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("cut_at", [4, 8, 12, 18])
@pytest.mark.parametrize("seconds", [0.0, 1e9], ids=["saved-each-step", "saved-at-validations"])
def test_an_interrupted_run_ends_with_the_same_bits(cut_at: int, seconds: float) -> None:
    config = FitConfig(steps=20, validate_every=6, seed=5, log_every=4, checkpoint_seconds=seconds)
    whole = train(Regression(), config)
    checkpoints = MemoryCheckpoints()
    first = Regression()
    with pytest.raises(PowerCut):
        train(first, config, checkpoints, Tracked(fails_at=cut_at))
    second = Regression()
    second.validated = [False] * ((checkpoints.saved[-1][0] if checkpoints.saved else 0) // 6)
    resumed = train(second, config, checkpoints)
    assert same(resumed.last_state, whole.last_state)
    assert same(resumed.best_state, whole.best_state)
    assert resumed.history == whole.history


def test_a_finished_run_gives_its_result_again_without_a_step() -> None:
    checkpoints = MemoryCheckpoints()
    whole = train(Regression(), checkpoints=checkpoints)
    tracker = Tracked()
    again = train(Regression(poison=0), checkpoints=checkpoints, tracker=tracker)
    assert same(again.last_state, whole.last_state)
    assert again.history == whole.history
    assert again.seconds == whole.seconds
    assert tracker.entries == []


def test_history_tracker_and_progress_tell_the_same() -> None:
    tracker, progress = Tracked(), Quiet()
    task = Regression()
    result = train(task, tracker=tracker, progress=progress)
    assert [entry["step"] for entry in result.history if "loss" in entry] == [4, 8, 12, 16, 20]
    assert [entry["step"] for entry in result.history if "val_miou" in entry] == [6, 12, 18, 20]
    pace = ("steps_per_s", "data_wait_share")  # of this run alone: an equal training has an equal history
    told = [{"step": step, **{k: v for k, v in figures.items() if k not in pace}} for step, figures in tracker.entries]
    assert told == result.history
    paces = [figures for _, figures in tracker.entries if "lr" in figures]
    assert all(figures["steps_per_s"] > 0 and 0 <= figures["data_wait_share"] <= 1 for figures in paces)
    lr_at = {entry["step"]: entry["lr"] for entry in result.history if "lr" in entry}
    assert lr_at == {4: 0.01, 8: 0.01, 12: 0.005, 16: 0.005, 20: 0.0025}
    assert all("largest" in entry for entry in result.history if "loss" in entry)
    assert progress.advanced == 20
    assert 0 <= result.data_wait_share <= 1
    assert task.validated == [False] * 4  # in eval mode, without gradients
    assert task.model.training


def test_the_best_weights_are_those_of_the_best_validation() -> None:
    long, short = train(Regression()), train(Regression(), FitConfig(steps=12, validate_every=6, seed=5, log_every=4))
    assert same(long.best_state, short.last_state)  # the score is highest at the second validation, step 12
    assert not same(long.best_state, long.last_state)


def test_the_seed_decides_and_the_callers_generator_is_left_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first, second = train(Regression()), train(Regression())
    assert same(first.last_state, second.last_state)
    assert torch.equal(torch.get_rng_state(), before)
    other = train(Regression(), FitConfig(steps=20, validate_every=6, seed=6))
    assert not same(first.last_state, other.last_state)  # other dropout


def test_a_loss_that_is_not_a_number_stops_training() -> None:
    task, checkpoints = Regression(poison=7), MemoryCheckpoints()
    with pytest.raises(UserError, match="regression: the loss is nan at step 7 on item 7"):
        train(task, checkpoints=checkpoints)
    step, state = checkpoints.saved[-1]
    assert step == 7
    assert same(state["model"], task.model.state_dict())  # nothing was updated with it


def test_a_gradient_that_is_not_a_number_stops_training() -> None:
    task = Regression(poison_gradient=True)
    before = copy.deepcopy(task.model.state_dict())
    with pytest.raises(UserError, match="the norm of the gradient is nan at step 0 on item 0"):
        train(task)
    assert same(before, task.model.state_dict())


def test_gradients_are_clipped() -> None:
    task = Regression()
    optimizer = torch.optim.SGD(task.model.parameters(), lr=1.0)
    before = nn.utils.parameters_to_vector(task.model.parameters()).detach().clone()
    config = FitConfig(steps=1, validate_every=1, max_grad_norm=0.25)
    parts: dict[str, Any] = {"checkpoints": MemoryCheckpoints(), "tracker": Tracked(), "progress": Quiet()}
    fit(task, optimizer, constant_lr(1.0), config, title="clipped", **parts)
    moved = nn.utils.parameters_to_vector(task.model.parameters()).detach() - before
    assert moved.norm().item() == pytest.approx(0.25, rel=1e-4)


def test_bfloat16_reaches_the_layers() -> None:
    task = Regression()
    seen: list[torch.dtype] = []
    task.model[0].register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    train(task, FitConfig(steps=2, validate_every=2, precision="bf16"))
    assert set(seen) == {torch.bfloat16}


def test_an_error_while_making_a_batch_comes_through() -> None:
    class Broken(Regression):
        def batch(self, step: int) -> tuple[int, Tensor]:
            if step == 3:
                raise UserError("shard 3 is gone")
            return super().batch(step)

    with pytest.raises(UserError, match="shard 3 is gone"):
        train(Broken())


def test_schedules() -> None:
    assert [halving_lr(8.0, 2)(step) for step in range(5)] == [8, 8, 4, 4, 2]
    assert poly_lr(2.0, 10)(0) == 2
    assert poly_lr(2.0, 10)(5) == pytest.approx(2 * 0.5**0.9)
    assert constant_lr(0.5)(7) == 0.5
