"""The fused functions against the whole volume, in both of their versions: CPU kernel and slabs."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from roomseg.models import upsampled
from roomseg.models.upsampled import PixelHead, logits_at, upsampled_cross_entropy, upsampled_labels, upsampled_logits
from tests.models.volumes import room_like

Cells = tuple[int, int, int]


def make(cells: Cells, seed: int, batch: int = 1, classes: int = 30, cut: int = 0) -> tuple[Tensor, ...]:
    """coarse, x, weight, bias, labels; the volume ends ``cut`` voxels before the cells do, on each axis."""
    rng = torch.Generator().manual_seed(seed)
    coarse = 3 * torch.randn(batch, classes, *cells, generator=rng)
    weight, bias = torch.randn(classes, 4, generator=rng), torch.randn(classes, generator=rng)
    x, labels = room_like((8 * cells[0] - cut, 8 * cells[1] - cut, 8 * cells[2] - cut), seed, batch)
    return coarse, x, weight, bias, labels % classes


@pytest.fixture(params=["kernel", "slabs"])
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "slabs":
        monkeypatch.setattr(upsampled, "_has_kernel", lambda coarse, x: False)
    return request.param


@pytest.mark.parametrize(
    ("cells", "batch", "cut"), [((2, 3, 4), 1, 0), ((1, 1, 1), 2, 0), ((3, 1, 2), 2, 3), ((3, 4, 3), 1, 11)]
)
@pytest.mark.parametrize("void_weight", [1.0, 0.1])
def test_cross_entropy_and_gradients(version: str, cells: Cells, batch: int, cut: int, void_weight: float) -> None:
    coarse, x, weight, bias, labels = make(cells, seed=1, batch=batch, cut=cut)
    leaves = [t.requires_grad_() for t in (coarse, weight, bias)]
    fused = upsampled_cross_entropy(coarse, x, PixelHead(weight, bias), labels, void_weight)
    fused_gradients = torch.autograd.grad(2 * fused, leaves)

    class_weight = torch.ones(30, dtype=torch.float64)
    class_weight[0] = void_weight
    whole = upsampled_logits(coarse.double(), x.double(), PixelHead(weight.double(), bias.double()))
    plain = F.cross_entropy(whole, labels.long(), class_weight)
    torch.testing.assert_close(fused.double(), plain, atol=1e-6, rtol=1e-6)
    for ours, theirs in zip(fused_gradients, torch.autograd.grad(2 * plain, leaves), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_gradcheck_in_float64() -> None:
    coarse, x, weight, bias, labels = (
        t.double() if t.is_floating_point() else t for t in make((1, 2, 1), 2, classes=3)
    )
    leaves = [t.requires_grad_() for t in (coarse, weight, bias)]
    assert torch.autograd.gradcheck(
        lambda c, w, b: upsampled_cross_entropy(c, x, PixelHead(w, b), labels, 0.5), leaves, fast_mode=True
    )


@pytest.mark.parametrize("cut", [0, 5])
def test_labels(version: str, cut: int) -> None:
    coarse, x, weight, bias, _ = make((3, 2, 4), seed=3, batch=2, cut=cut)
    head = PixelHead(weight, bias)
    labels = upsampled_labels(coarse, x, head)
    assert labels.dtype == torch.uint8
    whole = upsampled_logits(coarse, x, head)
    chosen = whole.gather(1, labels.long()[:, None])[:, 0]
    torch.testing.assert_close(chosen, whole.amax(1), atol=1e-5, rtol=0)


def test_whole_volume_from_the_kernel() -> None:
    coarse, x, weight, bias, _ = make((3, 2, 4), seed=3, batch=2, cut=5)
    head = PixelHead(weight, bias)
    plain = upsampled_logits(coarse.requires_grad_(), x, head)
    with torch.no_grad():
        torch.testing.assert_close(upsampled_logits(coarse, x, head), plain.detach(), atol=1e-5, rtol=1e-5)


def test_a_tie_goes_to_the_lower_class(version: str) -> None:
    head = PixelHead(torch.zeros(30, 4), torch.zeros(30))
    assert upsampled_labels(torch.zeros(1, 30, 1, 1, 1), torch.zeros(1, 4, 8, 8, 8), head).max() == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(0, 1000))
def test_logits_at_any_voxel(cx: int, cy: int, cz: int, seed: int) -> None:
    coarse, x, weight, bias, _ = make((cx, cy, cz), seed, classes=5, cut=seed % 4)
    leaves = [t.requires_grad_() for t in (coarse, weight, bias)]
    index = torch.randint(0, x[0, 0].numel(), (100,), generator=torch.Generator().manual_seed(seed))
    probe = torch.randn(100, 5, generator=torch.Generator().manual_seed(seed))
    head = PixelHead(weight, bias)
    fast = logits_at(coarse, x, head, index)
    slow = upsampled_logits(coarse, x, head)[0].flatten(1)[:, index].T
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)
    triples = torch.stack(torch.unravel_index(index, x.shape[2:]), dim=1)
    assert torch.equal(logits_at(coarse, x, head, triples), fast)
    for ours, theirs in zip(
        torch.autograd.grad((fast * probe).sum(), leaves),
        torch.autograd.grad((slow * probe).sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_not_a_number_reaches_the_loss(version: str) -> None:
    coarse, x, weight, bias, labels = make((1, 1, 1), seed=4)
    coarse[0, 5] = float("nan")
    assert upsampled_cross_entropy(coarse, x, PixelHead(weight, bias), labels, 1.0).isnan()


def test_extreme_logits_stay_finite(version: str) -> None:
    coarse, x, weight, bias, labels = make((1, 1, 1), seed=5)
    coarse = (1e4 * coarse).requires_grad_()
    loss = upsampled_cross_entropy(coarse, x, PixelHead(weight, bias), labels, 1.0)
    loss.backward()
    whole = upsampled_logits(coarse.detach(), x, PixelHead(weight, bias))
    torch.testing.assert_close(loss.detach(), F.cross_entropy(whole, labels.long()), rtol=1e-5, atol=0)
    assert coarse.grad.isfinite().all()


def test_labels_outside_the_classes_are_refused() -> None:
    coarse, x, weight, bias, labels = make((1, 1, 1), seed=6, classes=7)
    labels[0, 0, 0, 0] = 7
    with pytest.raises(ValueError, match="go from 0 to 7; expected 0 to 6"):
        upsampled_cross_entropy(coarse, x, PixelHead(weight, bias), labels, 1.0)
    with pytest.raises(ValueError, match="shape"):
        upsampled_cross_entropy(coarse, x, PixelHead(weight, bias), labels[:, :4], 1.0)
