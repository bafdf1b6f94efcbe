"""The student while it is distilled into: with what its training needs besides, none of which is kept in the end."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from roomseg.models.student import Student


class DistilledStudent(nn.Module):
    """The student, a head for the teacher's features, and the running average of the student's weights."""

    def __init__(self, student: Student, feature_width: int | None, ema_decay: float, seed: int) -> None:
        super().__init__()
        self.student, self.ema_decay = student, ema_decay
        self.feature_head: nn.Linear | None = None
        self.average: Student | None = None
        if feature_width is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.feature_head = nn.Linear(2 * student.variant.width, feature_width)
        if ema_decay > 0:
            self.average = copy.deepcopy(student).requires_grad_(False)

    @property
    def scored(self) -> Student:
        """What is validated and kept."""
        return self.student if self.average is None else self.average

    def kept(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of ``scored`` from a state of this module, under the student's own names."""
        prefix = "student." if self.average is None else "average."
        return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

    def follow(self, optimizer: Optimizer) -> None:
        """Let the average follow each of the optimizer's steps: a <- decay a + (1 - decay) w."""
        if self.average is not None:
            optimizer.register_step_post_hook(lambda *_: self._update_average())

    @torch.no_grad()
    def _update_average(self) -> None:
        assert self.average is not None
        for average, weight in zip(self.average.parameters(), self.student.parameters(), strict=True):
            average.lerp_(weight, 1 - self.ema_decay)
