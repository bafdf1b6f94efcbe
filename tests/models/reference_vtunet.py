"""The VT-UNet's blocks written down step by step, slowly: padded and rolled grids, masks, materialised attention.

Works on a block's own state dict; h and z are grids (B, n0, n1, n2, C).
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW, SHIFT = 7, 3
State = dict[str, Tensor]
Attended = tuple[Tensor, Tensor, Tensor]  # output (B, n0, n1, n2, C), keys and values (B, W, heads, N, d)


def reference_encoder_block(state: State, h: Tensor, heads: int, shifted: bool) -> Attended:
    attended, keys, values = _attention(state, _norm(state, "norm1.", h), heads, shifted)
    h = h + attended
    return h + _mlp(state, h), keys, values


def reference_decoder_block(state: State, z: Tensor, heads: int, shifted: bool, keys: Tensor, values: Tensor) -> Tensor:
    h = _norm(state, "norm1.", z)
    y1 = z + _attention(state, h, heads, shifted)[0]
    y1 = y1 + _mlp(state, y1)
    y2 = z + _attention(state, h, heads, shifted, keys, values)[0]
    y2 = y2 + _mlp(state, y2)
    encoding = reference_position_encoding(tuple(z.shape[1:])).to(z.dtype)
    return 0.7 * y1 + 0.3 * y2 + _mlp(state, encoding)


def reference_position_encoding(shape: tuple[int, ...]) -> Tensor:  # (n0, n1, n2, C) float64
    n0, n1, n2, width = shape
    m = 2 * math.ceil(width / 6)
    frequencies = [10000 ** (-2 * t / m) for t in range(m // 2)]

    def of(place: int) -> list[float]:
        return [math.sin(place * f) for f in frequencies] + [math.cos(place * f) for f in frequencies]

    rows = [(of(a) + of(b) + of(c))[:width] for a, b, c in itertools.product(range(n0), range(n1), range(n2))]
    return torch.tensor(rows, dtype=torch.float64).reshape(shape)


def _attention(
    state: State, h: Tensor, heads: int, shifted: bool, keys: Tensor | None = None, values: Tensor | None = None
) -> Attended:
    sizes = h.shape[1:4]
    window = [min(n, WINDOW) for n in sizes]
    shifts = [SHIFT if shifted and n > WINDOW else 0 for n in sizes]
    padded = [math.ceil(n / w) * w for n, w in zip(sizes, window, strict=True)]
    grid = h.new_zeros(len(h), *padded, h.shape[4])
    grid[:, : sizes[0], : sizes[1], : sizes[2]] = h
    grid = torch.roll(grid, [-s for s in shifts], dims=(1, 2, 3))
    windows = _windows(grid, window)
    q, k, v = _linear(state, "attn.qkv.", windows).unflatten(-1, (3, heads, -1)).permute(3, 0, 1, 4, 2, 5)
    q = q * q.shape[-1] ** -0.5
    if keys is None or values is None:
        logits = q @ k.transpose(-1, -2)
        seen = v
    else:
        logits = q * q.shape[-1] ** -0.5 @ keys.transpose(-1, -2)
        seen = values
    logits = logits + _bias(state["attn.relative_position_bias_table"], windows.shape[2])
    logits = logits + _mask(padded, window, shifts)[:, None].to(h.dtype)
    out = (logits.softmax(-1) @ seen).transpose(2, 3).flatten(3)
    out = _unwindow(_linear(state, "attn.proj.", out), padded, window)
    out = torch.roll(out, shifts, dims=(1, 2, 3))
    return out[:, : sizes[0], : sizes[1], : sizes[2]], k, v


def _windows(grid: Tensor, window: list[int]) -> Tensor:  # (B, P0, P1, P2, C) -> (B, W, N, C)
    w0, w1, w2 = window
    corners = itertools.product(*(range(0, n, w) for n, w in zip(grid.shape[1:4], window, strict=True)))
    cut = [grid[:, a : a + w0, b : b + w1, c : c + w2].flatten(1, 3) for a, b, c in corners]
    return torch.stack(cut, dim=1)


def _unwindow(windows: Tensor, padded: list[int], window: list[int]) -> Tensor:
    w0, w1, w2 = window
    grid = windows.new_zeros(len(windows), *padded, windows.shape[3])
    corners = itertools.product(*(range(0, n, w) for n, w in zip(padded, window, strict=True)))
    for i, (a, b, c) in enumerate(corners):
        grid[:, a : a + w0, b : b + w1, c : c + w2] = windows[:, i].unflatten(1, window)
    return grid


def _bias(table: Tensor, tokens: int) -> Tensor:  # (heads, tokens, tokens)
    place = [(r // 49, r // 7 % 7, r % 7) for r in range(tokens)]  # base 7 whatever the window
    rows = [((a - d + 6) * 13 + (b - e + 6)) * 13 + (c - f + 6) for a, b, c in place for d, e, f in place]
    return table[rows].reshape(tokens, tokens, -1).permute(2, 0, 1)


def _mask(padded: list[int], window: list[int], shifts: list[int]) -> Tensor:  # (W, N, N)
    region = torch.zeros(1, *padded, 1)
    for axis, (n, w, shift) in enumerate(zip(padded, window, shifts, strict=True)):
        if shift:
            ranks = torch.zeros(n)
            ranks[n - w : n - shift], ranks[n - shift :] = 1, 2
            region = region * 3 + ranks.view(*(-1 if axis + 1 == dim else 1 for dim in range(5)))
    of_token = _windows(region, window)[0, :, :, 0]  # (W, N)
    return (of_token[:, :, None] != of_token[:, None, :]) * -100.0


def _mlp(state: State, h: Tensor) -> Tensor:
    return _linear(state, "mlp.fc2.", F.gelu(_linear(state, "mlp.fc1.", _norm(state, "norm2.", h))))


def _norm(state: State, name: str, h: Tensor) -> Tensor:
    return F.layer_norm(h, h.shape[-1:], state[f"{name}weight"], state[f"{name}bias"], eps=1e-5)


def _linear(state: State, name: str, h: Tensor) -> Tensor:
    return F.linear(h, state[f"{name}weight"], state[f"{name}bias"])
