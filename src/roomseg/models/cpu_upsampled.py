"""numba kernels of ``upsampled.py`` for float32 on CPUs: one row of voxels along Z at a time, everything in cache.

A row of logits is (K, 8 (Zc + 1)): it starts half a cell before the volume, so that each run of eight voxels lies
between the same two cells and the taps are constants; ``row[:, 4 : 4 + Z]`` is the volume's. Threads share nothing:
each layer of voxels between two planes of cells has its own partial gradients, summed in a fixed order, so the result
does not depend on their number. Names: Xc, Yc, Zc are sizes in cells, a gap t lies between the cells t - 1 and t.
The volume may end before the cells do (a room before it was padded): X <= 8 Xc, and so on.
"""

from __future__ import annotations

import numpy as np

from roomseg.geometry.cpu_math import exp_f32, fast_part, fast_task_kernel, run_tasks

SCALE = 8
HALF = SCALE // 2
_TAPS = ((np.arange(SCALE) + 0.5) / SCALE).astype(np.float32)  # weight of the upper cell


def logits(
    coarse: np.ndarray,  # (B, K, Xc, Yc, Zc) float32, C order, as all arrays here
    x: np.ndarray,  # (B, 4, X, Y, Z) float32
    weight: np.ndarray,  # (K, 4) float32
    bias: np.ndarray,  # (K,) float32
) -> np.ndarray:  # (B, K, X, Y, Z) float32
    out = np.empty((x.shape[0], len(bias), *x.shape[2:]), np.float32)
    run_tasks(_logits, _tasks(coarse), coarse, x, weight, bias, out)
    return out


def labels(
    coarse: np.ndarray,  # (B, K, Xc, Yc, Zc) float32
    x: np.ndarray,  # (B, 4, X, Y, Z) float32
    weight: np.ndarray,  # (K, 4) float32
    bias: np.ndarray,  # (K,) float32
) -> np.ndarray:  # (B, X, Y, Z) uint8
    out = np.empty((x.shape[0], *x.shape[2:]), np.uint8)
    run_tasks(_labels, _tasks(coarse), coarse, x, weight, bias, out)
    return out


def cross_entropy(
    coarse: np.ndarray,  # (B, K, Xc, Yc, Zc) float32
    x: np.ndarray,  # (B, 4, X, Y, Z) float32
    weight: np.ndarray,  # (K, 4) float32
    bias: np.ndarray,  # (K,) float32
    target: np.ndarray,  # (B, X, Y, Z) uint8, below K
    class_weight: np.ndarray,  # (K,) float32
) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """The weighted mean and its gradients of coarse, weight and bias."""
    batch, classes, cells = coarse.shape[0], coarse.shape[1], coarse.shape[2]
    d_gaps = np.zeros((batch, cells + 1, 2, classes, *coarse.shape[3:]), np.float32)  # to the cells t - 1 and t
    d_heads = np.zeros((batch, cells + 1, classes, x.shape[1] + 1))  # columns of weight, then bias
    losses = np.zeros((batch, cells + 1))
    given = (coarse, x, weight, bias, target, class_weight, d_gaps, d_heads, losses)
    run_tasks(_cross_entropy, _tasks(coarse), *given)
    total = float(class_weight.astype(np.float64) @ np.bincount(target.reshape(-1), minlength=classes))
    d_gaps /= np.float32(total)
    d_coarse = np.empty_like(coarse)
    for cell in range(cells):
        d_coarse[:, :, cell] = d_gaps[:, cell, 1] + d_gaps[:, cell + 1, 0]
    d_coarse[:, :, 0] += d_gaps[:, 0, 0]  # the outermost gaps have the same cell on both sides
    d_coarse[:, :, -1] += d_gaps[:, -1, 1]
    d_head = (d_heads.sum(axis=(0, 1)) / total).astype(np.float32)
    return losses.sum() / total, d_coarse, np.ascontiguousarray(d_head[:, :-1]), np.ascontiguousarray(d_head[:, -1])


def _tasks(coarse: np.ndarray) -> int:  # (B, K, Xc, Yc, Zc)
    """A gap of a volume is a task."""
    return coarse.shape[0] * (coarse.shape[2] + 1)


@fast_task_kernel
def _logits(first, end, coarse, x, weight, bias, out):  # type: ignore[no-untyped-def]
    classes, cells = coarse.shape[1], coarse.shape[2]
    size_x, size_y, size_z = x.shape[2:]
    for task in range(first, end):
        b, gap = task // (cells + 1), task % (cells + 1)
        line = np.empty((classes, coarse.shape[4] + 2), np.float32)
        row = np.empty((classes, SCALE * (coarse.shape[4] + 1)), np.float32)
        for i in range(max(0, gap * SCALE - HALF), min(size_x, gap * SCALE + HALF)):
            for j in range(size_y):
                _fill_row(coarse[b], x[b], weight, bias, i, j, line, row)
                out[b, :, i, j] = row[:, HALF : HALF + size_z]


@fast_task_kernel
def _labels(first, end, coarse, x, weight, bias, out):  # type: ignore[no-untyped-def]
    classes, cells = coarse.shape[1], coarse.shape[2]
    size_x, size_y, size_z = x.shape[2:]
    for task in range(first, end):
        b, gap = task // (cells + 1), task % (cells + 1)
        line = np.empty((classes, coarse.shape[4] + 2), np.float32)
        row = np.empty((classes, SCALE * (coarse.shape[4] + 1)), np.float32)
        best = np.empty(size_z, np.float32)
        for i in range(max(0, gap * SCALE - HALF), min(size_x, gap * SCALE + HALF)):
            for j in range(size_y):
                _fill_row(coarse[b], x[b], weight, bias, i, j, line, row)
                best[:] = row[0, HALF : HALF + size_z]
                out[b, i, j] = 0
                for k in range(1, classes):
                    for z in range(size_z):
                        if row[k, HALF + z] > best[z]:
                            best[z] = row[k, HALF + z]
                            out[b, i, j, z] = k


@fast_task_kernel
def _cross_entropy(first, end, coarse, x, weight, bias, target, class_weight, d_gaps, d_heads, losses):  # type: ignore[no-untyped-def]
    classes, cells = coarse.shape[1], coarse.shape[2]
    size_x, size_y, size_z = x.shape[2:]
    for task in range(first, end):
        b, gap = task // (cells + 1), task % (cells + 1)
        line = np.empty((classes, coarse.shape[4] + 2), np.float32)
        row = np.zeros((classes, SCALE * (coarse.shape[4] + 1)), np.float32)
        top = np.empty(size_z, np.float32)
        for i in range(max(0, gap * SCALE - HALF), min(size_x, gap * SCALE + HALF)):
            for j in range(size_y):
                _fill_row(coarse[b], x[b], weight, bias, i, j, line, row)
                losses[b, gap] += _row_loss(row, target[b, i, j], class_weight, top)
                _row_head_gradient(row, x[b], i, j, d_heads[b, gap])
                _row_gap_gradient(row, i, j, line, d_gaps[b, gap])


@fast_part
def _fill_row(coarse, x, weight, bias, i, j, line, row):  # type: ignore[no-untyped-def]
    """The logits of the voxels (i, j, :), with garbage in the half cells before and after."""
    classes, cells_z = coarse.shape[0], coarse.shape[3]
    size_z = x.shape[3]
    c0, c1, c2, c3 = x[0, i, j], x[1, i, j], x[2, i, j], x[3, i, j]
    x0, x1, wx = _axis_taps(i, coarse.shape[1])
    y0, y1, wy = _axis_taps(j, coarse.shape[2])
    one = np.float32(1)
    w00, w01, w10, w11 = (one - wx) * (one - wy), (one - wx) * wy, wx * (one - wy), wx * wy
    for k in range(classes):
        for m in range(cells_z):
            line[k, m + 1] = (
                w00 * coarse[k, x0, y0, m]
                + w01 * coarse[k, x0, y1, m]
                + w10 * coarse[k, x1, y0, m]
                + w11 * coarse[k, x1, y1, m]
            )
        line[k, 0] = line[k, 1]
        line[k, cells_z + 1] = line[k, cells_z]
        for m in range(cells_z + 1):
            low, rise = line[k, m] + bias[k], line[k, m + 1] - line[k, m]
            for p in range(SCALE):
                row[k, m * SCALE + p] = low + rise * _TAPS[p]
        logits = row[k, HALF : HALF + size_z]
        v0, v1, v2, v3 = weight[k, 0], weight[k, 1], weight[k, 2], weight[k, 3]
        for z in range(size_z):
            logits[z] += v0 * c0[z] + v1 * c1[z] + v2 * c2[z] + v3 * c3[z]


@fast_part
def _row_loss(row, target, class_weight, top):  # type: ignore[no-untyped-def]
    """The row's summed loss; the logits in ``row`` are replaced by their gradients, the half cells by zeros."""
    classes, size_z = row.shape[0], len(top)
    top[:] = row[0, HALF : HALF + size_z]
    for k in range(1, classes):
        logits = row[k, HALF : HALF + size_z]
        for z in range(size_z):
            top[z] = max(top[z], logits[z])
    loss = 0.0
    for z in range(size_z):
        loss -= class_weight[target[z]] * (row[target[z], HALF + z] - top[z])
    total = np.zeros(size_z, np.float32)
    for k in range(classes):
        logits = row[k, HALF : HALF + size_z]
        for z in range(size_z):
            e = exp_f32(logits[z] - top[z])
            logits[z] = e
            total[z] += e
    for z in range(size_z):
        loss += class_weight[target[z]] * np.log(total[z])
        total[z] = class_weight[target[z]] / total[z]
    for k in range(classes):
        row[k, :HALF] = 0
        row[k, HALF + size_z :] = 0
        shares = row[k, HALF : HALF + size_z]
        for z in range(size_z):
            shares[z] *= total[z]
    for z in range(size_z):
        row[target[z], HALF + z] -= class_weight[target[z]]
    return loss


@fast_part
def _row_head_gradient(row, x, i, j, d_head):  # type: ignore[no-untyped-def]
    x0, x1, x2, x3 = x[0, i, j], x[1, i, j], x[2, i, j], x[3, i, j]
    for k in range(row.shape[0]):
        values = row[k, HALF : HALF + len(x0)]
        g0, g1, g2, g3, g = np.float32(0), np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for z in range(len(x0)):
            g0 += values[z] * x0[z]
            g1 += values[z] * x1[z]
            g2 += values[z] * x2[z]
            g3 += values[z] * x3[z]
            g += values[z]
        d_head[k, 0] += g0
        d_head[k, 1] += g1
        d_head[k, 2] += g2
        d_head[k, 3] += g3
        d_head[k, 4] += g


@fast_part
def _row_gap_gradient(row, i, j, line, d_gap):  # type: ignore[no-untyped-def]
    """Add the row's gradient, taken back along Z, Y and X, to the planes of cells below and above the gap."""
    cells_z = d_gap.shape[3]
    _, _, wx = _axis_taps(i, 1)
    y0, y1, wy = _axis_taps(j, d_gap.shape[2])
    one = np.float32(1)
    for k in range(row.shape[0]):
        line[k, :] = 0
        for m in range(cells_z + 1):
            low, high = np.float32(0), np.float32(0)
            for p in range(SCALE):
                high += row[k, m * SCALE + p] * _TAPS[p]
                low += row[k, m * SCALE + p]
            line[k, m] += low - high
            line[k, m + 1] += high
        line[k, 1] += line[k, 0]
        line[k, cells_z] += line[k, cells_z + 1]
        for m in range(cells_z):
            g = line[k, m + 1]
            d_gap[0, k, y0, m] += (one - wx) * (one - wy) * g
            d_gap[0, k, y1, m] += (one - wx) * wy * g
            d_gap[1, k, y0, m] += wx * (one - wy) * g
            d_gap[1, k, y1, m] += wx * wy * g


@fast_part
def _axis_taps(voxel, cells):  # type: ignore[no-untyped-def]
    """The cells below and above a voxel (the same one at the ends) and the upper one's weight."""
    upper = (voxel + HALF) // SCALE
    weight = _TAPS[(voxel + HALF) % SCALE]
    return max(upper - 1, 0), min(upper, cells - 1), weight
