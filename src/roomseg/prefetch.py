"""Batches made ahead, in order, in a thread of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from roomseg.errors import UserError

PREFETCHED = 2  # batches that are made ahead
THREAD = "batches"


class Prefetcher:
    """``batch_of`` each of the numbers; an error comes out of ``take`` with the number of its batch."""

    def __init__(self, batch_of: Callable[[int], Any], numbers: Iterable[int]) -> None:
        self._batch_of, self._numbers = batch_of, iter(numbers)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=THREAD)
        self._ahead: deque[tuple[int, Future[Any]]] = deque()

    def __enter__(self) -> Self:
        self._fill()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def take(self) -> tuple[int, Any]:
        """The next number and its batch."""
        number, future = self._ahead.popleft()
        try:
            batch = future.result()
        except OSError as error:
            raise UserError(f"the thread {THREAD!r} failed while it read batch {number}: {error}") from error
        except Exception as error:
            error.add_note(f"in the thread {THREAD!r}, while it made batch {number}")
            raise
        self._fill()
        return number, batch

    def _fill(self) -> None:
        while len(self._ahead) < PREFETCHED and (number := next(self._numbers, None)) is not None:
            self._ahead.append((number, self._pool.submit(self._batch_of, number)))
