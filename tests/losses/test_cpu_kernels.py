"""The kernels against the same in plain torch."""

from __future__ import annotations

import math

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from roomseg.losses import collapsed_distillation, cpu_collapse, cpu_divergence
from roomseg.losses.distillation import CollapsedTeacher

Size = tuple[int, int]


def plain_collapse(
    coarse: torch.Tensor, hit: torch.Tensor, tau: float, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Pixel by pixel, in float64."""
    pixels = F.interpolate(coarse[None].double(), size=hit.shape, mode="bilinear", align_corners=False)[0]
    log_share = F.log_softmax(pixels / tau, dim=0)
    target, constant = {int(v): torch.zeros(len(coarse)).double() for v in hit.unique() if v >= 0}, 0.0
    for row, col in (hit >= 0).nonzero().tolist():
        part = weights[row, col].double() * log_share[:, row, col].exp()
        target[int(hit[row, col])] += part
        constant += float(part @ log_share[:, row, col])
    return torch.tensor(sorted(target)), torch.stack([target[v] for v in sorted(target)]), constant


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    tau=st.floats(0.5, 40),
    spread=st.sampled_from([0.1, 5.0, 20.0]),
    classes=st.sampled_from([1, 3, 16, 17]),
    cells=st.sampled_from([(1, 1), (2, 4), (3, 7), (12, 24)]),
    pixels=st.sampled_from([(6, 12), (12, 24), (5, 13)]),
)
def test_collapse_equals_pixel_by_pixel(
    seed: int, tau: float, spread: float, classes: int, cells: Size, pixels: Size
) -> None:
    rng = torch.Generator().manual_seed(seed)
    coarse = spread * torch.randn(classes, *cells, generator=rng)
    hit = torch.randint(-1, 9, pixels, generator=rng, dtype=torch.int32)
    hit[0, 0] = 4
    weights = torch.rand(pixels, generator=rng) * (torch.rand(pixels, generator=rng) < 0.8)
    found = cpu_collapse.collapse(coarse.numpy(), hit.numpy(), tau, weights.numpy())
    if found is None:
        assert spread / tau > 2  # logits that change by MOST_RISE between two cells
        return
    voxels, target, constant = plain_collapse(coarse, hit, tau, weights)
    assert found[0].tolist() == voxels.tolist()
    np.testing.assert_allclose(found[1], target.numpy(), rtol=1e-4, atol=1e-5)
    assert found[2] == pytest.approx(constant, rel=1e-4, abs=1e-4)


def test_logits_that_are_all_far_below_zero() -> None:
    coarse = np.array([-1000.0, -1001.0], np.float32).reshape(2, 1, 1)
    with np.errstate(over="raise"):
        _, target, _ = cpu_collapse.collapse(coarse, np.zeros((1, 2), np.int32), 1.0, np.full((1, 2), 0.5, np.float32))
    np.testing.assert_allclose(target, [[1 / (1 + math.exp(-1)), 1 / (1 + math.e)]], rtol=1e-6)


def test_steep_logits_are_left_to_the_plain_way() -> None:
    coarse = np.zeros((2, 1, 3), np.float32)
    coarse[0, 0, 1] = 30
    hit, weights = np.zeros((2, 6), np.int32), np.full((2, 6), 1 / 12, np.float32)
    assert cpu_collapse.collapse(coarse, hit, 1.0, weights) is None
    assert cpu_collapse.collapse(coarse, hit, 1.3, weights) is not None


@pytest.mark.parametrize(("voxels", "classes", "tau"), [(1, 1, 1.0), (700, 30, 20.0), (1030, 33, 0.9)])
def test_divergence_equals_torch(voxels: int, classes: int, tau: float) -> None:
    rng = torch.Generator().manual_seed(voxels)
    logits = 100 + 6 * torch.randn(voxels, classes, generator=rng)
    target = torch.rand(voxels, classes, generator=rng) / (voxels * classes)
    value, gradient = cpu_divergence.cross_entropy(logits.numpy(), target.numpy(), tau, float(logits.max()))
    exact = logits.double().requires_grad_()
    expected = -(target * F.log_softmax(exact / tau, dim=1)).sum()
    assert value == pytest.approx(expected.item(), rel=1e-5, abs=1e-9)
    (wanted,) = torch.autograd.grad(tau**2 * expected, exact)
    np.testing.assert_allclose(gradient, wanted.numpy(), rtol=1e-4, atol=1e-6 * tau / voxels)


def test_logits_far_apart_are_left_to_the_plain_way() -> None:
    student = torch.tensor([[500.0, 0.0], [-500.0, -499.0]], requires_grad=True)
    teacher = CollapsedTeacher(torch.arange(2), torch.full((2, 2), 0.25), 0.0, 1.0)
    loss = collapsed_distillation(student, teacher, 1.0)
    assert loss.item() == pytest.approx(0.25 * 500 + 0.5 * math.log(1 + math.exp(-1)) + 0.25)
    (gradient,) = torch.autograd.grad(loss, student)
    share = 1 / (1 + math.exp(-1))
    np.testing.assert_allclose(gradient, [[0.25, -0.25], [0.25 - 0.5 * share, 0.5 * share - 0.25]], atol=1e-6)


def test_divergence_does_not_depend_on_threads() -> None:
    rng = np.random.default_rng(0)
    logits, target = (rng.random((5000, 7), np.float32) for _ in range(2))
    before = numba.get_num_threads()
    results = []
    for threads in (1, numba.config.NUMBA_NUM_THREADS):
        numba.set_num_threads(threads)
        results.append(cpu_divergence.cross_entropy(logits, target, 3.0, 1.0))
    numba.set_num_threads(before)
    assert results[0][0] == results[1][0]
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_the_gradient_is_scaled_and_can_be_asked_for_twice() -> None:
    student = torch.randn(9, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    teacher = CollapsedTeacher(torch.arange(9), torch.full((9, 4), 1 / 36), -1.4, 1.0)
    loss = collapsed_distillation(student, teacher, 3.0)
    once = torch.autograd.grad(loss, student, retain_graph=True)[0].clone()
    twice = [torch.autograd.grad(loss * scale, student, retain_graph=True)[0] for scale in (1.0, 0.5)]
    torch.testing.assert_close(twice[0], once)
    torch.testing.assert_close(twice[1], once / 2)
    for _ in range(2):
        loss.backward(retain_graph=True)
    torch.testing.assert_close(student.grad, 2 * once)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_a_number_reaches_the_loss(bad: float) -> None:
    student = torch.zeros(3, 4)
    student[1, 2] = bad
    teacher = CollapsedTeacher(torch.arange(3), torch.full((3, 4), 1 / 12), -1.0, 3.0)
    assert not torch.isfinite(collapsed_distillation(student, teacher, 2.0))


@pytest.mark.parametrize("precision", [torch.float64, torch.bfloat16])
def test_other_precisions_give_the_same_loss(precision: torch.dtype) -> None:
    rng = torch.Generator().manual_seed(1)
    student = torch.randn(40, 6, generator=rng).to(torch.bfloat16)
    teacher = CollapsedTeacher(torch.arange(40), torch.rand(40, 6, generator=rng) / 240, -0.1, 1.0)
    single = student.float().requires_grad_()
    other = student.to(precision).requires_grad_()
    losses = [collapsed_distillation(x, teacher, 4.0) for x in (single, other)]
    torch.testing.assert_close(losses[1].double(), losses[0].double(), rtol=1e-5, atol=1e-5)
    gradients = [torch.autograd.grad(loss, x)[0] for loss, x in zip(losses, (single, other), strict=True)]
    assert gradients[1].dtype == precision
    torch.testing.assert_close(gradients[1].double(), gradients[0].double(), rtol=1e-2, atol=1e-6)
