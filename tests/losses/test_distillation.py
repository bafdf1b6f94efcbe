from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from roomseg.geometry.equirect import solid_angle_weights
from roomseg.losses import (
    CollapsedTeacher,
    collapse_teacher,
    collapsed_distillation,
    dense_distillation,
    gather_teacher,
    gathered_distillation,
    join_collapsed,
)


def test_dense_by_hand() -> None:
    student = torch.zeros(2, 2)
    teacher = torch.tensor([[math.log(3.0), 0.0], [5.0, -5.0]]) * 2  # at tau 2: shares 3/4, 1/4
    loss = dense_distillation(student, teacher, tau=2.0, weights=torch.tensor([0.5, 0.0]))
    divergence = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert loss.item() == pytest.approx(4 * divergence, rel=1e-6)


def test_nothing_is_left_to_learn_from_an_equal_teacher() -> None:
    logits = torch.randn(5, 7, generator=torch.Generator().manual_seed(0))
    assert dense_distillation(logits, logits + 3, 20.0, torch.ones(5)).item() == pytest.approx(0, abs=1e-5)


@dataclass(frozen=True)
class View:
    """A panorama of a small room, with its teacher."""

    hit: torch.Tensor  # (12, 24) int32
    coarse: torch.Tensor  # (6, 3, 6)
    weights: torch.Tensor  # (12, 24)

    def pixels(self) -> torch.Tensor:  # (P, K) float64
        return F.interpolate(self.coarse[None].double(), size=(12, 24), mode="bilinear")[0].flatten(1).T


def random_view(rng: torch.Generator, voxels: int, hit_share: float, weights: str) -> View:
    hit = torch.randint(0, voxels, (12, 24), generator=rng, dtype=torch.int32)
    hit[torch.rand(12, 24, generator=rng) >= hit_share] = -1
    hit[3, 4] = voxels - 1
    given = {
        "ones": torch.ones(12, 24),
        "solid angle": torch.from_numpy(solid_angle_weights(12))[:, None].expand(12, 24),
        "masked": (torch.rand(12, 24, generator=rng) < 0.5) * torch.rand(12, 24, generator=rng),
    }[weights].clone()
    given[3, 4] = 1  # one pixel counts at least
    return View(hit, 4 * torch.randn(6, 3, 6, generator=rng), given)


def dense_loss(volume: torch.Tensor, views: list[View], tau: float) -> torch.Tensor:
    student = torch.cat([volume[view.hit.flatten().clamp(min=0).long()] for view in views])
    weights = torch.cat([(view.weights * (view.hit >= 0)).flatten().double() for view in views])
    return dense_distillation(student, torch.cat([view.pixels() for view in views]), tau, weights)


def gathered_loss(volume: torch.Tensor, views: list[View], tau: float) -> torch.Tensor:
    cached = [gather_teacher(view.coarse, view.hit, tau, view.weights) for view in views]
    losses = [gathered_distillation(volume[gathered.voxels], gathered, tau) for gathered in cached]
    total = sum(gathered.weight for gathered in cached)
    return sum(loss * gathered.weight / total for loss, gathered in zip(losses, cached, strict=True))


def collapsed_loss(volume: torch.Tensor, views: list[View], tau: float) -> torch.Tensor:
    collapsed = join_collapsed([collapse_teacher(view.coarse, view.hit, tau, view.weights) for view in views])
    return collapsed_distillation(volume[collapsed.voxels], collapsed, tau)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    tau=st.floats(0.5, 40),
    hit_share=st.sampled_from([0.05, 0.5, 1.0]),
    voxels=st.integers(1, 40),
    weights=st.sampled_from(["ones", "solid angle", "masked"]),
    viewpoints=st.integers(1, 3),
)
def test_three_equal_forms(seed: int, tau: float, hit_share: float, voxels: int, weights: str, viewpoints: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    views = [random_view(rng, voxels, hit_share, weights) for _ in range(viewpoints)]
    volume = torch.randn(voxels, 6, generator=rng, dtype=torch.float64, requires_grad=True)
    dense = dense_loss(volume, views, tau)
    expected = torch.autograd.grad(dense, volume)[0]
    for form in (gathered_loss, collapsed_loss):
        loss = form(volume, views, tau)
        torch.testing.assert_close(loss, dense, atol=1e-6 * tau**2, rtol=1e-5)
        gradient = torch.autograd.grad(loss, volume)[0]
        torch.testing.assert_close(gradient, expected, atol=1e-6 * tau, rtol=1e-4)


@pytest.mark.parametrize(("tau", "precision"), [(20.0, 1e-5), (100.0, 2e-4), (300.0, 4e-3)])
def test_the_value_is_kept_where_distributions_are_nearly_flat(tau: float, precision: float) -> None:
    """Divergence and temperature cancel: tau^2 KL stays near half the variance, KL itself becomes tiny."""
    rng = torch.Generator().manual_seed(0)
    coarse, student = 2 * torch.randn(30, 4, 8, generator=rng), torch.randn(900, 30, generator=rng)
    hit, weights = torch.randint(0, 900, (64, 128), generator=rng, dtype=torch.int32), torch.ones(64, 128)
    pixels = F.interpolate(coarse[None].double(), size=(64, 128), mode="bilinear")[0].flatten(1).T
    dense = dense_distillation(student.double()[hit.flatten().long()], pixels, tau, weights.flatten())
    gathered, collapsed = gather_teacher(coarse, hit, tau, weights), collapse_teacher(coarse, hit, tau, weights)
    for loss in (
        gathered_distillation(student[gathered.voxels], gathered, tau),
        collapsed_distillation(student[collapsed.voxels], collapsed, tau),
    ):
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(dense.item(), rel=precision)


def test_what_a_pixel_without_weight_hits_gets_no_gradient() -> None:
    hit, weights = torch.tensor([[0, 1, -1, 2]], dtype=torch.int32), torch.tensor([[1.0, 0.0, 1.0, 1.0]])
    collapsed = collapse_teacher(torch.randn(3, 1, 4), hit, 4.0, weights)
    student = torch.randn(3, 3, requires_grad=True)
    collapsed_distillation(student, collapsed, 4.0).backward()
    assert student.grad is not None
    assert (student.grad != 0).any(1).tolist() == [True, False, True]


def test_joined_by_hand() -> None:
    views = [
        CollapsedTeacher(torch.tensor([2, 5]), torch.tensor([[0.25, 0.0], [0.5, 0.25]]), -0.5, weight=3.0),
        CollapsedTeacher(torch.tensor([1, 5]), torch.tensor([[0.5, 0.0], [0.0, 0.5]]), -0.1, weight=1.0),
    ]
    joined = join_collapsed(views)
    assert joined.voxels.tolist() == [1, 2, 5]
    torch.testing.assert_close(joined.target, torch.tensor([[0.125, 0.0], [0.1875, 0.0], [0.375, 0.3125]]))
    assert joined.constant == pytest.approx(-0.4)
    assert joined.weight == 4


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
    gathered = gather_teacher(torch.randn(3, 2, 4, generator=rng), hit, 2.0, torch.rand(4, 8, generator=rng))
    assert torch.autograd.gradcheck(lambda s: gathered_distillation(s, gathered, 2.0), student)
    dense = torch.randn(6, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: dense_distillation(s, pixels, 3.0, weights), dense)


def test_a_panorama_that_sees_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to distil"):
        collapse_teacher(torch.zeros(2, 1, 2), torch.full((2, 4), -1, dtype=torch.int32), 1.0, torch.ones(2, 4))
    with pytest.raises(ValueError, match="nothing to distil"):
        collapse_teacher(torch.zeros(2, 1, 2), torch.zeros((2, 4), dtype=torch.int32), 1.0, torch.zeros(2, 4))
