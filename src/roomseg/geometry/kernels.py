"""How the inner loops are compiled: once a machine, without Python's lock, without checks for division by zero."""

from __future__ import annotations

from numba import njit

kernel = njit(cache=True, nogil=True, error_model="numpy")
inlined_kernel = njit(cache=True, nogil=True, error_model="numpy", forceinline=True)  # for small parts of inner loops
