"""``fit``: the only training loop. The teacher, pretraining and distillation differ in their ``Task`` alone.

A step takes ``accumulate`` batches, of which each process of the team has its share; their mean gradient is the step's.
All that is random follows from the seed and a batch's number: batches are pure functions of it, and torch's generators
are seeded anew before each one. So there is no generator state to keep, a run that was interrupted goes on with the
batches and draws that it would have had, and a team of any size has the same.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from roomseg.config import Precision
from roomseg.errors import UserError, told_when_memory_runs_out
from roomseg.ports import Checkpoints, Progress, Tracker
from roomseg.prefetch import Prefetcher
from roomseg.team import Team

_QUICK_SAVE_S = 1.5  # a twentieth of the time between checkpoints: more than that share shall not go into them
State = dict[str, Any]
Schedule = Callable[[int], float]  # step, from 0 -> learning rate


class Task(Protocol):
    """What is trained on what."""

    @property
    def model(self) -> nn.Module: ...

    def batch(self, number: int) -> Any:
        """The batches from 0 on; each depends on its number alone. Called in a thread of its own."""
        ...

    def describe(self, number: int) -> str:
        """Names a batch in a message: its rooms."""
        ...

    def loss(self, batch: Any) -> tuple[Tensor, dict[str, float]]:
        """The loss and further figures to log."""
        ...

    def validate(self) -> dict[str, float]:
        """Scores on the validation split; the model is in eval mode."""
        ...


@dataclass(frozen=True)
class FitConfig:
    steps: int
    validate_every: int  # steps
    seed: int = 0
    precision: Precision = "fp32"
    accumulate: int = 1  # batches of a step
    max_grad_norm: float | None = None
    max_bad_steps: int = 0  # so many steps may be left out because of a loss or gradient that is not finite
    history_every: int = 10  # steps; the tracker gets each
    batch_of: str = "batches"  # what a batch is, to name its pace by
    checkpoint_seconds: float = 30.0  # between checkpoints; longer where they take long to save
    sizes: str = "the size of the batch"  # what to lower where the memory is too small


@dataclass(frozen=True)
class FitResult:
    best_score: float
    best_state: dict[str, Tensor]  # weights of the best validation, on the CPU
    last_state: dict[str, Tensor]
    history: list[dict[str, float]]  # {step, loss, lr, ...} at times, {step, val_...} at validations
    seconds: float  # of all attempts together, without what was lost with an interruption
    data_wait_share: float  # of ``seconds``, spent waiting for batches


KeepBatch = Callable[[str, Any], str]  # a name and a batch -> where it can be looked at


def fit(
    task: Task,
    optimizer: Optimizer,
    lr_of: Schedule,
    config: FitConfig,
    *,
    select: str = "miou",
    checkpoints: Checkpoints,
    tracker: Tracker,
    progress: Progress,
    title: str,
    keep_batch: KeepBatch | None = None,
) -> FitResult:
    """Train for ``config.steps`` steps, from the newest checkpoint if there is one.

    Validates each ``validate_every`` steps and at the end; the best weights are those with the highest ``select``.
    In a team the first process alone validates, saves and logs; only its result has the scores.
    Raises UserError when more than ``max_bad_steps`` had a loss or a gradient that is not finite, or memory runs out.
    """
    team = Team.current()
    if config.accumulate % team.size:
        raise UserError(f"{title}: {team.size} processes cannot share the {config.accumulate} batches of a step evenly")
    run = _Run.resumed(task.model, optimizer, checkpoints, team)
    keep_batch = keep_batch if team.first else None
    saving = _Saving(config.checkpoint_seconds)
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())  # the caller's generators stay as they are
        stack.enter_context(
            told_when_memory_runs_out(
                lambda where: f"{title}: out of {where} memory at step {run.step}; lower {config.sizes}"
            )
        )
        bar = stack.enter_context(progress.bar(title, config.steps, done=run.step, unit="step"))
        batches = stack.enter_context(Prefetcher(task.batch, _numbers(run.step, config, team)))
        step = _Step(task, optimizer, batches, config, team)
        if keep_batch:
            for number in run.bad_batches:  # of earlier attempts: the artifact has the files of the one that ends
                keep_batch(_bad_name(number), task.batch(number))
        task.model.train()
        while run.step < config.steps:
            started = time.monotonic()
            figures, waited = step.take(run.step, lr_of(run.step))
            run.waited += waited
            if step.bad:
                _report_bad(step, run, task, config, progress, keep_batch, title)
            run.step += 1
            done = run.step == config.steps
            if team.first:
                tracker.log(run.step, {**figures, **_pace(config, time.monotonic() - started, waited)})
                if run.step % config.history_every == 0 or done:
                    run.note(figures)
            validating = run.step % config.validate_every == 0 or done
            if team.first and validating:
                scores = _validate(task, select, run)
                tracker.log(run.step, scores)
                run.note(scores)
            run.seconds += time.monotonic() - started
            if team.first and (validating or saving.due()):
                with saving.timed():
                    checkpoints.save(run.step, run.state(task.model, optimizer), config.steps)
            bar.advance(1, loss=figures["loss"], waiting=f"{run.wait_share:.0%}")
    last = _weights(task.model)
    return FitResult(run.best_score, run.best_state or last, last, run.history, run.seconds, run.wait_share)


def training_device() -> torch.device:
    """The GPU of this process of the team, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


def halving_lr(lr: float, every: int) -> Schedule:
    """Halved after each ``every`` steps."""
    return lambda step: lr * 0.5 ** (step // every)


def poly_lr(lr: float, steps: int, power: float = 0.9) -> Schedule:
    """lr (1 - step / steps)^power: the teacher's."""
    return lambda step: lr * (1 - step / steps) ** power


def constant_lr(lr: float) -> Schedule:
    return lambda step: lr


class _Saving:
    """When a checkpoint is due: after so many seconds, and later where the last one took long to save."""

    def __init__(self, every_s: float) -> None:
        self._every_s, self._pause_s, self._ended = every_s, every_s, time.monotonic()

    def due(self) -> bool:
        return time.monotonic() - self._ended > self._pause_s

    @contextmanager
    def timed(self) -> Iterator[None]:
        started = time.monotonic()
        yield
        self._ended = time.monotonic()
        self._pause_s = self._every_s * max(1.0, (self._ended - started) / _QUICK_SAVE_S)


@dataclass
class _Run:
    """How far a training is; what a checkpoint holds beside the weights and the optimizer."""

    step: int = 0
    best_score: float = -math.inf
    best_state: dict[str, Tensor] | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    bad_steps: int = 0
    bad_batches: list[int] = field(default_factory=list)  # their numbers
    seconds: float = 0.0
    waited: float = 0.0

    @classmethod
    def resumed(cls, model: nn.Module, optimizer: Optimizer, checkpoints: Checkpoints, team: Team) -> Self:
        newest = checkpoints.latest()
        steps = set(team.gather({team.rank: None if newest is None else newest[0]}).values())
        if len(steps) > 1:
            raise UserError(
                f"the processes found checkpoints of different steps, {steps}: start the same command again"
            )
        if newest is None:
            return cls()
        _, state = newest
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        return cls(**state["run"])

    def state(self, model: nn.Module, optimizer: Optimizer) -> State:
        run = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            "model": _weights(model),
            "optimizer": optimizer.state_dict(),
            "run": run | {"history": [*self.history], "bad_batches": [*self.bad_batches]},
        }

    def note(self, figures: Mapping[str, float]) -> None:
        """Into the history, without the pace: equal trainings have equal histories."""
        self.history.append({"step": self.step, **figures})

    @property
    def wait_share(self) -> float:
        return self.waited / self.seconds if self.seconds else 0.0


def _pace(config: FitConfig, seconds: float, waited: float) -> dict[str, float]:
    """How fast a step was, and the share of its time that was spent waiting for batches."""
    batches = config.accumulate / seconds  # of all processes
    return {"steps_per_s": 1 / seconds, f"{config.batch_of}_per_s": batches, "data_wait_share": waited / seconds}


def _numbers(first_step: int, config: FitConfig, team: Team) -> Iterator[int]:
    """The numbers of the batches that this process of the team takes."""
    n = config.accumulate
    return chain.from_iterable(team.mine(range(s * n, (s + 1) * n)) for s in range(first_step, config.steps))


class _Step:
    """One update from the batches of a step."""

    def __init__(self, task: Task, optimizer: Optimizer, batches: Prefetcher, config: FitConfig, team: Team) -> None:
        self.task, self.optimizer, self.batches, self.config, self.team = task, optimizer, batches, config, team
        self.parameters = list(task.model.parameters())
        self.device = self.parameters[0].device.type
        self.bad: dict[int, str] = {}  # batches of the last step that may be the cause, and what was not finite

    def take(self, step: int, lr: float) -> tuple[dict[str, float], float]:
        """The figures to log, and the seconds waited for batches. Nothing is updated if a number is not finite."""
        self.optimizer.zero_grad()
        self.bad = {}
        of_mine, waited = {}, 0.0
        numbers = range(step * self.config.accumulate, (step + 1) * self.config.accumulate)
        for _ in self.team.mine(numbers):
            started = time.monotonic()
            number, batch = self.batches.take()
            waited += time.monotonic() - started
            of_mine[number] = self._gradient(number, batch)
        all_figures = self.team.gather(of_mine)
        self.bad = {n: f"loss is {f['loss']}" for n, f in all_figures.items() if not math.isfinite(f["loss"])}
        if not self.bad:
            self._update(lr, numbers)
        return {**_means(list(all_figures.values())), "lr": lr}, waited

    def _gradient(self, number: int, batch: Any) -> dict[str, float]:
        """Add the batch's share of the step's gradient; its figures."""
        torch.manual_seed(int(np.random.SeedSequence([self.config.seed, number]).generate_state(1, np.uint64)[0]))
        with torch.autocast(self.device, dtype=torch.bfloat16, enabled=self.config.precision == "bf16"):
            loss, figures = self.task.loss(batch)
        value = loss.item()
        if math.isfinite(value):
            (loss / self.config.accumulate).backward()
        return {"loss": value, **figures}

    def _update(self, lr: float, numbers: range) -> None:
        self.team.sum_gradients(self.parameters)
        limit = math.inf if self.config.max_grad_norm is None else self.config.max_grad_norm
        norm = nn.utils.clip_grad_norm_(self.parameters, limit).item()
        if not math.isfinite(norm):
            self.bad = dict.fromkeys(numbers, f"norm of the gradient is {norm}")
            return
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()


def _means(figures: Sequence[dict[str, float]]) -> dict[str, float]:
    """Of each figure, over the batches that have it."""
    names = dict.fromkeys(name for each in figures for name in each)
    return {name: float(np.mean([each[name] for each in figures if name in each])) for name in names}


def _report_bad(
    step: _Step,
    run: _Run,
    task: Task,
    config: FitConfig,
    progress: Progress,
    keep_batch: KeepBatch | None,
    title: str,
) -> None:
    """Name and keep the batches of a step that was left out; raises UserError when there were too many."""
    run.bad_steps += 1
    lines = []
    for number, what in step.bad.items():
        run.bad_batches.append(number)
        # a batch is a pure function of its number, so none need be held for this
        kept = f", kept as {keep_batch(_bad_name(number), task.batch(number))}" if keep_batch else ""
        lines.append(f"the {what} at step {run.step} on {task.describe(number)}{kept}")
    told = "; ".join(lines)
    if run.bad_steps > config.max_bad_steps:
        raise UserError(
            f"{title}: {told}; {run.bad_steps} such steps, {config.max_bad_steps} are allowed (max_bad_steps): "
            "look at that batch's data, or train with a lower lr"
        )
    progress.say(f"{title}: step left out: {told} ({run.bad_steps} of {config.max_bad_steps} that are allowed)")


def _bad_name(number: int) -> str:
    """The file of a batch with a loss or gradient that is not finite."""
    return f"bad/batch-{number:08d}.pt"


def _validate(task: Task, select: str, run: _Run) -> dict[str, float]:
    task.model.eval()
    with torch.no_grad():
        scores = task.validate()
    task.model.train()
    assert select in scores, f"validate() gave {sorted(scores)}, without {select}"
    if scores[select] > run.best_score:
        run.best_score, run.best_state = float(scores[select]), _weights(task.model)
    return {f"val_{name}": float(value) for name, value in scores.items()}  # numpy's floats are no plain values


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights on the CPU, which further training does not change."""
    return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}
