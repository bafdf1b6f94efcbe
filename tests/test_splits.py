"""Splits by house."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from roomseg.splits import split_by_house


def test_counts_follow_the_shares() -> None:
    houses = [f"h{n}" for n in range(200)]
    assert Counter(split_by_house(houses, (0.9, 0.06, 0.04), seed=3).values()) == {"train": 180, "val": 12, "test": 8}


def test_few_houses_still_fill_each_split() -> None:
    assert Counter(split_by_house(["a", "b", "c"], (0.9, 0.05, 0.05), seed=0).values()) == {
        "train": 1,
        "val": 1,
        "test": 1,
    }
    assert set(split_by_house(["a", "b"], (0.9, 0.05, 0.05), seed=0).values()) == {"train"}


@given(st.permutations([f"h{n}" for n in range(12)]), st.integers(0, 5))
def test_order_and_repeats_do_not_matter(houses: list[str], seed: int) -> None:
    expected = split_by_house([f"h{n}" for n in range(12)], (0.5, 0.25, 0.25), seed)
    assert split_by_house(houses + houses[:3], (0.5, 0.25, 0.25), seed) == expected


def test_the_seed_changes_the_split() -> None:
    houses = [f"h{n}" for n in range(40)]
    assert split_by_house(houses, (0.5, 0.25, 0.25), 0) != split_by_house(houses, (0.5, 0.25, 0.25), 1)
