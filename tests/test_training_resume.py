"""Trainings that were interrupted, and when their checkpoints are saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from torch import Tensor

from roomseg.errors import UserError
from roomseg.training import FitConfig
from tests.fitting import CONFIG, MemoryCheckpoints, PowerCut, Regression, Tracked, same, train


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


@pytest.mark.parametrize(("save_s", "saved"), [(0.0, range(4, 100, 4)), (1.5, range(4, 100, 4)), (15, (4, 35, 66, 97))])
def test_checkpoints_that_take_long_are_seldom(
    save_s: float, saved: Sequence[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most a twentieth of the time goes into them: after 15 s of saving, 300 s without."""
    clock = [0.0]
    monkeypatch.setattr("roomseg.training.time", SimpleNamespace(monotonic=lambda: clock[0]))

    class Slow(MemoryCheckpoints):
        def save(self, step: int, state: Mapping[str, Any], steps: int | None = None) -> None:
            clock[0] += save_s
            super().save(step, state, steps)

    class Ticking(Regression):
        def loss(self, batch: tuple[int, Tensor]) -> tuple[Tensor, dict[str, float]]:
            clock[0] += 10.0
            return super().loss(batch)

    checkpoints = Slow()
    train(Ticking(), FitConfig(steps=99, validate_every=99), checkpoints)
    assert [step for step, _ in checkpoints.saved] == [*saved, 99]


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


@pytest.mark.parametrize("cut_at", [4, 12])
def test_an_interrupted_run_with_accumulation_ends_with_the_same_bits(cut_at: int) -> None:
    config = replace(CONFIG, accumulate=3)
    whole = train(Regression(), config)
    assert not same(whole.last_state, train(Regression()).last_state)
    checkpoints = MemoryCheckpoints()
    with pytest.raises(PowerCut):
        train(Regression(), config, checkpoints, Tracked(fails_at=cut_at))
    assert same(train(Regression(), config, checkpoints).last_state, whole.last_state)
