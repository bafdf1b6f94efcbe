from __future__ import annotations

import math

import numba
import pytest
import torch
from torch import Tensor

from roomseg.models.attention import _cpu_attention, _cpu_attention_backward, window_attention
from roomseg.models.swin import relative_position_index, window_groups, window_order


def definition(qkv: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Output (W, T, H D) and log of the normaliser (W, H, T), in float64."""
    q, k, v = qkv.double().permute(2, 0, 3, 1, 4)
    scores = q @ k.transpose(-1, -2) / math.sqrt(qkv.shape[4]) + bias.double()
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2), scores.logsumexp(-1)


def check(qkv: Tensor, bias: Tensor, atol: float, rtol: float) -> None:
    for ours, exact in zip(_cpu_attention(qkv, bias), definition(qkv, bias), strict=True):
        torch.testing.assert_close(ours, exact.float(), atol=atol, rtol=rtol)


@pytest.mark.parametrize("channels", [8, 16, 32])
@pytest.mark.parametrize(
    ("windows", "tokens", "heads"), [(1, 32, 1), (9, 64, 3), (3, 128, 4), (2, 256, 6), (2, 512, 3)]
)
def test_forward_equals_the_definition(windows: int, tokens: int, heads: int, channels: int) -> None:
    torch.manual_seed(0)
    check(torch.randn(windows, tokens, 3, heads, channels), torch.randn(heads, tokens, tokens), atol=4e-6, rtol=1e-5)


def test_scores_of_all_sizes_side_by_side() -> None:
    """Some queries have scores that exp takes as they are, some have scores of hundreds."""
    torch.manual_seed(0)
    qkv, bias = torch.randn(2, 128, 3, 2, 16), torch.randn(2, 128, 128)
    qkv[:, ::3, 0] *= torch.logspace(0, 2.5, 43)[:, None, None]
    check(qkv, bias, atol=5e-4, rtol=1e-4)  # a score of 1000 is rounded to 6e-5


@pytest.mark.parametrize("shift", [-1e4, -60.0, -30.0, 30.0, 60.0, 1e4])
def test_what_all_scores_have_in_common_does_not_matter(shift: float) -> None:
    torch.manual_seed(0)
    check(torch.randn(2, 64, 3, 2, 16), torch.randn(2, 64, 64) + shift, atol=1e-7 * abs(shift) + 4e-6, rtol=2e-3)


def test_masked_keys_are_not_seen() -> None:
    torch.manual_seed(0)
    qkv, bias = torch.randn(2, 64, 3, 2, 16), torch.randn(2, 64, 64)
    bias[:, :, 40:] = -1e4
    qkv[:, 40:, 2] = 1e4
    check(qkv, bias, atol=4e-6, rtol=1e-5)


def test_results_do_not_depend_on_the_number_of_threads() -> None:
    torch.manual_seed(0)
    qkv, bias = torch.randn(11, 128, 3, 3, 16), torch.randn(3, 128, 128)
    threads = numba.get_num_threads()
    results = []
    for count in (1, min(2, threads)):
        numba.set_num_threads(count)
        out, normaliser = _cpu_attention(qkv, bias)
        results.append([out, normaliser, *_cpu_attention_backward(qkv, bias, out, normaliser, torch.ones_like(out))])
    numba.set_num_threads(threads)
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize(("windows", "tokens", "channels"), [(1, 64, 4), (3, 32, 20), (5, 128, 16), (2, 512, 32)])
def test_kernel_equals_the_definition_with_its_gradients(windows: int, tokens: int, channels: int) -> None:
    torch.manual_seed(0)
    heads = 3
    qkv = torch.randn(windows, tokens, 3, heads, channels, requires_grad=True)
    bias = torch.randn(heads, tokens, tokens, requires_grad=True)
    probe = torch.randn(windows, tokens, heads * channels)
    fast = window_attention(qkv, bias)
    fast_gradients = torch.autograd.grad((fast * probe).sum(), (qkv, bias))

    slow, _ = definition(qkv, bias)
    slow_gradients = torch.autograd.grad((slow * probe).sum(), (qkv, bias))
    torch.testing.assert_close(fast, slow.float(), atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(fast_gradients, slow_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)


def test_large_scores_neither_overflow_nor_vanish() -> None:
    qkv = torch.zeros(1, 64, 3, 1, 16)
    qkv[0, :, :2] = 20.0  # scores of 1600
    qkv[0, 7, 2] = 64.0
    out = window_attention(qkv, torch.zeros(1, 64, 64))
    torch.testing.assert_close(out, torch.ones(1, 64, 16))


@pytest.mark.parametrize("bad", [math.nan, -math.nan, math.inf, -math.inf])
def test_not_a_number_reaches_the_output(bad: float) -> None:
    torch.manual_seed(0)
    for part, rows in ((0, slice(3, 4)), (1, slice(None)), (2, slice(None))):  # a query's own row, or all
        qkv = torch.randn(2, 64, 3, 1, 16).abs()
        qkv[1, 3, part, 0, 0] = bad
        out, normaliser = _cpu_attention(qkv, torch.zeros(1, 64, 64))
        finite = torch.ones(2, 64, dtype=torch.bool)
        if math.isnan(bad) or part != 1 or bad > 0:  # a score of minus infinity is a key that is not seen
            finite[1, rows] = False
        assert torch.equal(out[:, :, 0].isfinite(), finite)
        if part < 2 and not math.isinf(bad):
            assert torch.equal(normaliser[:, 0].isfinite(), finite)


def test_float64_takes_torchs_own_kernel_and_agrees() -> None:
    torch.manual_seed(0)
    qkv, bias = torch.randn(2, 64, 3, 2, 16), torch.randn(2, 64, 64)
    exact = window_attention(qkv.double(), bias.double())
    assert exact.dtype == torch.float64
    torch.testing.assert_close(window_attention(qkv, bias), exact.float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sizes", [(8, 8, 8), (16, 8, 24), (16, 16, 16)])
@pytest.mark.parametrize("shifted", [False, True])
def test_window_order_is_a_permutation_into_neighbours(sizes: tuple[int, int, int], shifted: bool) -> None:
    order, inverse = window_order(sizes, shifted, torch.device("cpu"))
    groups = window_groups(sizes, shifted)
    assert torch.equal(order[inverse], torch.arange(sizes[0] * sizes[1] * sizes[2]))
    start = 0
    for group in groups:
        windows = order[start : start + group.tokens].reshape(group.windows, -1)
        start += group.tokens
        for axis, stride in enumerate((sizes[1] * sizes[2], sizes[2], 1)):
            place = windows // stride % sizes[axis]
            extent = place.amax(1) - place.amin(1) + 1
            assert (extent == group.shape[axis]).all()
            moved = shifted and sizes[axis] > 8
            # windows of 8 start at multiples of 8, or 4 further; the halves of 4 lie at the two ends
            full_start = 4 if moved and group.shape[axis] == 8 else 0
            assert (place.amin(1) % 4 == 0).all()
            if group.shape[axis] == 8:
                assert (place.amin(1) % 8 == full_start).all()
            else:
                assert set(place.amin(1).tolist()) == {0, sizes[axis] - 4}
    assert start == len(order)


def test_relative_index_by_hand() -> None:
    index = relative_position_index()
    assert index[0, 0] == (7 * 15 + 7) * 15 + 7
    # query (1, 2, 3), key (0, 5, 1): differences (1, -3, 2)
    assert index[(1 * 8 + 2) * 8 + 3, (0 * 8 + 5) * 8 + 1] == (8 * 15 + 4) * 15 + 9
