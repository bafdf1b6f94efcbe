"""The collapsed loss on CPUs: value and gradient in one pass over the voxels' rows, a block of them in cache."""

from __future__ import annotations

import numpy as np

from roomseg.geometry.cpu_math import exp_f32, fast_task_kernel, run_tasks

MOST_SPREAD = 80.0  # of logits over tau, from the least to the greatest: exponentials of all of them fit into float32
_ROWS = 64  # to a block


def cross_entropy(
    logits: np.ndarray,  # (V, K) float32, C order
    target: np.ndarray,  # (V, K) float32, C order, at least 0
    tau: float,
    greatest: float,  # of the logits, none of which is more than tau x MOST_SPREAD below it
) -> tuple[float, np.ndarray]:
    """- sum_v <target_v, log softmax(logits_v / tau)>, and the gradient (V, K) of tau^2 times it.

    The rows' values are summed in their order, so nothing depends on the number of threads.
    """
    values, gradient = np.empty(len(logits)), np.empty_like(logits)
    blocks = -(-len(logits) // _ROWS)
    run_tasks(_blocks, blocks, logits, target, np.float32(tau), np.float32(greatest), values, gradient)
    return float(values.sum()), gradient


@fast_task_kernel
def _blocks(first_block, end_block, logits, target, tau, greatest, values, gradient):  # type: ignore[no-untyped-def]
    rows, classes = logits.shape
    scale = np.float32(1) / tau
    for block in range(first_block, end_block):
        first, last = block * _ROWS, min(block * _ROWS + _ROWS, rows)
        flat, shares = logits[first:last].reshape(-1), gradient[first:last].reshape(-1)
        for n in range(len(flat)):
            shares[n] = exp_f32((flat[n] - greatest) * scale)
        for row in range(first, last):
            share, wanted, logit = gradient[row], target[row], logits[row]
            total, mass, product = np.float32(0), np.float32(0), np.float32(0)
            for k in range(classes):
                total += share[k]
            for k in range(classes):
                mass += wanted[k]
            for k in range(classes):
                product += wanted[k] * (logit[k] - greatest)
            values[row] = np.float64(mass) * np.log(np.float64(total)) - np.float64(product) * scale
            factor = tau * mass / total
            for k in range(classes):
                share[k] = factor * share[k] - tau * wanted[k]
