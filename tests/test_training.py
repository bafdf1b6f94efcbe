from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from roomseg.config import Precision
from roomseg.errors import UserError
from roomseg.training import FitConfig, FitResult, KeepBatch, constant_lr, fit, halving_lr, poly_lr


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


@pytest.mark.parametrize("cut_at", [4, 8, 12, 18])
@pytest.mark.parametrize("seconds", [0.0, 1e9], ids=["saved-each-step", "saved-at-validations"])
def test_an_interrupted_run_ends_with_the_same_bits(cut_at: int, seconds: float) -> None:
    config = FitConfig(steps=20, validate_every=6, seed=5, history_every=4, checkpoint_seconds=seconds)
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


@pytest.mark.parametrize("seconds", [0.0, 1e9], ids=["saved-each-step", "saved-at-validations"])
def test_an_interrupted_run_tells_every_step_and_what_it_tells_again_is_the_same(seconds: float) -> None:
    """So a tracker that passes over the steps it has, as ours does, ends with each once."""
    config = FitConfig(steps=20, validate_every=6, seed=5, checkpoint_seconds=seconds)
    whole, first, second = Tracked(), Tracked(fails_at=9), Tracked()
    train(Regression(), config, tracker=whole)
    checkpoints = MemoryCheckpoints()
    with pytest.raises(PowerCut):
        train(Regression(), config, checkpoints, first)
    train(Regression(), config, checkpoints, second)
    losses = [{step: line["loss"] for step, line in each.entries if "loss" in line} for each in (first, second, whole)]
    assert losses[0] | losses[1] == losses[1] | losses[0] == losses[2]
    assert list(losses[2]) == list(range(1, 21))


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
    pace = ("steps_per_s", "batches_per_s", "data_wait_share")  # of this run alone, and in no history
    told = [{"step": step, **{k: v for k, v in figures.items() if k not in pace}} for step, figures in tracker.entries]
    assert [entry["step"] for entry in told if "loss" in entry] == list(range(1, 21))
    assert [entry for entry in told if "loss" not in entry or entry["step"] % 4 == 0] == result.history
    paces = [figures for _, figures in tracker.entries if "lr" in figures]
    assert all(figures["steps_per_s"] > 0 and 0 <= figures["data_wait_share"] <= 1 for figures in paces)
    lr_at = {entry["step"]: entry["lr"] for entry in result.history if "lr" in entry}
    assert lr_at == {4: 0.01, 8: 0.01, 12: 0.005, 16: 0.005, 20: 0.0025}
    assert all("largest" in entry for entry in result.history if "loss" in entry)
    assert progress.advanced == 20
    assert 0 <= result.data_wait_share <= 1
    assert task.validated == [False] * 4  # in eval mode, without gradients
    assert task.model.training


def test_the_pace_counts_what_a_step_takes() -> None:
    tracker = Tracked()
    train(Regression(), FitConfig(steps=3, validate_every=3, accumulate=4, batch_of="rooms"), tracker=tracker)
    paces = [(figures["rooms_per_s"], figures["steps_per_s"]) for _, figures in tracker.entries if "lr" in figures]
    assert len(paces) == 3
    assert all(rooms == pytest.approx(4 * steps) for rooms, steps in paces)


def test_the_best_weights_are_those_of_the_best_validation() -> None:
    twelve = FitConfig(steps=12, validate_every=6, seed=5, history_every=4)
    long, short = train(Regression()), train(Regression(), twelve)
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
        def batch(self, number: int) -> tuple[int, Tensor]:
            if number == 3:
                raise UserError("shard 3 is gone")
            return super().batch(number)

    with pytest.raises(UserError, match=r"^shard 3 is gone"):
        train(Broken())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError("disk gone"), "the thread 'batches' failed while it read batch 3: disk gone"),
        (MemoryError(), "regression: out of CPU memory at step 3; lower regression.batch"),
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            "regression: out of GPU memory at step 3; lower regression.batch",
        ),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory"),
            "regression: out of CPU memory at step 3",
        ),
    ],
    ids=["disk", "numpy", "cuda", "torch"],
)
def test_a_loader_that_fails_is_named_and_small_memory_says_what_to_lower(error: Exception, told: str) -> None:
    class Broken(Regression):
        def batch(self, number: int) -> tuple[int, Tensor]:
            if number == 3:
                raise error
            return super().batch(number)

    with pytest.raises(UserError) as caught:
        train(Broken(), replace(CONFIG, sizes="regression.batch"))
    assert str(caught.value).startswith(told)


def test_memory_really_running_out_is_told() -> None:
    class Huge(Regression):
        def loss(self, batch: tuple[int, Tensor]) -> tuple[Tensor, dict[str, float]]:
            return torch.empty(2**60).sum(), {}

    with pytest.raises(UserError, match="regression: out of CPU memory at step 0; lower the size of the batch"):
        train(Huge())


def test_a_bug_in_a_loader_keeps_its_type_and_says_which_batch() -> None:
    class Broken(Regression):
        def batch(self, number: int) -> tuple[int, Tensor]:
            raise KeyError("label")

    with pytest.raises(KeyError) as caught:
        train(Broken())
    assert caught.value.__notes__ == ["in the thread 'batches', while it made batch 0"]


def test_a_bad_step_is_left_out_and_its_batch_kept() -> None:
    kept, progress = {}, Quiet()

    def keep(name: str, batch: tuple[int, Tensor]) -> str:
        kept[name] = batch
        return f"somewhere/{name}"

    task, checkpoints = Regression(poison=7), MemoryCheckpoints()
    result = train(task, replace(CONFIG, max_bad_steps=1), checkpoints, progress=progress, keep_batch=keep)
    assert list(kept) == ["bad/batch-00000007.pt"]
    assert kept["bad/batch-00000007.pt"][1].isnan().all()
    (said,) = progress.said
    assert said == (
        "regression: step left out: the loss is nan at step 7 on item 7, kept as somewhere/bad/batch-00000007.pt "
        "(1 of 1 that are allowed)"
    )
    before, after = checkpoints.saved[6][1], checkpoints.saved[7][1]
    assert same(before["model"], after["model"])  # nothing was updated with it
    assert before["optimizer"]["state"][0]["step"] == after["optimizer"]["state"][0]["step"] == 7
    assert len(result.history) == 9
    assert all(value.isfinite().all() for value in result.last_state.values())


@pytest.mark.parametrize("resumed_at", [7, 8, 12])
def test_the_next_attempt_keeps_the_bad_batches_of_the_one_before(resumed_at: int) -> None:
    """An artifact has the files of the attempt that completes it."""
    config, checkpoints, kept = replace(CONFIG, max_bad_steps=1), MemoryCheckpoints(), []

    def keep(name: str, batch: tuple[int, Tensor]) -> str:
        kept.append(name)
        return name

    train(Regression(poison=7), config, checkpoints)
    earlier = MemoryCheckpoints([each for each in checkpoints.saved if each[0] <= resumed_at])
    assert earlier.saved[-1][0] == resumed_at
    train(Regression(poison=7), config, earlier, keep_batch=keep)
    assert kept == ["bad/batch-00000007.pt"]


def test_bad_steps_are_counted_across_an_interruption() -> None:
    config = replace(CONFIG, max_bad_steps=3)
    task, checkpoints = Regression(poison_gradient=True), MemoryCheckpoints()
    with pytest.raises(UserError, match="4 such steps, 3 are allowed"):
        train(task, config, checkpoints)
    step, _ = checkpoints.saved[-1]
    assert step == 3
    with pytest.raises(UserError, match="nan at step 3 on item 3; 4 such steps, 3 are allowed"):
        train(Regression(poison_gradient=True), config, checkpoints)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_accumulated_batches_have_the_gradient_of_one_large_batch(precision: Precision) -> None:
    class Joined(Regression):
        """Each batch is three of those of ``Regression``; without dropout, which would draw otherwise."""

        def batch(self, number: int) -> tuple[int, Tensor]:
            parts = [super(Joined, self).batch(3 * number + part)[1] for part in range(3)]
            return number, torch.cat(parts)

    def gradient(task: Regression, accumulate: int) -> Tensor:
        task.model[1] = nn.Identity()
        before = nn.utils.parameters_to_vector(task.model.parameters()).detach().clone()
        config = FitConfig(steps=1, validate_every=1, precision=precision, accumulate=accumulate)
        parts: dict[str, Any] = {"checkpoints": MemoryCheckpoints(), "tracker": Tracked(), "progress": Quiet()}
        fit(task, torch.optim.SGD(task.model.parameters(), lr=1.0), constant_lr(1.0), config, title="sum", **parts)
        return before - nn.utils.parameters_to_vector(task.model.parameters()).detach()

    tolerance = {"fp32": 1e-6, "bf16": 2e-2}[precision]
    torch.testing.assert_close(gradient(Regression(), 3), gradient(Joined(), 1), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("cut_at", [4, 12])
def test_an_interrupted_run_with_accumulation_ends_with_the_same_bits(cut_at: int) -> None:
    config = replace(CONFIG, accumulate=3)
    whole = train(Regression(), config)
    assert not same(whole.last_state, train(Regression()).last_state)
    checkpoints = MemoryCheckpoints()
    with pytest.raises(PowerCut):
        train(Regression(), config, checkpoints, Tracked(fails_at=cut_at))
    assert same(train(Regression(), config, checkpoints).last_state, whole.last_state)


def test_schedules() -> None:
    assert [halving_lr(8.0, 2)(step) for step in range(5)] == [8, 8, 4, 4, 2]
    assert poly_lr(2.0, 10)(0) == 2
    assert poly_lr(2.0, 10)(5) == pytest.approx(2 * 0.5**0.9)
    assert constant_lr(0.5)(7) == 0.5
