"""Softmax attention inside windows with an additive bias that is learnt.

Elsewhere torch's own kernels do this; on CPUs torch has none that gives the bias its gradient, and its fallback keeps
every attention matrix (200 MB a block of the student at 128^3), so there is one of ours for float32.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from roomseg.models import cpu_attention


def window_attention(qkv: Tensor, bias: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D) + bias) v for each window and head.

    qkv (W, T, 3, H, D): windows of T tokens, H heads of D channels; bias (H, T, T). Returns (W, T, H D), heads joined.
    """
    if qkv.device.type == "cpu" and qkv.dtype != torch.float64:
        return _CpuAttention.apply(qkv.float(), bias.float()).to(qkv.dtype)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (W, H, T, D) each
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype)[None])
    return out.transpose(1, 2).flatten(2)


class _CpuAttention(torch.autograd.Function):
    """Keeps the softmax's normaliser alone; the backward pass computes the attention again, tile by tile."""

    @staticmethod
    def forward(ctx, qkv, bias):  # type: ignore[no-untyped-def]
        qkv, bias = qkv.contiguous(), bias.contiguous()
        out, normaliser = (torch.from_numpy(a) for a in cpu_attention.forward(qkv.numpy(), bias.numpy()))
        ctx.save_for_backward(qkv, bias, out, normaliser)
        return out

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        arrays = [t.contiguous().numpy() for t in (*ctx.saved_tensors, gradient)]
        d_qkv, d_bias = cpu_attention.backward(*arrays)
        return torch.from_numpy(d_qkv), torch.from_numpy(d_bias)
