"""The student's output from its coarse logits, without the K x X x Y x Z volume where it is not asked for.

output = U(coarse) + W_x x + bias, where U is the trilinear x8 resize (align_corners=False) and ``coarse`` (B, K, X/8,
Y/8, Z/8) went through the logits' half of the ``output`` layer already: a resize and a channel mix commute.

``x`` may be smaller than the cells reach: a room as it was before it was padded for ``coarse``. What comes out is of
the size of ``x``, and voxels beyond it count for nothing.

Each function has a plain version here, in slabs along X with torch (any device and precision), and a kernel for float32
on CPUs (``cpu_upsampled.py``). Cross entropy and labels are operators of their own: ``torch.compile`` passes over them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from roomseg.models import cpu_upsampled

SCALE = 8


@dataclass(frozen=True)
class PixelHead:
    """What ``output`` does with the input's own channels."""

    weight: Tensor  # (K, 4)
    bias: Tensor  # (K,)


def upsampled_logits(coarse: Tensor, x: Tensor, head: PixelHead) -> Tensor:  # (B, K, X, Y, Z)
    """The whole volume, differentiable: K times the input's memory."""
    if _has_kernel(coarse, x) and not torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return torch.from_numpy(cpu_upsampled.logits(*_arrays(coarse, x, head.weight, head.bias)))
    with _full_precision(coarse):
        up = F.interpolate(coarse, scale_factor=SCALE, mode="trilinear", align_corners=False)
        up = up[..., : x.shape[2], : x.shape[3], : x.shape[4]]
        return up + torch.einsum("kc,bcxyz->bkxyz", head.weight, x) + head.bias.view(-1, 1, 1, 1)


def logits_at(coarse: Tensor, x: Tensor, head: PixelHead, index: Tensor) -> Tensor:  # (N, K)
    """The logits of single voxels of one room, differentiable: ``index`` (N,) flat in C order or (N, 3), batch 1."""
    if len(coarse) != 1:
        raise ValueError(f"logits_at got a batch of {len(coarse)}; expected one room")
    sizes = x.shape[2:]
    places = index if index.dim() == 2 else torch.stack(torch.unravel_index(index, tuple(sizes)), dim=1)
    cells, weights = _corner_cells(places, coarse.shape[2:], coarse.dtype)
    rows = coarse[0].flatten(1).T.contiguous()  # (cells, K)
    i, j, k = places.unbind(1)
    with _full_precision(coarse):
        up = F.embedding_bag(cells, rows, per_sample_weights=weights, mode="sum")
        return up + F.linear(x[0, :, i, j, k].T, head.weight, head.bias)


def upsampled_cross_entropy(coarse: Tensor, x: Tensor, head: PixelHead, labels: Tensor, void_weight: float) -> Tensor:
    """Exactly F.cross_entropy(upsampled_logits(...), labels, weight): class 0 weighs ``void_weight``, the others 1.

    Labels (B, X, Y, Z) of any integer type. The gradients (of coarse, weight and bias; ``x`` gets none) are computed
    together with the value, so that nothing of the volume's size is kept for the backward pass.
    """
    return _cross_entropy(coarse, x, head.weight, head.bias, labels, void_weight)[0]


def upsampled_labels(coarse: Tensor, x: Tensor, head: PixelHead) -> Tensor:  # (B, X, Y, Z) uint8
    """The class with the greatest logit in each voxel."""
    return _labels(coarse, x, head.weight, head.bias)


@torch.library.custom_op(
    "roomseg::upsampled_labels",
    mutates_args=(),
    schema="(Tensor coarse, Tensor x, Tensor weight, Tensor bias) -> Tensor",
)
def _labels(coarse: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if _has_kernel(coarse, x):
        return torch.from_numpy(cpu_upsampled.labels(*_arrays(coarse, x, weight.float(), bias.float())))
    labels = torch.empty_like(x[:, 0], dtype=torch.uint8)
    with torch.no_grad(), _full_precision(coarse):
        for item, planes in _slabs(x):
            slab = _slab_logits(coarse[item], x[item], PixelHead(weight, bias), planes)  # (S, K, Y, Z)
            labels[item, planes] = slab.argmax(1).to(torch.uint8)
    return labels


@_labels.register_fake
def _(coarse: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return x.new_empty(x[:, 0].shape, dtype=torch.uint8)


@torch.library.custom_op(
    "roomseg::upsampled_cross_entropy",
    mutates_args=(),
    schema="(Tensor coarse, Tensor x, Tensor weight, Tensor bias, Tensor labels, float void_weight)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
)
def _cross_entropy(
    coarse: Tensor, x: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, void_weight: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The mean and its gradients of coarse, weight and bias."""
    classes = len(bias)
    if labels.shape != x[:, 0].shape:
        raise ValueError(f"labels have the shape {tuple(labels.shape)}; expected {tuple(x[:, 0].shape)}")
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels go from {int(labels.min())} to {int(labels.max())}; expected 0 to {classes - 1}")
    run = _kernel_cross_entropy if _has_kernel(coarse, x) else _slab_cross_entropy
    with _full_precision(coarse):
        return run(coarse, x, PixelHead(weight, bias), labels, void_weight)


@_cross_entropy.register_fake
def _(
    coarse: Tensor, x: Tensor, weight: Tensor, bias: Tensor, labels: Tensor, void_weight: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    gradients = [t.new_empty(t.shape) for t in (coarse, weight, bias)]
    return coarse.new_empty(()), gradients[0], gradients[1], gradients[2]


def _keep_gradients(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*output[1:])


def _scale_gradients(ctx: Any, gradient: Tensor, *_: Tensor | None) -> tuple[Tensor | None, ...]:
    d_coarse, d_weight, d_bias = (gradient * saved for saved in ctx.saved_tensors)
    return d_coarse, None, d_weight, d_bias, None, None


_cross_entropy.register_autograd(_scale_gradients, setup_context=_keep_gradients)


def _full_precision(tensor: Tensor) -> torch.autocast:
    """Differences of logits count here, so autocast stops at the coarse logits."""
    return torch.autocast(tensor.device.type, enabled=False)


def _has_kernel(coarse: Tensor, x: Tensor) -> bool:
    return coarse.device.type == "cpu" and coarse.dtype == x.dtype == torch.float32


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [t.detach().contiguous().numpy() for t in tensors]


LossAndGradients = tuple[Tensor, Tensor, Tensor, Tensor]  # the gradients are of coarse, weight and bias


def _kernel_cross_entropy(
    coarse: Tensor, x: Tensor, head: PixelHead, labels: Tensor, void_weight: float
) -> LossAndGradients:
    class_weight = torch.ones(len(head.bias))
    class_weight[0] = void_weight
    tensors = (coarse, x, head.weight, head.bias, labels.to(torch.uint8), class_weight)
    loss, *gradients = cpu_upsampled.cross_entropy(*_arrays(*tensors))
    d_coarse, d_weight, d_bias = (torch.from_numpy(g) for g in gradients)
    return coarse.new_tensor(loss), d_coarse, d_weight, d_bias


def _slab_cross_entropy(
    coarse: Tensor, x: Tensor, head: PixelHead, labels: Tensor, void_weight: float
) -> LossAndGradients:
    """Value and gradients by hand: an operator has no autograd inside."""
    loss, d_coarse = coarse.new_zeros(()), torch.zeros_like(coarse)
    d_weight, d_bias = torch.zeros_like(head.weight), torch.zeros_like(head.bias)
    class_weight = torch.ones_like(head.bias)
    class_weight[0] = void_weight
    void = (labels == 0).sum()
    total = void * void_weight + (labels.numel() - void)
    for item, planes in _slabs(x):
        target = labels[item, planes].long()[:, None]  # (S, 1, Y, Z)
        weight = class_weight[target] / total
        log_shares = _slab_logits(coarse[item], x[item], head, planes).log_softmax(1)  # (S, K, Y, Z)
        loss -= (weight * log_shares.gather(1, target)).sum()
        gradient = log_shares.exp_().scatter_add_(1, target, -torch.ones_like(weight)).mul_(weight)
        d_weight += torch.einsum("skyz,csyz->kc", gradient, x[item, :, planes])
        d_bias += gradient.sum((0, 2, 3))
        up_x, up_y, up_z = _axis_matrices(coarse, x, planes)
        d_coarse[item] += torch.einsum("sx,skyz->kxyz", up_x, up_y.T @ gradient @ up_z)
    return loss, d_coarse, d_weight, d_bias


def _slabs(x: Tensor) -> Iterator[tuple[int, slice]]:
    for item in range(len(x)):
        for first in range(0, x.shape[2], SCALE):
            yield item, slice(first, min(first + SCALE, x.shape[2]))


def _slab_logits(coarse: Tensor, x: Tensor, head: PixelHead, planes: slice) -> Tensor:  # (S, K, Y, Z)
    """The logits of the planes ``planes`` along X of one item: coarse (K, X/8, Y/8, Z/8), x (4, X, Y, Z)."""
    up_x, up_y, up_z = _axis_matrices(coarse[None], x[None], planes)
    up = up_y @ torch.einsum("sx,kxyz->skyz", up_x, coarse) @ up_z.T
    return up + torch.einsum("kc,csyz->skyz", head.weight, x[:, planes]) + head.bias.view(-1, 1, 1)


def _axis_matrices(coarse: Tensor, x: Tensor, planes: slice) -> tuple[Tensor, Tensor, Tensor]:
    """The resize along each axis as a matrix (voxels, cells); for the planes alone along X."""
    ranges = (planes, slice(0, x.shape[3]), slice(0, x.shape[4]))
    up_x, up_y, up_z = (_axis_matrix(r, n, coarse) for r, n in zip(ranges, coarse.shape[2:], strict=True))
    return up_x, up_y, up_z


def _axis_matrix(voxels: slice, cells: int, like: Tensor) -> Tensor:
    low, high, weight = _axis_taps(torch.arange(voxels.start, voxels.stop, device=like.device), cells, like.dtype)
    matrix = like.new_zeros(len(low), cells)
    matrix.scatter_add_(1, low[:, None], 1 - weight[:, None])
    return matrix.scatter_add_(1, high[:, None], weight[:, None])


def _axis_taps(voxels: Tensor, cells: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """The two cells around each voxel of an axis and the upper one's weight; at the ends both are the same cell."""
    position = voxels + SCALE // 2  # in voxels from half a cell below the first cell's centre
    upper = position // SCALE
    weight = (position % SCALE + 0.5).to(dtype) / SCALE
    return (upper - 1).clamp(min=0), upper.clamp(max=cells - 1), weight


def _corner_cells(places: Tensor, cells: torch.Size, dtype: torch.dtype) -> tuple[Tensor, Tensor]:  # (N, 8) each
    """The eight cells around each voxel, flat in C order, and their trilinear weights."""
    index, weights = places.new_zeros(len(places), 1), torch.ones(len(places), 1, dtype=dtype, device=places.device)
    for axis in range(3):
        low, high, weight = _axis_taps(places[:, axis], cells[axis], dtype)
        ends = torch.stack([low, high], dim=1)
        shares = torch.stack([1 - weight, weight], dim=1)
        index = (index[:, :, None] * cells[axis] + ends[:, None]).flatten(1)
        weights = (weights[:, :, None] * shares[:, None]).flatten(1)
    return index, weights
