from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from roomseg.losses import collapse_teacher, collapsed_distillation, dense_distillation


def test_dense_by_hand() -> None:
    student = torch.zeros(2, 2)
    teacher = torch.tensor([[math.log(3.0), 0.0], [5.0, -5.0]]) * 2  # at tau 2: shares 3/4, 1/4
    loss = dense_distillation(student, teacher, tau=2.0, weights=torch.tensor([0.5, 0.0]))
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert loss.item() == pytest.approx(4 * divergence, rel=1e-6)


def test_nothing_is_left_to_learn_from_an_equal_teacher() -> None:
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    assert dense_distillation(logits, logits + 3, 20.0, torch.ones(5)).item() == pytest.approx(0, abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    tau=st.sampled_from([1.0, 4.0, 20.0]),
    hit_share=st.sampled_from([0.05, 0.5, 1.0]),
    voxels=st.integers(1, 40),
    weighted=st.booleans(),
)
def test_collapsed_equals_dense(seed: int, tau: float, hit_share: float, voxels: int, weighted: bool) -> None:
    rng = torch.Generator().manual_seed(seed)
    hit = torch.randint(0, voxels, (12, 24), generator=rng, dtype=torch.int32)
    hit[torch.rand(12, 24, generator=rng) >= hit_share] = -1
    hit[3, 4] = voxels - 1
    weights = torch.rand(12, 24, generator=rng) + 0.01 if weighted else torch.ones(12, 24)
    coarse = 4 * torch.randn(6, 3, 6, generator=rng)
    volume = torch.randn(voxels, 6, generator=rng, dtype=torch.float64, requires_grad=True)

    pixels = F.interpolate(coarse[None].double(), size=(12, 24), mode="bilinear")[0].flatten(1).T  # (P, K)
    seen = hit.flatten().clamp(min=0).long()
    dense = dense_distillation(volume[seen], pixels, tau, (weights * (hit >= 0)).flatten().double())
    collapsed = collapse_teacher(coarse, hit, tau, weights)
    fast = collapsed_distillation(volume[collapsed.voxels], collapsed, tau)
    torch.testing.assert_close(fast, dense, atol=1e-6 * tau**2, rtol=1e-5)
    ours, theirs = (torch.autograd.grad(loss, volume)[0] for loss in (fast, dense))
    torch.testing.assert_close(ours, theirs, atol=1e-6 * tau, rtol=1e-4)


def test_collapsed_target_by_hand() -> None:
    hit = torch.tensor([[7, 7, -1, 2]], dtype=torch.int32)
    weights = torch.tensor([[1.0, 2.0, 50.0, 1.0]])
    collapsed = collapse_teacher(torch.zeros(2, 1, 4), hit, 1.0, weights)
    assert collapsed.voxels.tolist() == [2, 7]
    torch.testing.assert_close(collapsed.target, torch.tensor([[0.125, 0.125], [0.375, 0.375]]))
    assert collapsed.constant == pytest.approx(-math.log(2))


def test_gradcheck() -> None:
    rng = torch.Generator().manual_seed(0)
    hit = torch.randint(-1, 5, (4, 8), generator=rng, dtype=torch.int32)
    collapsed = collapse_teacher(torch.randn(3, 2, 4, generator=rng), hit, 2.0, torch.rand(4, 8, generator=rng))
    student = torch.randn(len(collapsed.voxels), 3, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: collapsed_distillation(s, collapsed, 2.0), student)
    pixels, weights = torch.randn(6, 3, generator=rng, dtype=torch.float64), torch.rand(6, dtype=torch.float64)
    dense = torch.randn(6, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: dense_distillation(s, pixels, 3.0, weights), dense)


def test_a_panorama_that_sees_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to distil"):
        collapse_teacher(torch.zeros(2, 1, 2), torch.full((2, 4), -1, dtype=torch.int32), 1.0, torch.ones(2, 4))
