from __future__ import annotations

import pytest
import torch

from roomseg.models.attention import window_attention
from roomseg.models.swin import relative_position_index, window_groups, window_order


@pytest.mark.parametrize(("windows", "tokens", "channels"), [(1, 64, 16), (5, 128, 16), (2, 512, 32)])
def test_kernel_equals_the_definition_with_its_gradients(windows: int, tokens: int, channels: int) -> None:
    torch.manual_seed(0)
    heads = 3
    qkv = torch.randn(windows, tokens, 3, heads, channels, requires_grad=True)
    bias = torch.randn(heads, tokens, tokens, requires_grad=True)
    probe = torch.randn(windows, tokens, heads * channels)
    fast = window_attention(qkv, bias)
    fast_gradients = torch.autograd.grad((fast * probe).sum(), (qkv, bias))

    q, k, v = qkv.double().permute(2, 0, 3, 1, 4)
    shares = (q @ k.transpose(-1, -2) / channels**0.5 + bias.double()).softmax(-1)
    slow = (shares @ v).transpose(1, 2).flatten(2)
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


def test_not_a_number_reaches_the_output() -> None:
    qkv = torch.zeros(1, 64, 3, 1, 16)
    qkv[0, 3, 1, 0, 0] = float("nan")
    assert window_attention(qkv, torch.zeros(1, 64, 64)).isnan().all()


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
