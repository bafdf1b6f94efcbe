"""The student as the published operations go, one after another, in plain torch: the peer of benchmarks and of tests.

Rolled windows with masks, materialised attention, the full-resolution volume of logits and input. What depends on
shapes alone (index of the bias, masks) is kept between calls. Works on a student's own state dict, in eval mode or with
drop path 0; sizes must be multiples of 64 voxels.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW, SHIFT = 8, 4
TOKENS = WINDOW**3  # of a window
State = Mapping[str, Tensor]
Sizes = tuple[int, int, int]


def plain_student(state: State, x: Tensor, depths: tuple[int, int], heads: tuple[int, int]) -> Tensor:
    """Logits (B, K, X, Y, Z) of a volume (B, 4, X, Y, Z)."""
    swin = "encoder.patch_embed."
    h = F.conv3d(x, state[f"{swin}patch_embed.proj.weight"], state[f"{swin}patch_embed.proj.bias"], stride=4)
    h = h.permute(0, 2, 3, 4, 1).contiguous()  # channels last
    for stage in range(2):
        for i in range(depths[stage]):
            h = _block(state, f"{swin}layers.{stage}.blocks.{i}.", h, heads[stage], SHIFT if i % 2 else 0)
        if stage == 0:
            h = _merge(state, f"{swin}layers.0.downsample.", h)
    h = _norm(state, "encoder.norm.", _norm(state, f"{swin}norm.", h))
    coarse = _linear(state, "decoder.head.", h).permute(0, 4, 1, 2, 3)
    up = F.interpolate(coarse, size=x.shape[2:], mode="trilinear", align_corners=False)
    joined = torch.cat([up, x], dim=1).permute(0, 2, 3, 4, 1)
    return _linear(state, "output.", joined).permute(0, 4, 1, 2, 3)


def _block(state: State, name: str, h: Tensor, heads: int, shift: int) -> Tensor:
    h = h + _window_attention(state, f"{name}attn.", _norm(state, f"{name}norm1.", h), heads, shift)
    hidden = F.gelu(_linear(state, f"{name}mlp.fc1.", _norm(state, f"{name}norm2.", h)))
    return h + _linear(state, f"{name}mlp.fc2.", hidden)


def _window_attention(state: State, name: str, h: Tensor, heads: int, shift: int) -> Tensor:
    batch, n0, n1, n2, _ = h.shape
    sizes = (n0, n1, n2)
    s0, s1, s2 = (shift if n > WINDOW else 0 for n in sizes)
    shifted = s0 or s1 or s2
    if shifted:
        h = torch.roll(h, (-s0, -s1, -s2), dims=(1, 2, 3))
    windows = _windows(h)  # (B W, 512, C)
    q, k, v = _linear(state, f"{name}qkv.", windows).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B W, heads, 512, 512)
    table = state[f"{name}relative_position_bias_table"]
    logits = logits + table[_bias_index(table.device)].view(TOKENS, TOKENS, heads).permute(2, 0, 1)
    if shifted:
        mask = _mask(sizes, (s0, s1, s2), table.device).to(logits.dtype)
        logits = (logits.unflatten(0, (batch, -1)) + mask[:, None]).flatten(0, 1)
    out = (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)
    out = _unwindow(_linear(state, f"{name}proj.", out), batch, sizes)
    return torch.roll(out, (s0, s1, s2), dims=(1, 2, 3)) if shifted else out


def _windows(h: Tensor) -> Tensor:  # (B, n0, n1, n2, C) -> (B W, 512, C)
    batch, n0, n1, n2, width = h.shape
    cut = h.view(batch, n0 // 8, 8, n1 // 8, 8, n2 // 8, 8, width)
    return cut.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, TOKENS, width)


def _unwindow(windows: Tensor, batch: int, sizes: Sizes) -> Tensor:
    n0, n1, n2 = sizes
    cut = windows.view(batch, n0 // 8, n1 // 8, n2 // 8, 8, 8, 8, -1)
    return cut.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(batch, n0, n1, n2, -1)


@lru_cache
def _bias_index(device: torch.device) -> Tensor:  # (512 * 512,) rows of the bias table
    rank = torch.arange(TOKENS, device=device)
    place = torch.stack([rank // 64, rank // 8 % 8, rank % 8])
    a0, a1, a2 = place[:, :, None] - place[:, None, :] + 7
    return ((a0 * 15 + a1) * 15 + a2).flatten()


@lru_cache
def _mask(sizes: Sizes, shifts: Sizes, device: torch.device) -> Tensor:  # (W, 512, 512)
    region = torch.zeros(1, *sizes, 1, device=device)
    for axis, (n, shift) in enumerate(zip(sizes, shifts, strict=True)):
        if shift:
            ranks = torch.zeros(n, device=device)
            ranks[n - WINDOW : n - shift], ranks[n - shift :] = 1, 2
            region = region * 3 + ranks.view(*(-1 if axis + 1 == dim else 1 for dim in range(5)))
    of_token = _windows(region)[:, :, 0]  # (W, 512)
    return (of_token[:, :, None] != of_token[:, None, :]) * -100.0


def _merge(state: State, name: str, h: Tensor) -> Tensor:
    offsets = [(o & 1, o >> 1 & 1, o >> 2 & 1) for o in range(8)]  # axis 0 fastest
    joined = torch.cat([h[:, a::2, b::2, c::2] for a, b, c in offsets], dim=-1)
    return F.linear(_norm(state, f"{name}norm.", joined), state[f"{name}reduction.weight"])


def _norm(state: State, name: str, h: Tensor) -> Tensor:
    return F.layer_norm(h, h.shape[-1:], state[f"{name}weight"], state[f"{name}bias"], eps=1e-5)


def _linear(state: State, name: str, h: Tensor) -> Tensor:
    return F.linear(h, state[f"{name}weight"], state[f"{name}bias"])
