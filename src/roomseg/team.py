"""The processes that train one model together: who is first, and what they exchange. One process is a team too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, distributed

T = TypeVar("T")


@dataclass(frozen=True)
class Team:
    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> Self:
        """Of ``torch.distributed``, if it was initialised."""
        if not distributed.is_initialized():
            return cls()
        return cls(distributed.get_rank(), distributed.get_world_size())

    @property
    def first(self) -> bool:
        """The one that writes checkpoints, figures and outputs."""
        return self.rank == 0

    def mine(self, numbers: range) -> range:
        """This process's share of the batches of a step: each size-th."""
        return numbers[self.rank :: self.size]

    def gather(self, of_mine: Mapping[int, T]) -> dict[int, T]:
        """What every process has, in the order of the keys, so that sums do not depend on the team."""
        parts: list[Any] = [of_mine]
        if self.size > 1:
            parts = [None] * self.size
            distributed.all_gather_object(parts, of_mine)
        return dict(sorted(item for part in parts for item in part.items()))

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Each process's gradients become the sum of all; in one message."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        together = torch.cat([gradient.reshape(-1) for gradient in gradients])
        distributed.all_reduce(together)
        for gradient, total in zip(gradients, together.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(total.view_as(gradient))

    @contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """The others come into the block when the first one is through it, and find what it made."""
        if not self.first:
            distributed.barrier()
        yield
        if self.first and self.size > 1:
            distributed.barrier()
