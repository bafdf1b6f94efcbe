"""Arithmetic that numba kernels share, how they are compiled, and how their tasks share the cores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from roomseg.geometry.kernels import in_parts

# Sums may be reordered, but NaN and infinity keep their meaning: a NaN must reach the loss and stop training.
FAST_MATH = {"contract", "reassoc", "nsz", "arcp"}

# A function that is called, not inlined, has two machine codes: that of its own compilation, which the process that
# compiles it runs, and that inside its caller, which a process runs that loads the caller from numba's cache. With
# FAST_MATH they round differently. The same holds for the loops of numba's own parallel functions. So every part of a
# kernel is inlined, tasks are shared out by Python's threads, and all processes have the same bits.
task_kernel = numba.njit(nogil=True, cache=True)  # called as kernel(first task, end, ...)
fast_task_kernel = numba.njit(nogil=True, fastmath=FAST_MATH, cache=True)
part = numba.njit(cache=True, forceinline=True)
fast_part = numba.njit(fastmath=FAST_MATH, cache=True, forceinline=True)

_LOG2_E = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693359375)  # exact in 9 bits, so that n * _LN2_HIGH has no rounding error
_LN2_LOW = np.float32(-2.12194440e-4)


def run_tasks(kernel: Callable[..., None], tasks: int, *given: Any) -> None:
    """``kernel(first, end, *given)`` for parts of 0..tasks-1, on as many threads as numba has."""
    in_parts(lambda first, end: kernel(first, end, *given), tasks, max(1, min(numba.get_num_threads(), tasks)))


@fast_part
def exp_f32(x: np.float32) -> np.float32:
    """exp(x) for x <= 88 within 2e-7; below -87 it is 2e-38. Unlike libm's it vectorises (4e9 a second and core)."""
    x = max(x, np.float32(-87.0))
    n = np.floor(x * _LOG2_E + np.float32(0.5))
    r = x - n * _LN2_HIGH - n * _LN2_LOW  # |r| <= ln(2) / 2
    p = np.float32(1.0 / 5040)
    p = p * r + np.float32(1.0 / 720)
    p = p * r + np.float32(1.0 / 120)
    p = p * r + np.float32(1.0 / 24)
    p = p * r + np.float32(1.0 / 6)
    p = p * r + np.float32(0.5)
    power_of_two = np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)  # 2^n by its exponent bits
    return (p * r * r + r + np.float32(1.0)) * power_of_two
