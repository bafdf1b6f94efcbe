"""numba kernels of ``attention.py`` for float32 on CPUs: eight queries at a time against all keys of a window.

Shapes: qkv (W, T, 3, H, D), bias (H, T, T), out (W, T, H D); D and T are multiples of 8. Keys and values are kept
transposed, (D, T), so that every inner loop runs along the keys. Which task sums what depends on the shapes alone, so
results do not depend on the number of threads.
"""

from __future__ import annotations

import numba
import numpy as np

from roomseg.geometry.cpu_math import exp_f32, fast_part, part

ROWS = 8  # queries of a tile
BIAS_GROUPS = 4  # partial sums of the bias gradient for each head


def forward(qkv: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The output and the log of the softmax's normaliser (W, H, T)."""
    windows, tokens, _, heads, channels = qkv.shape
    assert tokens % ROWS == channels % ROWS == 0, qkv.shape
    out = np.empty((windows, tokens, heads * channels), np.float32)
    normaliser = np.empty((windows, heads, tokens), np.float32)
    _forward(qkv, bias, out, normaliser)
    return out, normaliser


def backward(
    qkv: np.ndarray, bias: np.ndarray, out: np.ndarray, normaliser: np.ndarray, gradient: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The gradients of qkv and bias; ``gradient`` is that of ``out``."""
    d_qkv = np.empty_like(qkv)
    d_biases = np.zeros((min(BIAS_GROUPS, len(qkv)), *bias.shape), np.float32)
    _backward(qkv, bias, out, normaliser, gradient, d_qkv, d_biases)
    return d_qkv, d_biases.sum(axis=0)


@numba.njit(parallel=True, cache=True)
def _forward(qkv, bias, out, normaliser):  # type: ignore[no-untyped-def]
    heads = qkv.shape[3]
    for task in numba.prange(len(qkv) * heads):
        w, h = task // heads, task % heads
        _forward_head(qkv[w], bias[h], out[w], normaliser[w, h], h)


@numba.njit(parallel=True, cache=True)
def _backward(qkv, bias, out, normaliser, gradient, d_qkv, d_biases):  # type: ignore[no-untyped-def]
    groups = len(d_biases)
    for task in numba.prange(len(bias) * groups):
        h, group = task // groups, task % groups
        for w in range(group, len(qkv), groups):
            _backward_head(qkv[w], bias[h], out[w], normaliser[w, h], gradient[w], h, d_qkv[w], d_biases[group, h])


@part
def _forward_head(qkv, bias, out, normaliser, h):  # type: ignore[no-untyped-def]
    """One head of one window: qkv (T, 3, H, D), bias (T, T), out (T, H D), normaliser (T,)."""
    tokens, _, _, channels = qkv.shape
    queries = _scaled(qkv[:, 0, h])
    keys, values = _transposed(qkv[:, 1, h]), _transposed(qkv[:, 2, h])
    scores = np.empty((ROWS, tokens), np.float32)
    for i in range(0, tokens, ROWS):
        for r in range(ROWS):
            scores[r] = bias[i + r]
            _add_combination(scores[r], queries[i + r], keys)
            total, top = _exponentiate(scores[r])
            normaliser[i + r] = top + np.log(total)
            _dot_rows(out[i + r, h * channels : (h + 1) * channels], values, scores[r], np.float32(1) / total)


@part
def _backward_head(qkv, bias, out, normaliser, gradient, h, d_qkv, d_bias):  # type: ignore[no-untyped-def]
    """As ``_forward_head``; writes this head's part of d_qkv and adds to d_bias (T, T)."""
    tokens, _, _, channels = qkv.shape
    scale = np.float32(1 / np.sqrt(channels))
    queries, d_out = _scaled(qkv[:, 0, h]), np.ascontiguousarray(gradient[:, h * channels : (h + 1) * channels])
    keys, values = _transposed(qkv[:, 1, h]), _transposed(qkv[:, 2, h])
    d_keys, d_values = np.zeros_like(keys), np.zeros_like(values)
    probabilities, d_scores = np.empty((ROWS, tokens), np.float32), np.empty((ROWS, tokens), np.float32)
    for i in range(0, tokens, ROWS):
        for r in range(ROWS):
            shift = np.float32(0)
            for c in range(channels):
                shift += d_out[i + r, c] * out[i + r, h * channels + c]
            probabilities[r] = bias[i + r]
            _add_combination(probabilities[r], queries[i + r], keys)
            d_scores[r] = 0
            _add_combination(d_scores[r], d_out[i + r], values)
            _score_gradient(probabilities[r], d_scores[r], normaliser[i + r], shift, d_bias[i + r])
            _dot_rows(d_qkv[i + r, 0, h], keys, d_scores[r], scale)
        for c in range(channels):
            _add_combination(d_keys[c], queries[i : i + ROWS, c], d_scores)
            _add_combination(d_values[c], d_out[i : i + ROWS, c], probabilities)
    d_qkv[:, 1, h] = d_keys.T
    d_qkv[:, 2, h] = d_values.T


@part
def _scaled(queries):  # type: ignore[no-untyped-def]
    return queries * np.float32(1 / np.sqrt(queries.shape[1]))


@part
def _transposed(rows):  # type: ignore[no-untyped-def]
    return np.ascontiguousarray(rows.T)


@fast_part
def _add_combination(total, factors, rows):  # type: ignore[no-untyped-def]
    """total[j] += sum over c of factors[c] rows[c, j], eight rows in one pass."""
    for c in range(0, rows.shape[0], 8):
        f0, f1, f2, f3 = factors[c], factors[c + 1], factors[c + 2], factors[c + 3]
        f4, f5, f6, f7 = factors[c + 4], factors[c + 5], factors[c + 6], factors[c + 7]
        r0, r1, r2, r3 = rows[c], rows[c + 1], rows[c + 2], rows[c + 3]
        r4, r5, r6, r7 = rows[c + 4], rows[c + 5], rows[c + 6], rows[c + 7]
        for j in range(len(total)):
            low = f0 * r0[j] + f1 * r1[j] + f2 * r2[j] + f3 * r3[j]
            total[j] += low + (f4 * r4[j] + f5 * r5[j] + f6 * r6[j] + f7 * r7[j])


@fast_part
def _dot_rows(out, rows, factors, scale):  # type: ignore[no-untyped-def]
    """out[c] = scale * (rows[c] . factors), four rows in one pass."""
    for c in range(0, rows.shape[0], 4):
        r0, r1, r2, r3 = rows[c], rows[c + 1], rows[c + 2], rows[c + 3]
        s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for j in range(len(factors)):
            s0 += factors[j] * r0[j]
            s1 += factors[j] * r1[j]
            s2 += factors[j] * r2[j]
            s3 += factors[j] * r3[j]
        out[c], out[c + 1], out[c + 2], out[c + 3] = s0 * scale, s1 * scale, s2 * scale, s3 * scale


@fast_part
def _exponentiate(row):  # type: ignore[no-untyped-def]
    """Scores (T,) become exp(score - greatest); returns their sum and the greatest."""
    top = _greatest(row)
    total = np.float32(0)
    for j in range(len(row)):
        row[j] = exp_f32(row[j] - top)
        total += row[j]
    return total, top


@part
def _greatest(row):  # type: ignore[no-untyped-def]
    """The greatest of a row whose length is a multiple of 8; four running maxima hide the latency of one."""
    n = len(row) // 8
    a0, a1, a2, a3 = row[:n], row[n : 2 * n], row[2 * n : 3 * n], row[3 * n : 4 * n]
    b0, b1, b2, b3 = row[4 * n : 5 * n], row[5 * n : 6 * n], row[6 * n : 7 * n], row[7 * n :]
    t0, t1, t2, t3 = a0[0], a1[0], a2[0], a3[0]
    for j in range(n):
        t0, t1 = max(t0, max(a0[j], b0[j])), max(t1, max(a1[j], b1[j]))
        t2, t3 = max(t2, max(a2[j], b2[j])), max(t3, max(a3[j], b3[j]))
    return max(max(t0, t1), max(t2, t3))


@fast_part
def _score_gradient(probabilities, d_scores, normaliser, shift, d_bias):  # type: ignore[no-untyped-def]
    """One query's row: scores become probabilities, d_scores the scores' gradient, which is added to d_bias."""
    for j in range(len(probabilities)):
        p = exp_f32(probabilities[j] - normaliser)
        probabilities[j] = p
        d_scores[j] = p * (d_scores[j] - shift)
        d_bias[j] += d_scores[j]
