"""Distillation from a panorama's pixels to the voxels that they see (paper, section 4), in three equal forms.

All are tau^2 sum_p w_p KL(t_p || s_v(p)) / sum_p w_p over the pixels p that hit a voxel v(p), with
t_p = softmax(teacher / tau) and s_v = softmax(student / tau). ``dense``: pixel by pixel, the readable form.
``gathered``: what does not change in training, the teacher's share, is found once. ``collapsed``: many pixels hit one
voxel, and the student is in the sum linearly through log s_v, so all that a voxel needs of its pixels is
T_v = sum_{p in v} w_p t_p.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from roomseg.losses import cpu_collapse, cpu_divergence


def dense_distillation(
    student_logits: Tensor,  # (P, K), of the voxel that each pixel hits
    teacher_logits: Tensor,  # (P, K)
    tau: float,
    weights: Tensor,  # (P,), 0 for a pixel that hits nothing
) -> Tensor:
    """The loss pixel by pixel: the readable form."""
    log_teacher = F.log_softmax(teacher_logits / tau, dim=1)
    log_student = F.log_softmax(student_logits / tau, dim=1)
    divergence = (log_teacher.exp() * (log_teacher - log_student)).sum(1)  # (P,)
    return tau**2 * (weights * divergence).sum() / weights.sum()


@dataclass(frozen=True)
class GatheredTeacher:
    """A panorama's teacher at the P pixels that hit something; the weights of the pixels sum to 1."""

    voxels: Tensor  # (V,) int64, flat as in hit_voxel, ascending
    place: Tensor  # (P,) int64, the place in ``voxels`` of what each pixel sees
    target: Tensor  # (P, K) float32: w_p t_p
    constant: float  # sum_p w_p <t_p, log t_p>
    weight: float  # sum of the pixels' weights as they were given


def gather_teacher(
    teacher_logits: Tensor,  # (K, h, w), coarse; resized bilinearly to the pixels
    hit_voxel: Tensor,  # (H, W) int32, the flat voxel that each pixel sees or -1
    tau: float,
    pixel_weights: Tensor,  # (H, W), such as cos(phi) or ones
) -> GatheredTeacher:
    """The teacher's share of the loss, once a panorama. Raises ValueError if no pixel with a weight hits anything."""
    seen = hit_voxel >= 0
    total = _total_weight(hit_voxel, pixel_weights)
    logits = F.interpolate(teacher_logits[None].float(), size=hit_voxel.shape, mode="bilinear", align_corners=False)
    log_teacher = F.log_softmax(logits[0][:, seen].T / tau, dim=1)  # (P, K)
    target = (pixel_weights[seen] / total).to(log_teacher.dtype)[:, None] * log_teacher.exp()
    voxels, place = torch.unique(hit_voxel[seen].long(), return_inverse=True)
    return GatheredTeacher(voxels, place, target, float((target * log_teacher).sum(dtype=torch.float64)), total)


def gathered_distillation(student_logits: Tensor, gathered: GatheredTeacher, tau: float) -> Tensor:
    """The same loss from the student's logits (V, K) at ``gathered.voxels``: one term a pixel."""
    log_student = F.log_softmax(student_logits.index_select(0, gathered.place) / tau, dim=1)  # (P, K)
    cross_entropy = -(gathered.target * log_student).sum(dtype=torch.float64)
    return (tau**2 * (gathered.constant + cross_entropy)).to(log_student.dtype)


@dataclass(frozen=True)
class CollapsedTeacher:
    """What the teacher says about a room from one panorama or several, voxel by voxel; their weights sum to 1."""

    voxels: Tensor  # (V,) int64, flat as in hit_voxel, ascending
    target: Tensor  # (V, K) float32: T_v; sums to 1 over everything
    constant: float  # sum_p w_p <t_p, log t_p>
    weight: float  # sum of the pixels' weights as they were given

    def to(self, device: torch.device) -> CollapsedTeacher:
        return CollapsedTeacher(self.voxels.to(device), self.target.to(device), self.constant, self.weight)


def collapse_teacher(
    teacher_logits: Tensor,  # (K, h, w), coarse; resized bilinearly to the pixels
    hit_voxel: Tensor,  # (H, W) int32, the flat voxel that each pixel sees or -1
    tau: float,
    pixel_weights: Tensor,  # (H, W), such as cos(phi) or ones
) -> CollapsedTeacher:
    """Sum the teacher over the pixels of each voxel, once a panorama; raises ValueError as ``gather_teacher``."""
    fast = _collapsed_on_cpu(teacher_logits, hit_voxel, tau, pixel_weights)
    if fast is not None:
        return fast
    gathered = gather_teacher(teacher_logits, hit_voxel, tau, pixel_weights)
    target = gathered.target.new_zeros(len(gathered.voxels), len(teacher_logits))
    target.index_add_(0, gathered.place, gathered.target)
    return CollapsedTeacher(gathered.voxels, target, gathered.constant, gathered.weight)


def _collapsed_on_cpu(
    teacher_logits: Tensor, hit_voxel: Tensor, tau: float, pixel_weights: Tensor
) -> CollapsedTeacher | None:
    """None where the kernel cannot: on another device, or too steep logits."""
    total = _total_weight(hit_voxel, pixel_weights)
    if hit_voxel.device.type != "cpu" or teacher_logits.device.type != "cpu":
        return None
    weights = (pixel_weights / total).float().contiguous().numpy()
    found = cpu_collapse.collapse(teacher_logits.float().numpy(), hit_voxel.contiguous().numpy(), tau, weights)
    if found is None:
        return None
    voxels, target, constant = found
    return CollapsedTeacher(torch.from_numpy(voxels), torch.from_numpy(target), constant, total)


def _total_weight(hit_voxel: Tensor, pixel_weights: Tensor) -> float:
    total = float((pixel_weights * (hit_voxel >= 0)).sum(dtype=torch.float64))
    if not total > 0:
        raise ValueError("no pixel of the panorama hits a voxel and has a weight; there is nothing to distil")
    return total


def join_collapsed(views: Sequence[CollapsedTeacher]) -> CollapsedTeacher:
    """Several panoramas of one room as one: every pixel of all of them weighs what it was given, over the sum."""
    total = sum(view.weight for view in views)
    voxels, place = torch.unique(torch.cat([view.voxels for view in views]), return_inverse=True)
    targets = torch.cat([view.target * (view.weight / total) for view in views])
    target = targets.new_zeros(len(voxels), targets.shape[1]).index_add_(0, place, targets)
    return CollapsedTeacher(voxels, target, sum(view.constant * view.weight for view in views) / total, total)


def collapsed_distillation(student_logits: Tensor, collapsed: CollapsedTeacher, tau: float) -> Tensor:
    """The same loss from the student's logits (V, K) at ``collapsed.voxels``: one term a voxel."""
    return _CollapsedTerm.apply(student_logits, collapsed.target, collapsed.constant, tau)


class _CollapsedTerm(torch.autograd.Function):
    """The gradient comes with the value, so that few (V, K) tensors are made.

    The value is the small difference of two large numbers, log K each where tau is high: it is taken in float64.
    """

    @staticmethod
    def forward(ctx, student_logits, target, constant, tau):  # type: ignore[no-untyped-def]
        logits = student_logits.detach().to(torch.promote_types(student_logits.dtype, target.dtype))
        cross_entropy, gradient = _on_cpu(logits, target, tau) or _anywhere(logits, target, tau)
        ctx.save_for_backward(gradient.to(student_logits.dtype))
        return (tau**2 * (constant + cross_entropy)).to(logits.dtype)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        (saved,) = ctx.saved_tensors
        unscaled = gradient.device.type == "cpu" and gradient.item() == 1  # as mostly: spares a pass
        return saved if unscaled else gradient * saved, None, None, None


def _anywhere(logits: Tensor, target: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """- sum_v <T_v, log s_v> in float64, and the gradient of tau^2 times it."""
    log_student = F.log_softmax(logits / tau, dim=1)
    gradient = tau * (log_student.exp() * target.sum(1, keepdim=True) - target)
    return -(target * log_student).sum(1).sum(dtype=torch.float64), gradient.to(logits.dtype)


def _on_cpu(logits: Tensor, target: Tensor, tau: float) -> tuple[Tensor, Tensor] | None:
    """As ``_anywhere``; None where the kernel cannot: another device or precision, or logits too far apart."""
    if logits.device.type != "cpu" or logits.dtype != torch.float32:
        return None
    least, greatest = (float(x) for x in torch.aminmax(logits))
    if not greatest - least < tau * cpu_divergence.MOST_SPREAD:  # also where one is not a number
        return None
    arrays = logits.contiguous().numpy(), target.contiguous().numpy()
    value, gradient = cpu_divergence.cross_entropy(*arrays, tau, greatest)
    return torch.tensor(value, dtype=torch.float64), torch.from_numpy(gradient)
