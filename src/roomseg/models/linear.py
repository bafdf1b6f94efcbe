"""Linear layers with what follows them in one pass, where no gradient is asked for.

On CPUs torch writes a linear layer's bias into the output, adds the product to it, and reads all of it again for the
GELU or the residual. oneDNN's kernel, which torch itself takes when it compiles, does all of that as it writes the
product. It knows no gradient, so training takes the plain operations.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def linear(layer: nn.Linear, x: Tensor) -> Tensor:  # (..., C) -> (..., C')
    if _in_one_pass(layer, x):
        return torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, "none", [], "")
    return layer(x)


def linear_gelu(layer: nn.Linear, x: Tensor) -> Tensor:  # (..., C) -> (..., C')
    if _in_one_pass(layer, x):
        return torch.ops.mkldnn._linear_pointwise(x, layer.weight, layer.bias, "gelu", [], "none")
    return F.gelu(layer(x))


def plus_linear(residual: Tensor, layer: nn.Linear, x: Tensor) -> Tensor:  # (..., C'), (..., C) -> (..., C')
    if _in_one_pass(layer, x):
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, layer.weight, layer.bias, "add")
    return residual + layer(x)


def _in_one_pass(layer: nn.Linear, x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == layer.weight.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and torch.backends.mkldnn.is_available()
    )
