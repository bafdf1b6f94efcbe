"""Feature distillation: the student's features at visible voxels should point where the teacher's do."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def cosine_feature_loss(
    student_features: Tensor,  # (V, C)
    teacher_features: Tensor,  # (V, C)
    weights: Tensor,  # (V,) at least 0
) -> Tensor:
    """The weighted mean of 1 - cos(student, teacher), from 0 to 2. Raises ValueError if nothing has a weight."""
    total = weights.sum()
    if not total > 0:
        raise ValueError("no voxel has a weight; there are no features to distil")
    distance = 1 - F.cosine_similarity(student_features, teacher_features, dim=1)
    return (weights * distance).sum() / total
