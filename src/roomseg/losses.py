"""Distillation from a panorama's pixels to the voxels that they see (paper, section 4), plainly and collapsed.

Both are tau^2 sum_p w_p KL(t_p || s_v(p)) / sum_p w_p over the pixels p that hit a voxel v(p), with
t_p = softmax(teacher / tau) and s_v = softmax(student / tau). Many pixels hit one voxel, and the student is in the sum
linearly through log s_v: all that a voxel needs of its pixels is T_v = sum_{p in v} w_p t_p.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


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
class CollapsedTeacher:
    """What a panorama's teacher says about a room; sums over pixels are over their whole weight."""

    voxels: Tensor  # (V,) int64, flat as in hit_voxel, ascending
    target: Tensor  # (V, K) float32: T_v; sums to 1 over everything
    constant: float  # sum_p w_p <t_p, log t_p>

    def to(self, device: torch.device) -> CollapsedTeacher:
        return CollapsedTeacher(self.voxels.to(device), self.target.to(device), self.constant)


def collapse_teacher(
    teacher_logits: Tensor,  # (K, h, w), coarse; resized bilinearly to the pixels
    hit_voxel: Tensor,  # (H, W) int32, the flat voxel that each pixel sees or -1
    tau: float,
    pixel_weights: Tensor,  # (H, W), such as cos(phi) or ones
) -> CollapsedTeacher:
    """Sum the teacher over the pixels of each voxel, once a panorama. Raises ValueError if no pixel hits anything."""
    seen = hit_voxel >= 0
    if not seen.any():
        raise ValueError("no pixel of the panorama hits a voxel; there is nothing to distil")
    rows, columns = hit_voxel.shape
    logits = F.interpolate(teacher_logits[None].float(), size=(rows, columns), mode="bilinear", align_corners=False)
    log_teacher = F.log_softmax(logits[0][:, seen].T / tau, dim=1)  # (P, K)
    weights = pixel_weights[seen] / pixel_weights[seen].sum()
    weighted = weights.to(log_teacher.dtype)[:, None] * log_teacher.exp()
    voxels, place = torch.unique(hit_voxel[seen].long(), return_inverse=True)
    target = weighted.new_zeros(len(voxels), len(teacher_logits)).index_add_(0, place, weighted)
    return CollapsedTeacher(voxels, target, float((weighted * log_teacher).sum(dtype=torch.float64)))


def collapsed_distillation(student_logits: Tensor, collapsed: CollapsedTeacher, tau: float) -> Tensor:
    """The same loss from the student's logits (V, K) at ``collapsed.voxels``."""
    log_student = F.log_softmax(student_logits / tau, dim=1)
    return tau**2 * (collapsed.constant - (collapsed.target * log_student).sum())
