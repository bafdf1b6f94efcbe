"""Worker processes that make rooms, and what becomes of a room that fails: it is rejected, and the others go on."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numba

from roomseg.config import RenderConfig
from roomseg.data.shards import PackedRoom, pack_room
from roomseg.errors import UserError
from roomseg.ports import Rejected, RoomKey, RoomSource
from roomseg.processes import die_with_parent
from roomseg.stages.rendering.rooms import make_room

AHEAD = 2  # rooms in flight for each worker
DIED = "its worker process died each time, with no other beside it: out of memory, or a crash in a library"


@dataclass(frozen=True)
class Outcome:
    room: PackedRoom | Rejected
    bug: str = ""  # the traceback, where a room was lost by our own fault


Opener = Callable[[RenderConfig], RoomSource]
Work = Callable[[RoomKey], Outcome]


def work(opener: Opener, config: RenderConfig, key: RoomKey) -> Outcome:
    """Load, make and pack one room. Runs in a worker process, which opens the source once."""
    numba.set_num_threads(1)  # the processes share the cores
    try:
        return Outcome(pack_room(make_room(config, _opened(opener, config).load(key), key)))
    except UserError as error:
        return Outcome(Rejected(key.id, str(error)))
    except MemoryError as error:
        return Outcome(Rejected(key.id, f"out of memory: {error}".removesuffix(": ")))
    except Exception as error:
        return Outcome(Rejected(key.id, f"internal error: {_brief(error)}"), bug=traceback.format_exc())


@lru_cache(maxsize=1)
def _opened(opener: Opener, config: RenderConfig) -> RoomSource:
    return opener(config)


def _brief(error: Exception) -> str:
    """What went wrong and in which file and line: the same on every machine."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    first_line = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first_line} ({Path(last.filename).name}, line {last.lineno})"


class Workers:
    """Runs ``work`` in so many processes."""

    def __init__(self, work: Work, processes: int) -> None:
        self._work, self._processes = work, processes
        self._pool = _pool(processes)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def in_order(self, keys: Iterable[RoomKey]) -> Iterator[Outcome]:
        """Outcomes in the order of the keys, with a few rooms in flight.

        When a process dies, all that were in flight are tried again, one at a time with nothing beside them; one whose
        process dies twice then is rejected.
        """
        waiting = iter(keys)
        flying: deque[tuple[RoomKey, Future[Outcome]]] = deque()
        while True:
            for key in islice(waiting, AHEAD * self._processes - len(flying)):
                flying.append((key, self._submitted(key)))
            if not flying:
                return
            try:
                outcome = flying[0][1].result()
            except BrokenProcessPool:
                yield from self._one_at_a_time(list(flying))
                flying.clear()
            else:
                flying.popleft()
                yield outcome

    def _submitted(self, key: RoomKey) -> Future[Outcome]:
        try:
            return self._pool.submit(self._work, key)
        except BrokenProcessPool as error:
            failed: Future[Outcome] = Future()
            failed.set_exception(error)
            return failed

    def _one_at_a_time(self, flying: list[tuple[RoomKey, Future[Outcome]]]) -> Iterator[Outcome]:
        wait([future for _, future in flying])
        self._pool.shutdown()
        self._pool = _pool(1)
        for key, future in flying:
            yield self._again(key) if isinstance(future.exception(), BrokenProcessPool) else future.result()
        self._pool.shutdown()
        self._pool = _pool(self._processes)

    def _again(self, key: RoomKey) -> Outcome:
        for _ in range(2):
            try:
                return self._pool.submit(self._work, key).result()
            except BrokenProcessPool:
                self._pool.shutdown()
                self._pool = _pool(1)
        return Outcome(Rejected(key.id, DIED))


def _pool(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"), initializer=die_with_parent)
