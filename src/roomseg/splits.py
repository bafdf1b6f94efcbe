"""Splits that never share a house, and the published ones, which do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from roomseg.errors import UserError

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


def read_published_split(folder: Path) -> dict[str, str]:  # room id -> split
    """Raises ``UserError`` for a missing list, a line that is no room id, or a room in two lists."""
    split_of: dict[str, str] = {}
    for split in SPLITS:
        path = folder / f"{split}.txt"
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, ValueError):
            raise UserError(f"{path} cannot be read; expected train.txt, val.txt and test.txt with room ids") from None
        for number, line in enumerate(lines, 1):
            room_id = line.strip()
            if not room_id:
                continue
            if not room_id.rpartition("_")[2].isdecimal():
                raise UserError(f"{path}, line {number}: {room_id[:60]!r} is no room id; expected <house>_<number>")
            if split_of.setdefault(room_id, split) != split:
                raise UserError(f"{path}, line {number}: {room_id} is in {split_of[room_id]}.txt too; keep it in one")
    return split_of
