from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from roomseg.config import Precision
from roomseg.errors import UserError
from roomseg.training import FitConfig, constant_lr, fit, halving_lr, poly_lr
from tests.fitting import CONFIG, MemoryCheckpoints, Quiet, Regression, Tracked, same, train


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


def test_schedules() -> None:
    assert [halving_lr(8.0, 2)(step) for step in range(5)] == [8, 8, 4, 4, 2]
    assert poly_lr(2.0, 10)(0) == 2
    assert poly_lr(2.0, 10)(5) == pytest.approx(2 * 0.5**0.9)
    assert constant_lr(0.5)(7) == 0.5
