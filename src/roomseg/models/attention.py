"""Softmax attention inside windows with an additive bias that is learnt.

CUDA takes torch's ``scaled_dot_product_attention``: its memory-efficient kernel gives the bias its gradient. On CPUs
torch's fast kernel has no gradient for the bias, and its fallback keeps every attention matrix (200 MB a block of the
student at 128^3): there both passes are ours, in float32, behind operators, so that ``torch.compile`` passes over them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from roomseg.models import cpu_attention


def window_attention(qkv: Tensor, bias: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D) + bias) v for each window and head.

    qkv (W, T, 3, H, D): windows of T tokens, H heads of D channels; bias (H, T, T). Returns (W, T, H D), heads joined.
    On CPUs T is a multiple of 32 and D of 4, but for float64.
    """
    if qkv.device.type == "cpu" and qkv.dtype != torch.float64:
        return _cpu_attention(qkv, bias.to(qkv.dtype))[0]
    q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (W, H, T, D) each
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype)[None])
    return out.transpose(1, 2).flatten(2)


@torch.library.custom_op(
    "roomseg::window_attention", mutates_args=(), schema="(Tensor qkv, Tensor bias) -> (Tensor, Tensor)"
)
def _cpu_attention(qkv: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """The output, and the log of the softmax's normaliser (W, H, T) float32 for the backward pass."""
    out, normaliser = cpu_attention.forward(*_arrays(qkv, bias))
    return torch.from_numpy(out).to(qkv.dtype), torch.from_numpy(normaliser)


def _arrays(*tensors: Tensor) -> list[np.ndarray]:  # float32, C order
    return [t.detach().float().contiguous().numpy() for t in tensors]


@_cpu_attention.register_fake
def _(qkv: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    windows, tokens, _, heads, channels = qkv.shape
    out = qkv.new_empty(windows, tokens, heads * channels)
    return out, qkv.new_empty(windows, heads, tokens, dtype=torch.float32)


@torch.library.custom_op(
    "roomseg::window_attention_backward",
    mutates_args=(),
    schema="(Tensor qkv, Tensor bias, Tensor out, Tensor normaliser, Tensor gradient) -> (Tensor, Tensor)",
)
def _cpu_attention_backward(
    qkv: Tensor, bias: Tensor, out: Tensor, normaliser: Tensor, gradient: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients of qkv and bias: the attention is computed again, tile by tile, in float32."""
    d_qkv, d_bias = cpu_attention.backward(*_arrays(qkv, bias, out, normaliser, gradient))
    return torch.from_numpy(d_qkv).to(qkv.dtype), torch.from_numpy(d_bias).to(bias.dtype)


@_cpu_attention_backward.register_fake
def _(qkv: Tensor, bias: Tensor, out: Tensor, normaliser: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    return qkv.new_empty(qkv.shape), bias.new_empty(bias.shape)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, *output)


def _gradients(ctx: Any, gradient: Tensor, _: Tensor | None) -> tuple[Tensor, Tensor]:
    return _cpu_attention_backward(*ctx.saved_tensors, gradient)


_cpu_attention.register_autograd(_gradients, setup_context=_keep)
