"""A lease: of several processes that want the same fingerprint, one works and the others wait.

A lease is a small object that its holder renews from a thread. Whether it has run out is judged by the store's clock,
so clocks of machines need not agree; a holder of this machine that is dead is known at once. A lease only saves double
work: should two processes believe that they hold one, content-addressed files and the conditional write of the manifest
keep the artifact right.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from roomseg.errors import UserError
from roomseg.runtime.storage import MissingKey, Store

TTL_S = 60.0  # without a renewal for so long, a lease is anybody's
_RENEWALS = 4  # within that time
_POLL_S = 2.0


@dataclass(frozen=True)
class _Record:
    token: str  # of one taking; empty once it is given back
    ttl_s: float = TTL_S
    beat: int = 0
    where: str = ""  # for people
    process: str = ""  # what tells this process from all others of its machine; empty where that is not known

    def to_json(self) -> bytes:
        return json.dumps(self.__dict__).encode()

    @classmethod
    def from_json(cls, text: bytes) -> _Record:
        """A damaged record is that of an unknown holder."""
        try:
            found = json.loads(text)
            ttl_s = min(max(float(found["ttl_s"]), 0.0), 3600.0)
            return cls(str(found["token"]), ttl_s, int(found["beat"]), str(found["where"]), str(found["process"]))
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return cls("damaged", where="an unknown process")


class Lease:
    """Held until ``release``, or until it was not renewed in time and another process took it."""

    def __init__(self, store: Store, key: str, record: _Record, version: str) -> None:
        self._store, self._key, self._record, self._version = store, key, record, version
        self._taken_by: str | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises ``UserError`` if another process has taken over."""
        if self._taken_by is not None:
            raise UserError(
                f"{self._taken_by} has taken over this work, because {self._store.url} heard nothing from here for "
                f"{self._record.ttl_s:.0f} s: this process stops, run the same command again to wait for the other one"
            )

    def release(self) -> None:
        self._stop.set()
        self._thread.join()
        if self._taken_by is None:
            self._store.replace(self._key, _Record("").to_json(), self._version)

    def _renew(self) -> None:
        while not self._stop.wait(self._record.ttl_s / _RENEWALS):
            try:
                self._renew_once()
            except UserError:
                continue  # the store is away; whoever comes back first has the lease
            if self._taken_by is not None:
                return

    def _renew_once(self) -> None:
        record = _Record(**{**self._record.__dict__, "beat": self._record.beat + 1})
        version = self._store.replace(self._key, record.to_json(), self._version)
        if version is not None:
            self._record, self._version = record, version
            return
        try:
            self._taken_by = _Record.from_json(self._store.get_bytes(self._key)).where or "another process"
        except MissingKey:
            self._taken_by = "another process"


@contextmanager
def leased(
    store: Store, key: str, done: Callable[[], bool], say: Callable[[str], None], ttl_s: float = TTL_S
) -> Iterator[Lease | None]:
    """Wait for the lease, and hold it inside; None if meanwhile there is nothing left to do."""
    lease, holder, told = None, "", ""
    while lease is None:
        lease, holder = take(store, key, ttl_s)
        if lease is None:
            if done():
                yield None
                return
            if holder != told:
                say(f"{holder} is at it: waiting for it to finish")
                told = holder
            time.sleep(_POLL_S)
    try:
        yield lease
    finally:
        lease.release()


def take(store: Store, key: str, ttl_s: float = TTL_S) -> tuple[Lease | None, str]:
    """The lease if it is free, and who has it else. Does not wait."""
    record = _Record(uuid.uuid4().hex, ttl_s, 0, f"process {os.getpid()} on {socket.gethostname()}", _this_process())
    version = store.put_if_absent(key, record.to_json())
    if version is not None:
        return Lease(store, key, record, version), ""
    try:
        text, seen = store.get_versioned(key)
        found = _Record.from_json(text)
        if not _is_free(store, key, found):
            return None, found.where
    except MissingKey:
        return None, "another process"
    version = store.replace(key, record.to_json(), seen)
    return (None, "another process") if version is None else (Lease(store, key, record, version), "")


def holder(store: Store, key: str) -> str | None:
    """Who holds a lease, for people; None if it is free."""
    try:
        record = _Record.from_json(store.get_bytes(key))
        return None if _is_free(store, key, record) else record.where
    except MissingKey:
        return None


def _is_free(store: Store, key: str, record: _Record) -> bool:
    return record.token == "" or _is_dead(record.process) or store.age_s(key) > record.ttl_s


def _is_dead(process: str) -> bool:
    """True only if it ran on this machine, under these process numbers, and runs no more."""
    machine, _, rest = process.rpartition(" ")
    number, _, started = rest.partition(":")
    return bool(machine) and machine == _machine() and _start_of(number) != started


def _this_process() -> str:
    machine, started = _machine(), _start_of(str(os.getpid()))
    return f"{machine} {os.getpid()}:{started}" if machine and started else ""


@cache
def _machine() -> str:
    """This boot of this machine, and this namespace of process numbers (containers have their own)."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def _start_of(number: str) -> str:
    """When a process started, in ticks since boot; empty if there is none: numbers are used again."""
    try:
        # Its name, in brackets, may hold anything; the start is field 22 of the whole line. A zombie is dead.
        fields = Path(f"/proc/{int(number)}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]
