"""How the inner loops are compiled, once a machine, without Python's lock; and how they share the cores."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

from numba import njit

kernel = njit(cache=True, nogil=True, error_model="numpy")
inlined_kernel = njit(cache=True, nogil=True, error_model="numpy", forceinline=True)  # for small parts of inner loops


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="kernel")


def in_parts(work: Callable[[int, int], None], n: int, threads: int, grain: int = 1) -> None:
    """Call ``work(first, end)`` for ``threads`` parts of 0..n-1 at once: kernels, for they let go of Python's lock.

    Parts begin at multiples of ``grain``.
    """
    if threads == 1:
        work(0, n)
        return
    ends = [n * part // threads // grain * grain for part in range(threads)] + [n]
    list(_pool(threads).map(work, ends[:-1], ends[1:]))
