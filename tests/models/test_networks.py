"""What holds for every network that ``pretrain`` trains: the student's variants and the baselines."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from roomseg.config import NetworkName
from roomseg.errors import UserError
from roomseg.models.networks import as_network, build_network

NETWORKS = tuple(name for group in get_args(NetworkName) for name in get_args(group))
SIZES = (16, 8, 24)


@pytest.mark.parametrize("name", NETWORKS)
def test_volumes_that_are_none_are_refused_with_what_was_expected(name: NetworkName) -> None:
    network = as_network(build_network(name, classes=5))
    labels = torch.zeros(1, *SIZES, dtype=torch.uint8)
    volume = torch.full((1, 4, *SIZES), -1.0)
    broken = {
        r"the volume has the shape \(1, 3, 16, 8, 24\); expected \(B, 4, X, Y, Z\)": volume[:, :3],
        r"the volume has the shape \(4, 16, 8, 24\); expected \(B, 4, X, Y, Z\)": volume[0],
        r"has 1 values that are NaN or infinite; expected -3 x TSDF and RGB": with_value(volume, 0, torch.nan),
        r"has 1 values that are NaN or infinite; expected": with_value(volume, 2, torch.inf),
    }
    for told, wrong in broken.items():
        for run in (network.predict, lambda volume: network.loss(volume, labels)):
            with pytest.raises(UserError, match=told):
                run(wrong)


def with_value(volume: torch.Tensor, channel: int, value: float) -> torch.Tensor:
    changed = volume.clone()
    changed[0, channel, 9, 4, 20] = value
    return changed
