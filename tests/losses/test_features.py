from __future__ import annotations

import pytest
import torch

from roomseg.losses import cosine_feature_loss


def test_by_hand() -> None:
    student = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])
    teacher = torch.tensor([[5.0, 0.0], [0.0, -1.0], [1.0, -1.0]])  # cosines 1, -1, 0
    assert cosine_feature_loss(student, teacher, torch.tensor([1.0, 2.0, 1.0])).item() == pytest.approx(5 / 4)
    assert cosine_feature_loss(student, teacher, torch.tensor([4.0, 0.0, 0.0])).item() == pytest.approx(0)


def test_gradient() -> None:
    rng = torch.Generator().manual_seed(0)
    student = torch.randn(6, 5, generator=rng, dtype=torch.float64, requires_grad=True)
    teacher, weights = torch.randn(6, 5, dtype=torch.float64), torch.rand(6, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda s: cosine_feature_loss(s, teacher, weights), student)


def test_no_weight_is_refused() -> None:
    with pytest.raises(ValueError, match="no voxel has a weight"):
        cosine_feature_loss(torch.ones(2, 3), torch.ones(2, 3), torch.zeros(2))
