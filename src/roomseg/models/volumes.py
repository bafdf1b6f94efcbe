"""The volumes that all 3D networks take: (B, 4, X, Y, Z) float, as ``data.rooms.network_input`` makes them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from roomseg.errors import UserError

CHANNELS = 4  # -3 x TSDF, then RGB in [-1, 1]
EMPTY = (-3.0, -1.0, -1.0, -1.0)  # the value where nothing is (data.rooms has the same, for numpy)


def check_volume(x: Tensor) -> None:
    """Raises UserError unless ``x`` is a (B, 4, X, Y, Z) of finite values (which a traced program does not look at)."""
    check_shape(x)
    if torch.compiler.is_compiling():
        return
    if x.detach().sum(dtype=torch.float32).isfinite():  # one pass; the sum has what a value has
        return
    raise UserError(
        f"the volume has {int((~x.isfinite()).sum()):,} values that are NaN or infinite; expected -3 x TSDF "
        "and RGB in [-1, 1]: look at the room's data"
    )


def check_shape(x: Tensor) -> None:
    if x.dim() != 5 or x.shape[1] != CHANNELS:
        raise UserError(
            f"the volume has the shape {tuple(x.shape)}; expected (B, {CHANNELS}, X, Y, Z): -3 x TSDF, then RGB"
        )


def padded(x: Tensor, sizes: Sequence[int]) -> Tensor:
    """Empty at the high ends up to ``sizes``, none of them smaller than it is; the same tensor if it has them."""
    if tuple(sizes) == tuple(x.shape[2:]):
        return x
    volume = x.new_tensor(EMPTY).view(1, -1, 1, 1, 1).repeat(len(x), 1, *sizes)
    volume[..., : x.shape[2], : x.shape[3], : x.shape[4]] = x
    return volume
