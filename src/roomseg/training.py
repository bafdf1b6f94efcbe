"""``fit``: the only training loop. The teacher, pretraining and distillation differ in their ``Task`` alone.

All that is random in a step follows from (seed, step): batches are pure functions of the step, and torch's generators
are seeded anew before each one. So there is no generator state to keep, and a run that was interrupted goes on with the
batches and draws that it would have had.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from roomseg.config import Precision
from roomseg.errors import UserError
from roomseg.ports import Checkpoints, Progress, Tracker

PREFETCHED = 2  # batches that are made ahead
State = dict[str, Any]
Schedule = Callable[[int], float]  # step, from 0 -> learning rate


class Task(Protocol):
    """What is trained on what. ``describe(batch) -> str``, if a task has it, names a batch in an error."""

    @property
    def model(self) -> nn.Module: ...

    def batch(self, step: int) -> Any:
        """The batch of a step, from 0; depends on the step alone. Called in a thread of its own."""
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
    max_grad_norm: float | None = None
    log_every: int = 10  # steps
    checkpoint_seconds: float = 30.0


@dataclass(frozen=True)
class FitResult:
    best_score: float
    best_state: dict[str, Tensor]  # weights of the best validation, on the CPU
    last_state: dict[str, Tensor]
    history: list[dict[str, float]]  # {step, loss, lr, ...} at times, {step, val_...} at validations
    seconds: float  # of all attempts together, without what was lost with an interruption
    data_wait_share: float  # of ``seconds``, spent waiting for batches


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
) -> FitResult:
    """Train for ``config.steps`` steps, from the newest checkpoint if there is one.

    Validates each ``validate_every`` steps and at the end; the best weights are those with the highest ``select``.
    Raises UserError when a loss or a gradient is not finite.
    """
    run = _Run.resumed(task.model, optimizer, checkpoints)
    pace, saved_at = _Pace(), time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())  # the caller's generators stay as they are
        bar = stack.enter_context(progress.bar(title, config.steps, done=run.step, unit="step"))
        batches = stack.enter_context(_Prefetcher(task.batch, run.step, config.steps))
        task.model.train()
        while run.step < config.steps:
            started = time.monotonic()
            batch = batches.take()
            waited = time.monotonic() - started
            run.waited += waited
            figures = _train_step(task, optimizer, batch, lr_of(run.step), run.step, config, title)
            run.step += 1
            pace.add(time.monotonic() - started, waited)
            done = run.step == config.steps
            if run.step % config.log_every == 0 or done:
                run.log(figures, tracker, pace.take())
            validating = run.step % config.validate_every == 0 or done
            if validating:
                run.log(_validate(task, select, run), tracker)
            run.seconds += time.monotonic() - started
            if validating or time.monotonic() - saved_at > config.checkpoint_seconds:
                checkpoints.save(run.step, run.state(task.model, optimizer))
                saved_at = time.monotonic()
            bar.advance(1, loss=figures["loss"], waiting=f"{run.wait_share:.0%}")
    last = _weights(task.model)
    return FitResult(run.best_score, run.best_state or last, last, run.history, run.seconds, run.wait_share)


def training_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def halving_lr(lr: float, every: int) -> Schedule:
    """Halved after each ``every`` steps."""
    return lambda step: lr * 0.5 ** (step // every)


def poly_lr(lr: float, steps: int, power: float = 0.9) -> Schedule:
    """lr (1 - step / steps)^power: the teacher's."""
    return lambda step: lr * (1 - step / steps) ** power


def constant_lr(lr: float) -> Schedule:
    return lambda step: lr


@dataclass
class _Run:
    """How far a training is; what a checkpoint holds beside the weights and the optimizer."""

    step: int = 0
    best_score: float = -math.inf
    best_state: dict[str, Tensor] | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    waited: float = 0.0

    @classmethod
    def resumed(cls, model: nn.Module, optimizer: Optimizer, checkpoints: Checkpoints) -> Self:
        newest = checkpoints.latest()
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
            "run": run | {"history": [*self.history]},
        }

    def log(self, figures: dict[str, float], tracker: Tracker, pace: Mapping[str, float] | None = None) -> None:
        """``pace`` goes to the tracker alone: equal trainings have equal histories."""
        values = {name: float(value) for name, value in figures.items()}  # numpy's floats are no plain values
        self.history.append({"step": self.step, **values})
        tracker.log(self.step, {**values, **(pace or {})})

    @property
    def wait_share(self) -> float:
        return self.waited / self.seconds if self.seconds else 0.0


@dataclass
class _Pace:
    """How fast the steps since the last look were, validations and checkpoints left out."""

    steps: int = 0
    seconds: float = 0.0
    waited: float = 0.0

    def add(self, seconds: float, waited: float) -> None:
        self.steps, self.seconds, self.waited = self.steps + 1, self.seconds + seconds, self.waited + waited

    def take(self) -> dict[str, float]:
        """``steps_per_s``, and ``data_wait_share`` of the time that was spent waiting for batches."""
        figures = {"steps_per_s": self.steps / self.seconds, "data_wait_share": self.waited / self.seconds}
        self.steps, self.seconds, self.waited = 0, 0.0, 0.0
        return figures


class _Prefetcher:
    """Makes the batches of the steps ``first .. stop - 1`` ahead, in order, in one thread."""

    def __init__(self, batch_of: Callable[[int], Any], first: int, stop: int) -> None:
        self._batch_of, self._next, self._stop = batch_of, first, stop
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches")
        self._ahead: deque[Future[Any]] = deque()

    def __enter__(self) -> Self:
        self._fill()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def take(self) -> Any:
        batch = self._ahead.popleft().result()
        self._fill()
        return batch

    def _fill(self) -> None:
        while len(self._ahead) < PREFETCHED and self._next < self._stop:
            self._ahead.append(self._pool.submit(self._batch_of, self._next))
            self._next += 1


def _train_step(
    task: Task, optimizer: Optimizer, batch: Any, lr: float, step: int, config: FitConfig, title: str
) -> dict[str, float]:
    """One update; the figures to log. Nothing is updated if the loss or a gradient is not finite."""
    torch.manual_seed(int(np.random.SeedSequence([config.seed, step]).generate_state(1, np.uint64)[0]))
    for group in optimizer.param_groups:
        group["lr"] = lr
    device = next(task.model.parameters()).device.type
    optimizer.zero_grad()
    with torch.autocast(device, dtype=torch.bfloat16, enabled=config.precision == "bf16"):
        loss, figures = task.loss(batch)
    value = loss.item()
    _check_finite("loss", value, task, batch, step, title)
    loss.backward()
    limit = math.inf if config.max_grad_norm is None else config.max_grad_norm
    norm = nn.utils.clip_grad_norm_(task.model.parameters(), limit).item()
    _check_finite("norm of the gradient", norm, task, batch, step, title)
    optimizer.step()
    return {"loss": value, "lr": lr, **figures}


def _check_finite(name: str, value: float, task: Task, batch: Any, step: int, title: str) -> None:
    if math.isfinite(value):
        return
    describe = getattr(task, "describe", None)
    which = f" on {describe(batch)}" if describe else ""
    raise UserError(
        f"{title}: the {name} is {value} at step {step}{which}; look at that batch's data, or train with a lower lr"
    )


def _validate(task: Task, select: str, run: _Run) -> dict[str, float]:
    task.model.eval()
    with torch.no_grad():
        scores = task.validate()
    task.model.train()
    assert select in scores, f"validate() gave {sorted(scores)}, without {select}"
    if scores[select] > run.best_score:
        run.best_score, run.best_state = float(scores[select]), _weights(task.model)
    return {f"val_{name}": value for name, value in scores.items()}


def _weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the weights on the CPU, which further training does not change."""
    return {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}
