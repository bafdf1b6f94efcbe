"""Rulebooks against dictionaries, convolutions against dense ones masked to the active sites."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from roomseg.errors import UserError
from roomseg.models import sparse_ops
from roomseg.models.sparse_ops import (
    Halving,
    Sites,
    halve,
    inverse_conv,
    neighbours_of,
    strided_conv,
    submanifold_conv,
    unique_sites,
)

OFFSETS_27 = list(itertools.product((-1, 0, 1), repeat=3))
OFFSETS_8 = list(itertools.product((0, 1), repeat=3))
SIZES = (8, 6, 10)
END = 65534  # the greatest coordinate

axis = st.sampled_from([0, 1, 2, 3, END - 1, END])  # both ends, where a neighbour's key could wrap around
points = st.lists(st.tuples(st.integers(0, 2), axis, axis, axis), min_size=1, max_size=60)


def random_sites(seed: int, share: float = 0.3) -> tuple[Sites, Tensor]:
    """Sites of a batch of two volumes of SIZES, and their mask; the corners are active, so that borders are felt."""
    active = torch.rand(2, *SIZES, generator=torch.Generator().manual_seed(seed)) < share
    for corner in itertools.product((0, -1), repeat=3):
        active[(slice(None), *corner)] = True
    return unique_sites(active.nonzero())[0], active


def dense(features: Tensor, active: Tensor) -> Tensor:  # (N, C) -> (B, C, X, Y, Z)
    volume = features.new_zeros(*active.shape, features.shape[1])
    volume[active] = features
    return volume.movedim(-1, 1)


def at(volume: Tensor, active: Tensor) -> Tensor:  # (B, C, X, Y, Z) -> (N, C)
    return volume.movedim(1, -1)[active]


def conv3d_weight(weight: Tensor) -> Tensor:  # (T, 1, in, out) -> (out, in, t, t, t)
    side = round(len(weight) ** (1 / 3))
    return weight.squeeze(1).unflatten(0, (side, side, side)).permute(4, 3, 0, 1, 2)


def randn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(deadline=None, max_examples=50)
@given(points)
def test_sites_are_sorted_unique_and_known_to_their_points(places: list[tuple[int, int, int, int]]) -> None:
    coordinates = torch.tensor(places, dtype=torch.int32)
    sites, rows = unique_sites(coordinates)
    assert sites.coordinates.tolist() == [list(place) for place in sorted(set(places))]
    assert torch.equal(sites.coordinates[rows], coordinates.long())


@settings(deadline=None, max_examples=50)
@given(points)
def test_rulebooks_equal_a_search_in_a_dictionary(places: list[tuple[int, int, int, int]]) -> None:
    sites, _ = unique_sites(torch.tensor(places))
    fine = {tuple(place): row for row, place in enumerate(sites.coordinates.tolist())}
    expected = [[fine.get((b, x + i, y + j, z + k), len(fine)) for i, j, k in OFFSETS_27] for b, x, y, z in fine]
    assert neighbours_of(sites).tolist() == expected

    coarser, halving = halve(sites)
    coarse = [tuple(place) for place in coarser.coordinates.tolist()]
    assert coarse == sorted({(b, x // 2, y // 2, z // 2) for b, x, y, z in fine})
    children = [
        [fine.get((b, 2 * x + i, 2 * y + j, 2 * z + k), len(fine)) for i, j, k in OFFSETS_8] for b, x, y, z in coarse
    ]
    assert halving.children.tolist() == children
    assert halving.children.flatten()[halving.slots].tolist() == list(range(len(fine)))


@pytest.mark.parametrize("chunked", [False, True])
def test_submanifold_conv_is_the_dense_one_at_active_sites(chunked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if chunked:  # the last chunk is a part of one, in the search and in the products
        monkeypatch.setattr(sparse_ops, "SEARCH_ROWS", 37)
        monkeypatch.setattr(sparse_ops, "CHUNK_ROWS", 41)
        monkeypatch.setattr(sparse_ops, "CPU_CHUNK_BYTES", 0)
    sites, active = random_sites(seed=1)
    features, weight = randn(2, len(sites.keys), 3), randn(3, 27, 1, 3, 5)
    check_equal(
        lambda f, w: submanifold_conv(f, w, neighbours_of(sites)),
        lambda f, w: at(F.conv3d(dense(f, active), conv3d_weight(w), padding=1), active),
        features,
        weight,
    )


@pytest.mark.parametrize("chunked", [False, True])
def test_strided_and_inverse_conv_are_the_dense_ones(chunked: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if chunked:
        monkeypatch.setattr(sparse_ops, "CHUNK_ROWS", 17)
        monkeypatch.setattr(sparse_ops, "CPU_CHUNK_BYTES", 0)
    sites, active = random_sites(seed=4, share=0.1)
    coarser, halving = halve(sites)
    coarse_active = F.max_pool3d(active.double(), 2) > 0
    assert len(coarser.keys) == int(coarse_active.sum()) < coarse_active.numel()
    check_equal(
        lambda f, w: strided_conv(f, w, halving),
        lambda f, w: at(F.conv3d(dense(f, active), conv3d_weight(w), stride=2), coarse_active),
        randn(5, len(sites.keys), 3),
        randn(6, 8, 1, 3, 5),
    )
    check_equal(
        lambda f, w: inverse_conv(f, w, halving),
        lambda f, w: at(
            F.conv_transpose3d(dense(f, coarse_active), conv3d_weight(w).transpose(0, 1), stride=2), active
        ),
        randn(7, len(coarser.keys), 3),
        randn(8, 8, 1, 3, 5),
    )


def check_equal(
    sparse: Callable[[Tensor, Tensor], Tensor],
    reference: Callable[[Tensor, Tensor], Tensor],
    features: Tensor,
    weight: Tensor,
) -> None:
    leaves = [features.requires_grad_(), weight.requires_grad_()]
    ours, theirs = sparse(*leaves), reference(*leaves)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)
    gradient = randn(9, *ours.shape)
    for got, expected in zip(
        torch.autograd.grad(ours, leaves, gradient), torch.autograd.grad(theirs, leaves, gradient), strict=True
    ):
        torch.testing.assert_close(got, expected, atol=1e-11, rtol=1e-11)


def small_rulebooks() -> tuple[Tensor, Halving, int, int]:
    sites, _ = unique_sites(torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 1, 1], [0, 4, 5, 6], [1, 0, 0, 1]]))
    coarser, halving = halve(sites)
    return neighbours_of(sites), halving, len(sites.keys), len(coarser.keys)


@pytest.mark.parametrize("name", ["submanifold", "strided", "inverse"])
def test_gradcheck_in_float64(name: str) -> None:
    neighbours, halving, fine, coarse = small_rulebooks()
    convolutions: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int, int]] = {
        "submanifold": (lambda f, w: submanifold_conv(f, w, neighbours), fine, 27),
        "strided": (lambda f, w: strided_conv(f, w, halving), fine, 8),
        "inverse": (lambda f, w: inverse_conv(f, w, halving), coarse, 8),
    }
    convolve, rows, taps = convolutions[name]
    features, weight = randn(1, rows, 2).requires_grad_(), randn(2, taps, 1, 2, 3).requires_grad_()
    assert torch.autograd.gradcheck(convolve, (features, weight))


def test_bfloat16_is_summed_in_float32() -> None:
    """1 added 27 x 64 times: a running sum in bfloat16 would stay at 256."""
    sites, _ = unique_sites(torch.ones(1, 3, 3, 3).nonzero())
    features, weight = torch.ones(27, 64), torch.ones(27, 1, 64, 2)
    with torch.autocast("cpu", torch.bfloat16):
        out = submanifold_conv(features, weight, neighbours_of(sites))
    assert out.dtype == torch.bfloat16
    assert out[13].tolist() == [27 * 64, 27 * 64]  # the centre of the cube
    assert out[0].tolist() == [8 * 64, 8 * 64]


def test_bfloat16_gradients_are_close_to_float32_and_of_the_weights_precision() -> None:
    sites, _ = random_sites(seed=1)
    _, halving = halve(sites)
    gradients = []
    for enabled in (False, True):
        features = randn(2, len(sites.keys), 16).float().requires_grad_()
        weights = [0.1 * randn(3 + i, taps, 1, 16, 16).float() for i, taps in enumerate((27, 8, 8))]
        leaves = [features, *(weight.requires_grad_() for weight in weights)]
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            y = submanifold_conv(features, leaves[1], neighbours_of(sites))
            y = inverse_conv(strided_conv(y, leaves[2], halving), leaves[3], halving)
        gradients.append(torch.autograd.grad(y.float().square().mean(), leaves))
    for full, half in zip(*gradients, strict=True):
        assert half.dtype == torch.float32
        assert float((full - half).norm() / full.norm()) < 0.02


def test_the_same_bits_each_time() -> None:
    sites, _ = random_sites(seed=1)
    features = randn(2, len(sites.keys), 16).float().requires_grad_()
    weight = randn(3, 27, 1, 16, 16).float().requires_grad_()
    runs = []
    for _ in range(2):
        out = submanifold_conv(features, weight, neighbours_of(sites))
        runs.append([out, *torch.autograd.grad(out.square().sum(), [features, weight])])
    for first, second in zip(*runs, strict=True):
        assert torch.equal(first, second)


def test_no_site_at_all() -> None:
    sites, rows = unique_sites(torch.empty(0, 4, dtype=torch.int32))
    coarser, halving = halve(sites)
    assert len(rows) == len(coarser.keys) == 0
    weights = [torch.ones(taps, 1, 3, 3, requires_grad=True) for taps in (27, 8, 8)]
    features = submanifold_conv(torch.empty(0, 3), weights[0], neighbours_of(sites))
    out = inverse_conv(strided_conv(features, weights[1], halving), weights[2], halving)
    assert out.shape == (0, 3)
    for gradient in torch.autograd.grad(out.sum(), weights):
        assert not gradient.any()


def test_coordinates_out_of_range_are_refused() -> None:
    with pytest.raises(UserError) as caught:
        unique_sites(torch.tensor([[0, 1, -2, 3], [0, 65535, 0, 0]]))
    assert str(caught.value) == (
        "got sites (batch, x, y, z) from [0, 1, -2, 0] to [0, 65535, 0, 3]; expected 0 to [32766, 65534, 65534, 65534]"
    )
