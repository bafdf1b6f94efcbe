from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from roomseg.losses import lovasz_softmax, surface_band


def lovasz_by_definition(shares: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The mean over the present classes of sum_i (e_i - e_i+1) J({1..i}), e descending and J the Jaccard loss."""
    losses = []
    for label in sorted(set(labels.tolist())):
        truth = labels == label
        errors = (truth.double() - shares[:, label]).abs()
        order = errors.argsort(descending=True).tolist()
        loss = shares.new_zeros(())
        for i in range(len(order)):
            wrong = set(order[: i + 1])
            predicted = {v for v in range(len(labels)) if bool(truth[v]) != (v in wrong)}
            true = set(truth.nonzero().flatten().tolist())
            jaccard = 1 - len(true & predicted) / len(true | predicted)
            after = errors[order[i + 1]] if i + 1 < len(order) else errors.new_zeros(())
            loss = loss + (errors[order[i]] - after) * jaccard
        losses.append(loss)
    return torch.stack(losses).mean()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 4))
def test_lovasz_equals_its_definition(seed: int, voxels: int, classes: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    logits = (2 * torch.randn(voxels, classes, generator=rng, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(0, classes, (voxels,), generator=rng)
    ours = lovasz_softmax(logits, labels)
    slow = lovasz_by_definition(F.softmax(logits, dim=1), labels)
    torch.testing.assert_close(ours, slow)
    torch.testing.assert_close(*(torch.autograd.grad(loss, logits)[0] for loss in (ours, slow)))


def test_lovasz_gradient() -> None:
    rng = torch.Generator().manual_seed(3)
    logits = torch.randn(9, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 2, 2, 0, 1, 2, 0, 1, 1])  # class 3 is not there
    assert torch.autograd.gradcheck(lambda x: lovasz_softmax(x, labels), logits)


def test_lovasz_of_sure_answers_is_the_jaccard_loss() -> None:
    labels, predicted = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 0, 1, 1, 1])
    sure = 200 * F.one_hot(predicted, 3).float()
    assert lovasz_softmax(sure, labels.to(torch.uint8)).item() == pytest.approx((1 / 3 + 1 / 3) / 2)
    assert lovasz_softmax(200 * F.one_hot(labels, 3).float(), labels).item() == pytest.approx(0)


def test_lovasz_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no voxels"):
        lovasz_softmax(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))


def test_surface_band() -> None:
    tsdf = torch.tensor([127, 126, 51, 50, 0, -50, -51, -127], dtype=torch.int8)
    expected = [False, False, False, True, True, True, False, False]  # 2 of 5 voxels: 50.8 steps
    assert surface_band(tsdf, 2, 5).tolist() == expected
    assert surface_band(tsdf.float() / 127, 2, 5).tolist() == expected
    assert surface_band(tsdf, 5, 5).tolist() == [False] + 7 * [True]  # all that was observed
    assert surface_band(tsdf.float() / 127, 7, 5).tolist() == [False] + 7 * [True]
