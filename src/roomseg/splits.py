"""Splits that never share a house."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

SPLITS = ("train", "val", "test")


def split_by_house(
    house_ids: Iterable[str], shares: tuple[float, float, float], seed: int
) -> dict[str, str]:  # house id -> train, val or test
    """Give each house a split: a function of the set of houses and of ``seed``, not of their order.

    ``shares`` of train, val and test sum to 1. With three houses or more each split has one at least.
    """
    houses = sorted(set(house_ids), key=lambda house: hashlib.sha256(f"{seed}/{house}".encode()).digest())
    least = 1 if len(houses) >= 3 else 0
    n_val, n_test = (max(least, round(share * len(houses))) for share in shares[1:])
    splits = ["val"] * n_val + ["test"] * n_test
    splits += ["train"] * (len(houses) - len(splits))
    return dict(zip(houses, splits, strict=False))
