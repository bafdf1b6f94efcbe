"""The collapsed loss on CPUs: value and gradient of a voxel's row while it is in registers."""

from __future__ import annotations

import numba
import numpy as np

from roomseg.geometry.cpu_math import FAST_MATH, exp_f32

_ROWS = 512  # to a task
_LANES = 16  # a row is padded to a multiple, for whole vectors
_NOTHING = np.float32(-1e30)  # the logit of a class that is padding


def cross_entropy(
    logits: np.ndarray,  # (V, K) float32
    target: np.ndarray,  # (V, K) float32, at least 0
    tau: float,
) -> tuple[float, np.ndarray]:
    """- sum_v <target_v, log softmax(logits_v / tau)> and its gradient of the logits (V, K), times tau.

    The rows' values are summed in their order, so nothing depends on the number of threads.
    """
    values, gradient = np.empty(len(logits)), np.empty_like(logits)
    _rows(logits, target, np.float32(1 / tau), values, gradient)
    return float(values.sum()), gradient


@numba.njit(parallel=True, fastmath=FAST_MATH, cache=True)
def _rows(logits, target, scale, values, gradient):  # type: ignore[no-untyped-def]
    rows, classes = logits.shape
    for task in numba.prange((rows + _ROWS - 1) // _ROWS):
        line = np.full((classes + _LANES - 1) // _LANES * _LANES, _NOTHING, np.float32)
        share = np.empty_like(line)
        for row in range(task * _ROWS, min(task * _ROWS + _ROWS, rows)):
            top = _NOTHING
            for k in range(classes):
                line[k] = logits[row, k] * scale
                top = max(top, line[k])
            total = np.float32(0)
            for k in range(len(line)):
                share[k] = exp_f32(line[k] - top)
                total += share[k]
            mass, product = np.float32(0), np.float32(0)
            for k in range(classes):
                mass += target[row, k]
                product += target[row, k] * (line[k] - top)
            values[row] = np.float64(mass) * np.log(np.float64(total)) - np.float64(product)
            for k in range(classes):
                gradient[row, k] = mass / total * share[k] - target[row, k]
