"""Linear layers in one pass with what follows them, against the plain operations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from roomseg.models.linear import linear, linear_gelu, plus_linear


@pytest.fixture
def case() -> tuple[nn.Linear, Tensor, Tensor]:
    torch.manual_seed(0)
    return nn.Linear(48, 20), 3 * torch.randn(2, 37, 48), torch.randn(2, 37, 20)


def test_one_pass_equals_the_plain_operations(case: tuple[nn.Linear, Tensor, Tensor]) -> None:
    layer, x, residual = case
    kept = residual.clone()
    with torch.no_grad():
        plain = layer(x)
        torch.testing.assert_close(linear(layer, x), plain, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(linear_gelu(layer, x), F.gelu(plain), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(plus_linear(residual, layer, x), kept + plain, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(residual, kept, atol=0, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_those_of_the_plain_operations(
    case: tuple[nn.Linear, Tensor, Tensor], dtype: torch.dtype
) -> None:
    layer, x, residual = case[0].to(dtype), case[1].to(dtype), case[2].to(dtype)
    fast = (linear(layer, x) + linear_gelu(layer, x) + plus_linear(residual, layer, x)).square().sum()
    plain = (layer(x) + F.gelu(layer(x)) + residual + layer(x)).square().sum()
    for mine, expected in zip(*(torch.autograd.grad(loss, layer.parameters()) for loss in (fast, plain)), strict=True):
        torch.testing.assert_close(mine, expected, atol=1e-4, rtol=1e-4)


def test_bfloat16_takes_the_plain_operations(case: tuple[nn.Linear, Tensor, Tensor]) -> None:
    layer, x, _ = case
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert linear(layer, x).dtype == torch.bfloat16
