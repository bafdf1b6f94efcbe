"""Processes that one of ours starts, and the cores and the memory that they share."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from pathlib import Path

_SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)
_THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")
_HABITS = {"OMP_WAIT_POLICY": "PASSIVE", "MKL_DYNAMIC": "FALSE", "MKL_CBWR": "AUTO,STRICT"}
_CGROUP = Path("/sys/fs/cgroup")


def share_cores(among: int = 1) -> None:
    """Say in the environment how many threads this process, one of ``among`` equal ones, may have.

    All of them have the numbers that the environment says already, or else every core. To be called before numpy, numba
    and torch are loaded: left alone they take every core of a node, however few its container may use. Threads that
    wait shall sleep, as their spinning takes the cores from the threads of our kernels. MKL shall neither choose the
    number of threads itself nor add what they find in the order in which they come: it promises equal bits from run to
    run only where that is asked for ("conditional numerical reproducibility" in its guide).
    """
    for name in _THREADS:
        together = os.environ.get(name, "")
        os.environ[name] = str(max(1, (int(together) if together.isdigit() else given_cores()) // among))
    for name, value in _HABITS.items():
        os.environ.setdefault(name, value)


def that_share(batches: int, there: int) -> int:
    """How many of the processes that could take part in a training do: the most that share a step's batches evenly."""
    return max(n for n in range(1, min(there, batches) + 1) if batches % n == 0)


def given_cores(cgroup: Path = _CGROUP) -> int:
    """Cores that this process may keep busy: those that it may run on, and its container's limit of CPU time."""
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(there, int(_limit(cgroup))))


def _limit(cgroup: Path) -> float:
    """Of a container, in cores; infinite without one. cgroup v2 has it in one file, v1 in two."""
    try:
        if (both := cgroup / "cpu.max").is_file():
            quota, period = both.read_text().split()
        else:
            quota, period = ((cgroup / f"cpu/cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        cores = float(quota) / float(period)  # "max" is no number, and -1 is v1's word for it
    except (OSError, ValueError):
        return sys.maxsize
    return cores if cores > 0 else sys.maxsize


def given_memory(cgroup: Path = _CGROUP) -> int:
    """Bytes of memory that this process may take at most: its machine's, and its container's limit.

    How much of them is free does not count: that changes from moment to moment.
    """
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limits = (cgroup / name for name in ("memory.max", "memory/memory.limit_in_bytes"))  # cgroup v2, v1
    return min(there, *map(_bytes, limits))


def _bytes(limit: Path) -> int:
    try:
        return int(limit.read_text())
    except (OSError, ValueError):  # "max" is no number; v1 has a very large one
        return sys.maxsize


def die_with_parent() -> None:
    """From now on SIGKILL ends this process when its parent ends, however that does.

    Left alone it would go on beside the next attempt, or wait for ever with the parent's pipes open.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():  # it was quicker
        os._exit(1)
