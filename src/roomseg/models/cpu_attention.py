"""The numba kernels of ``attention.py``, in float32 on CPUs.

Shapes: qkv (W, T, 3, H, D), bias (H, T, T), out (W, T, H D); T is a multiple of 32, D of 4. Which task sums what
depends on the shapes alone, so results do not depend on the number of threads.

Forward, a tile of queries (``simd_attention.py``) meets all keys. No largest score need be taken off before exp while
the sums stay in float32's range, and the sums show that: only a tile that has left it (or seen NaN) is computed again,
with the largest score of each query taken off. Backward, four queries at a time are in registers; keys and values are
kept transposed, (D, T), so that every inner loop runs along the keys.
"""

from __future__ import annotations

import numpy as np

from roomseg.geometry.cpu_math import exp_f32, fast_part, part, run_tasks, task_kernel
from roomseg.models.simd_attention import (
    BLOCK,
    FIRST_QUERY,
    KEYS,
    LANES,
    QUERIES,
    SHIFTS,
    SUMS,
    add_step,
    load_transposed,
    raise_shifts,
    store_shares,
)

TOKENS_MULTIPLE = 32
WINDOWS = 8  # of a task: their keys and values stay in the second-level cache

ROWS = 8  # queries of a tile of the backward pass
BIAS_GROUPS = 4  # partial sums of the bias gradient for each head

_ZERO = np.float32(0)
_LN2, _LOG2_E = np.float32(np.log(2)), np.float32(1 / np.log(2))
# A sum between them has lost nothing: beside 2^-40 the lowest share, 2^-100, is none; above 2^60 values may overflow.
_SMALLEST_SUM, _LARGEST_SUM = np.float32(2.0**-40), np.float32(2.0**60)


def forward(qkv: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # both float32, C order
    """The output, and the log of the softmax's normaliser (W, H, T)."""
    windows, tokens, _, heads, channels = qkv.shape
    assert tokens % TOKENS_MULTIPLE == 0, qkv.shape
    out = np.empty((windows, tokens, heads * channels), np.float32)
    sums, shifts = (np.empty((windows, heads, tokens), np.float32) for _ in range(2))
    tasks = -(-windows // WINDOWS) * heads * (tokens // QUERIES)
    run_tasks(_forward, tasks, qkv.reshape(-1), qkv.shape, bias.reshape(-1), out.reshape(-1), sums, shifts)
    return out, np.log(sums, out=sums) + shifts


@task_kernel
def _forward(first, end, qkv, shape, bias, out, sums, shifts):  # type: ignore[no-untyped-def]
    windows, tokens, _, heads, channels = shape
    tiles, stride = tokens // QUERIES, 3 * heads * channels
    tile = _aligned((FIRST_QUERY + 2 * channels) * QUERIES).reshape(-1, QUERIES)
    tile_bias = _aligned(tokens * QUERIES)  # (T, QUERIES)
    for task in range(first, end):
        h, i = task // tiles % heads, task % tiles * QUERIES
        _tile_bias(bias, (h * tokens + i) * tokens, tokens, tile_bias)
        group = task // tiles // heads * WINDOWS
        for w in range(group, min(group + WINDOWS, windows)):
            at = w * tokens * stride + h * channels
            _load_queries(qkv, at + i * stride, stride, channels, tile)
            _attend(qkv, at + heads * channels, at + 2 * heads * channels, stride, channels, tokens, tile_bias, tile)
            _store_output(tile, channels, out, (w * tokens + i) * heads * channels + h * channels, heads * channels)
            for n in range(QUERIES):
                sums[w, h, i + n], shifts[w, h, i + n] = tile[SUMS, n], tile[SHIFTS, n] * _LN2


@part
def _aligned(length):  # type: ignore[no-untyped-def]
    """Scratch that begins where a vector's cache line does."""
    scratch = np.empty(length + LANES, np.float32)
    start = -(scratch.ctypes.data // 4) % LANES
    return scratch[start : start + length]


@part
def _tile_bias(bias, at, tokens, tile_bias):  # type: ignore[no-untyped-def]
    """The bias of a tile's queries, transposed, in units of ln 2."""
    for lane in range(0, QUERIES, LANES):
        for j in range(0, tokens, BLOCK):
            load_transposed(bias, at + lane * tokens + j, tokens, _LOG2_E, tile_bias, j * QUERIES + lane)


@part
def _load_queries(qkv, at, stride, channels, tile):  # type: ignore[no-untyped-def]
    scale = _LOG2_E / np.float32(np.sqrt(channels))
    for lane in range(0, QUERIES, LANES):
        for c in range(0, channels, BLOCK):
            load_transposed(qkv, at + lane * stride + c, stride, scale, tile, (FIRST_QUERY + c) * QUERIES + lane)


@part
def _attend(qkv, keys, values, stride, channels, tokens, tile_bias, tile):  # type: ignore[no-untyped-def]
    """Sums, shifts and output of a tile's queries."""
    tile[SHIFTS] = 0
    _add_all(qkv, keys, values, stride, channels, tokens, tile_bias, tile)
    if tile[SUMS].min() >= _SMALLEST_SUM and tile[SUMS].max() <= _LARGEST_SUM:
        return
    tile[SHIFTS] = -np.inf
    for j in range(0, tokens, KEYS):
        raise_shifts(qkv, keys + j * stride, stride, channels, tile_bias, j * QUERIES, tile)
    _add_all(qkv, keys, values, stride, channels, tokens, tile_bias, tile)
    for n in range(QUERIES):
        if tile[SUMS, n] > _LARGEST_SUM:  # no score is larger than the largest: there was a NaN
            tile[SUMS, n] = np.nan


@part
def _add_all(qkv, keys, values, stride, channels, tokens, tile_bias, tile):  # type: ignore[no-untyped-def]
    tile[SUMS] = 0
    tile[FIRST_QUERY + channels :] = 0
    for j in range(0, tokens, KEYS):
        add_step(qkv, keys + j * stride, values + j * stride, stride, channels, tile_bias, j * QUERIES, tile)


@part
def _store_output(tile, channels, out, at, stride):  # type: ignore[no-untyped-def]
    for lane in range(0, QUERIES, LANES):
        for c in range(0, channels, BLOCK):
            store_shares(tile, FIRST_QUERY + channels + c, lane, out, at + lane * stride + c, stride)


def backward(
    qkv: np.ndarray,  # (W, T, 3, H, D) float32, C order, as all arrays here
    bias: np.ndarray,  # (H, T, T)
    out: np.ndarray,  # (W, T, H D)
    normaliser: np.ndarray,  # (W, H, T), log of the softmax's
    gradient: np.ndarray,  # (W, T, H D), of ``out``
) -> tuple[np.ndarray, np.ndarray]:
    """The gradients of qkv and bias."""
    assert qkv.shape[1] % ROWS == qkv.shape[4] % 4 == 0, qkv.shape
    d_qkv = np.empty_like(qkv)
    d_biases = np.zeros((min(BIAS_GROUPS, len(qkv)), *bias.shape), np.float32)
    run_tasks(_backward, len(bias) * len(d_biases), qkv, bias, out, normaliser, gradient, d_qkv, d_biases)
    return d_qkv, d_biases.sum(axis=0)


@task_kernel
def _backward(first, end, qkv, bias, out, normaliser, gradient, d_qkv, d_biases):  # type: ignore[no-untyped-def]
    groups = len(d_biases)
    for task in range(first, end):
        h, group = task // groups, task % groups
        for w in range(group, len(qkv), groups):
            _backward_head(qkv[w], bias[h], out[w], normaliser[w, h], gradient[w], h, d_qkv[w], d_biases[group, h])


@part
def _backward_head(qkv, bias, out, normaliser, gradient, h, d_qkv, d_bias):  # type: ignore[no-untyped-def]
    """One head of one window; writes its part of d_qkv (T, 3, H, D) and adds to d_bias (T, T)."""
    tokens, _, _, channels = qkv.shape
    scale = np.float32(1 / np.sqrt(channels))
    queries, d_out = qkv[:, 0, h] * scale, np.ascontiguousarray(gradient[:, h * channels : (h + 1) * channels])
    keys, values = np.ascontiguousarray(qkv[:, 1, h].T), np.ascontiguousarray(qkv[:, 2, h].T)
    d_keys, d_values = np.zeros_like(keys), np.zeros_like(values)
    probabilities, d_scores = np.empty((ROWS, tokens), np.float32), np.empty((ROWS, tokens), np.float32)
    for i in range(0, tokens, ROWS):
        probabilities[:] = bias[i : i + ROWS]
        d_scores[:] = 0
        _add_products(probabilities, queries[i : i + ROWS], keys)
        _add_products(d_scores, d_out[i : i + ROWS], values)
        for r in range(ROWS):
            shift = _ZERO
            for c in range(channels):
                shift += d_out[i + r, c] * out[i + r, h * channels + c]
            _score_gradient(probabilities[r], d_scores[r], normaliser[i + r], shift, d_bias[i + r])
        _dots(d_qkv[i : i + ROWS, 0, h], keys, d_scores, scale)
        _add_products(d_keys, queries[i : i + ROWS].T, d_scores)
        _add_products(d_values, d_out[i : i + ROWS].T, probabilities)
    d_qkv[:, 1, h] = d_keys.T
    d_qkv[:, 2, h] = d_values.T


@fast_part
def _add_products(totals, factors, rows):  # type: ignore[no-untyped-def]
    """totals[i, j] += sum over c of factors[i, c] rows[c, j]: 4 x 4 factors in registers, so that a load serves 4."""
    for i in range(0, totals.shape[0], 4):
        t0, t1, t2, t3 = totals[i], totals[i + 1], totals[i + 2], totals[i + 3]
        for c in range(0, rows.shape[0], 4):
            a0, a1, a2, a3 = factors[i, c], factors[i, c + 1], factors[i, c + 2], factors[i, c + 3]
            b0, b1, b2, b3 = factors[i + 1, c], factors[i + 1, c + 1], factors[i + 1, c + 2], factors[i + 1, c + 3]
            e0, e1, e2, e3 = factors[i + 2, c], factors[i + 2, c + 1], factors[i + 2, c + 2], factors[i + 2, c + 3]
            f0, f1, f2, f3 = factors[i + 3, c], factors[i + 3, c + 1], factors[i + 3, c + 2], factors[i + 3, c + 3]
            r0, r1, r2, r3 = rows[c], rows[c + 1], rows[c + 2], rows[c + 3]
            for j in range(totals.shape[1]):
                x0, x1, x2, x3 = r0[j], r1[j], r2[j], r3[j]
                t0[j] += a0 * x0 + a1 * x1 + a2 * x2 + a3 * x3
                t1[j] += b0 * x0 + b1 * x1 + b2 * x2 + b3 * x3
                t2[j] += e0 * x0 + e1 * x1 + e2 * x2 + e3 * x3
                t3[j] += f0 * x0 + f1 * x1 + f2 * x2 + f3 * x3


@fast_part
def _dots(out, rows, factors, scale):  # type: ignore[no-untyped-def]
    """out[i, c] = scale * (rows[c] . factors[i]), 2 x 4 sums in registers."""
    for i in range(0, factors.shape[0], 2):
        s, t = factors[i], factors[i + 1]
        for c in range(0, rows.shape[0], 4):
            r0, r1, r2, r3 = rows[c], rows[c + 1], rows[c + 2], rows[c + 3]
            s0, s1, s2, s3 = _ZERO, _ZERO, _ZERO, _ZERO
            t0, t1, t2, t3 = _ZERO, _ZERO, _ZERO, _ZERO
            for j in range(factors.shape[1]):
                x0, x1, x2, x3 = r0[j], r1[j], r2[j], r3[j]
                s0 += s[j] * x0
                s1 += s[j] * x1
                s2 += s[j] * x2
                s3 += s[j] * x3
                t0 += t[j] * x0
                t1 += t[j] * x1
                t2 += t[j] * x2
                t3 += t[j] * x3
            out[i, c], out[i, c + 1], out[i, c + 2], out[i, c + 3] = s0 * scale, s1 * scale, s2 * scale, s3 * scale
            out[i + 1, c], out[i + 1, c + 1], out[i + 1, c + 2] = t0 * scale, t1 * scale, t2 * scale
            out[i + 1, c + 3] = t3 * scale


@fast_part
def _score_gradient(probabilities, d_scores, normaliser, shift, d_bias):  # type: ignore[no-untyped-def]
    """One query's row: scores become probabilities, d_scores the scores' gradient, which is added to d_bias."""
    for j in range(len(probabilities)):
        p = exp_f32(probabilities[j] - normaliser)
        probabilities[j] = p
        d_scores[j] = p * (d_scores[j] - shift)
        d_bias[j] += d_scores[j]
