"""The numba kernels of ``attention.py``, in float32 on CPUs.

Shapes: qkv (W, T, 3, H, D), bias (H, T, T), out (W, T, H D); T is a multiple of 32, D of 4. Which task sums what
depends on the shapes alone, so results do not depend on the number of threads.

Forward, a tile of queries (``simd_attention.py``) meets all keys. No largest score need be taken off before exp while
the sums stay in float32's range, and the sums show that: only a tile that has left it (or seen NaN) is computed again,
with the largest score of each query taken off. Backward, a tile of keys (``simd_attention_backward.py``) meets all
queries, and the attention is computed again from the normaliser.
"""

from __future__ import annotations

import numpy as np

from roomseg.geometry.cpu_math import part, run_tasks, task_kernel
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
from roomseg.models.simd_attention_backward import QUERY_STEP, add_query_gradient, backward_step

TOKENS_MULTIPLE = 32
WINDOWS = 8  # of a task: their keys and values stay in the second-level cache
BIAS_GROUPS = 4  # partial sums of the bias gradient for each head

_ZERO = np.float32(0)
_LN2, _LOG2_E = np.float32(np.log(2)), np.float32(1 / np.log(2))
# A sum between them has lost nothing: beside 2^-40 the lowest share, 2^-100, is none; above 2^60 values may overflow.
_SMALLEST_SUM, _LARGEST_SUM = np.float32(2.0**-40), np.float32(2.0**60)


def forward(qkv: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # both float32, C order
    """The output, and the log of the softmax's normaliser (W, H, T)."""
    windows, tokens, _, heads, channels = qkv.shape
    assert tokens % TOKENS_MULTIPLE == channels % BLOCK == 0, qkv.shape
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
    windows, tokens, _, heads, channels = qkv.shape
    assert tokens % TOKENS_MULTIPLE == channels % BLOCK == 0, qkv.shape
    d_qkv = np.empty_like(qkv)
    d_biases = np.zeros((min(BIAS_GROUPS, windows), *bias.shape), np.float32)
    bias, sums = (bias * _LOG2_E).reshape(heads, -1), d_biases.reshape(-1, heads, tokens**2)
    run_tasks(_backward, heads * len(sums), qkv, bias, out, normaliser, gradient, d_qkv, sums)
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
    """One head of one window; writes its part of d_qkv (T, 3, H, D) and adds to d_bias (T T)."""
    tokens, _, _, channels = qkv.shape
    width = -(-channels // LANES) * LANES
    queries, d_out = _aligned(tokens * channels), _aligned(tokens * channels)  # (T, D) each
    keys, d_queries = _aligned(tokens * width), _aligned(tokens * width)  # (T, width) each
    less, shift = np.empty(tokens, np.float32), np.empty(tokens, np.float32)
    _gather_head(qkv, out, normaliser, gradient, h, width, queries, d_out, keys, less, shift)
    tile = _aligned(4 * channels * LANES).reshape(4, -1)  # keys, values and their gradients, each (D, LANES)
    d_scores = _aligned(QUERY_STEP * LANES)
    d_queries[:] = 0
    for j in range(0, tokens, LANES):
        tile[2:] = 0
        for c in range(channels):
            for lane in range(LANES):
                tile[0, c * LANES + lane], tile[1, c * LANES + lane] = qkv[j + lane, 1, h, c], qkv[j + lane, 2, h, c]
        for i in range(0, tokens, QUERY_STEP):
            at = i * tokens + j
            backward_step(queries, d_out, i, channels, tile, bias, d_bias, at, tokens, less, shift, d_scores)
            add_query_gradient(d_scores, keys, j, width, d_queries, i)
        for lane in range(LANES):
            for c in range(channels):
                d_qkv[j + lane, 1, h, c] = tile[2, c * LANES + lane] * _LN2
                d_qkv[j + lane, 2, h, c] = tile[3, c * LANES + lane]
    scale = np.float32(1 / np.sqrt(channels))
    for i in range(tokens):
        for c in range(channels):
            d_qkv[i, 0, h, c] = d_queries[i * width + c] * scale


@part
def _gather_head(qkv, out, normaliser, gradient, h, width, queries, d_out, keys, less, shift):  # type: ignore[no-untyped-def]
    """A head's rows, one after another. ``less`` is what is taken off scores, ``shift`` added to their gradients."""
    tokens, _, _, channels = qkv.shape
    scale = _LOG2_E / np.float32(np.sqrt(channels))
    keys[:] = 0
    for i in range(tokens):
        product = _ZERO
        for c in range(channels):
            d = gradient[i, h * channels + c]
            product += d * out[i, h * channels + c]
            d_out[i * channels + c] = d
            queries[i * channels + c] = qkv[i, 0, h, c] * scale
            keys[i * width + c] = qkv[i, 1, h, c]
        less[i], shift[i] = normaliser[i] * _LOG2_E, -product
