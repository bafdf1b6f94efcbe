"""The gate: rooms joined by content, gains computed by hand, what holds whatever the rooms are, and its sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.config import RegisterConfig
from roomseg.errors import UsageError
from roomseg.metrics import miou
from roomseg.ports import Champion
from roomseg.stages.gate import below_floors, bootstrap_gains, judge, on_same_rooms
from roomseg.stages.room_results import RoomResults, packed

CLASSES = ("void", "wall", "bed")


def room(wall: tuple[int, int], bed: tuple[int, int]) -> np.ndarray:  # (3, 3)
    """(voxels that are right, voxels that are taken for the other class) of each class."""
    return np.array([[90, 0, 0], [0, *wall], [0, *bed[::-1]]])


def results(matrices: Sequence[np.ndarray], digests: str, classes: tuple[str, ...] = CLASSES) -> RoomResults:
    """A digest is a letter here."""
    return RoomResults(classes, tuple(f"room {d}" for d in digests), tuple(digests), np.stack(matrices))


def champion(old: RoomResults | None, **tags: str) -> Champion:
    return Champion("7", tags, None if old is None else packed(old))


GOOD = room(wall=(8, 0), bed=(2, 0))  # both IoUs 1
FAIR = room(wall=(8, 0), bed=(1, 1))  # wall 8 of 9, bed 1 of 2
POOR = room(wall=(8, 0), bed=(0, 2))  # wall 8 of 10, bed 0


def test_gains_on_one_room_by_hand() -> None:
    """One room is drawn in each sample: each gain is (1 + 1) / 2 - (8/9 + 1/2) / 2 = 11/36."""
    gains = bootstrap_gains(GOOD[None], FAIR[None], samples=5, seed=0)
    np.testing.assert_allclose(gains, [11 / 36] * 5, rtol=1e-12)


def test_gains_on_two_rooms_by_hand() -> None:
    """Better in one room, alike in the other: what is drawn is one twice, each once, or the other twice.

    Old: FAIR twice has walls 16 of 18, beds 2 of 4; FAIR and GOOD 16 of 17 and 3 of 4; new: all right.
    """
    new, old = np.stack([GOOD, GOOD]), np.stack([FAIR, GOOD])
    gains = bootstrap_gains(new, old, samples=4000, seed=0)
    both, once = 1 - (16 / 18 + 2 / 4) / 2, 1 - (16 / 17 + 3 / 4) / 2
    found, counts = np.unique(gains.round(12), return_counts=True)
    np.testing.assert_allclose(found, [0, once, both], atol=1e-11)
    np.testing.assert_allclose(counts / 4000, [1 / 4, 1 / 2, 1 / 4], atol=0.03)


def test_rooms_are_paired_by_content() -> None:
    pair = on_same_rooms(results([GOOD, FAIR, POOR], "bac"), results([POOR, GOOD, FAIR], "cba"))
    assert pair is not None
    np.testing.assert_array_equal(pair[0], np.stack([FAIR, GOOD, POOR]))
    np.testing.assert_array_equal(pair[1], np.stack([FAIR, GOOD, POOR]))
    assert on_same_rooms(results([GOOD, FAIR], "ab"), results([GOOD], "a")) is None
    assert on_same_rooms(results([GOOD, FAIR], "ab"), results([GOOD, FAIR], "ac")) is None
    assert on_same_rooms(results([GOOD, FAIR], "aa"), results([GOOD, FAIR], "ab")) is None
    assert on_same_rooms(results([GOOD], "a"), results([GOOD], "a", ("void", "wall", "sofa"))) is None


matrix = st.lists(st.integers(0, 50), min_size=9, max_size=9).map(lambda values: np.array(values).reshape(3, 3))
pairs = st.lists(st.tuples(matrix, matrix), min_size=1, max_size=6)


@settings(deadline=None)
@given(pairs, st.integers(0, 99))
def test_the_gain_of_one_is_the_loss_of_the_other(rooms: list[tuple[np.ndarray, np.ndarray]], seed: int) -> None:
    new, old = (np.stack(side) for side in zip(*rooms, strict=True))
    forth, back = bootstrap_gains(new, old, 20, seed), bootstrap_gains(old, new, 20, seed)
    np.testing.assert_array_equal(forth, -back)
    itself = bootstrap_gains(new, new, 20, seed)
    assert (itself[~np.isnan(itself)] == 0).all()


@settings(deadline=None)
@given(pairs, st.randoms(use_true_random=False))
def test_the_order_of_the_rooms_does_not_matter(rooms: list[tuple[np.ndarray, np.ndarray]], random: Any) -> None:
    named = [(letter, *pair) for letter, pair in zip("abcdef", rooms, strict=False)]
    verdicts = []
    for _ in range(2):
        new, old = (
            results([one[side] for one in order], "".join(one[0] for one in order))
            for side, order in ((1, random.sample(named, len(named))), (2, random.sample(named, len(named))))
        )
        verdicts.append(judge(RegisterConfig(bootstrap_samples=20), new, "new", champion(old)))
    assert verdicts[0] == verdicts[1]


@settings(deadline=None)
@given(pairs, st.floats(0.001, 0.2))
def test_at_most_one_of_two_beats_the_other(rooms: list[tuple[np.ndarray, np.ndarray]], min_gain: float) -> None:
    first, second = (results(side, "abcdef"[: len(rooms)]) for side in zip(*rooms, strict=True))
    config = RegisterConfig(min_gain=min_gain, bootstrap_samples=20, min_confidence=0.5)
    outcomes = [judge(config, new, "new", champion(old)).outcome for new, old in ((first, second), (second, first))]
    assert outcomes.count("champion") <= 1
    gain = miou(first.confusions) - miou(second.confusions)
    assert outcomes[0] == "keep" or gain >= min_gain
    assert judge(config, first, "new", champion(first)).outcome == "keep"


def test_a_gain_in_every_room_is_champion_and_says_why() -> None:
    new, old = results([GOOD] * 4, "abcd"), results([FAIR] * 4, "dcba")
    verdict = judge(RegisterConfig(bootstrap_samples=50), new, "new", champion(old))
    assert verdict.outcome == "champion"
    assert verdict.reason == (
        "mIoU 1.0000 against 0.6944 of the champion, version 7, on the same 4 test rooms: +0.3056, "
        "0.001 or more in 100.0% of 50 bootstrap samples (expected 95.0%)"
    )


def test_a_gain_that_one_room_makes_is_not_sure_enough() -> None:
    """Without that room, and it is not drawn in (3/4)^4 = 32% of samples, there is none."""
    new, old = results([GOOD] * 4, "abcd"), results([FAIR, GOOD, GOOD, GOOD], "abcd")
    verdict = judge(RegisterConfig(), new, "new", champion(old))
    assert verdict.outcome == "keep"
    share = float(verdict.reason.split("or more in ")[1].split("%")[0])
    assert share == pytest.approx(100 * (1 - 0.75**4), abs=4)
    assert judge(RegisterConfig(min_confidence=0.6), new, "new", champion(old)).outcome == "champion"


def test_a_gain_that_is_too_small_is_none() -> None:
    new, old = results([GOOD] * 4, "abcd"), results([FAIR] * 4, "abcd")
    assert judge(RegisterConfig(min_gain=0.305), new, "new", champion(old)).outcome == "champion"
    verdict = judge(RegisterConfig(min_gain=0.306), new, "new", champion(old))
    assert verdict.outcome == "keep"
    assert "+0.3056, 0.306 or more in 0.0% of 1000" in verdict.reason


def test_floors() -> None:
    """Beds: 1 of 2 right, so IoU 0.5; sofas are in no room."""
    classes = (*CLASSES, "sofa")
    fair = results([np.pad(FAIR, (0, 1))], "a", classes)
    assert below_floors(fair, {"bed": 0.5, "wall": 0.8}) == []
    assert below_floors(fair, {"sofa": 0.1, "bed": 0.51}) == [
        "sofa occurs in no test room and has a floor of 0.1",
        "bed has an IoU of 0.5000, below its floor of 0.51",
    ]
    for name in ("void", "sofas"):
        with pytest.raises(UsageError, match=f"class_floors names '{name}'; expected classes of wall, bed, sofa"):
            below_floors(fair, {name: 0.1})


def test_a_class_below_its_floor_keeps_a_better_student_back() -> None:
    new, old = results([FAIR] * 4, "abcd"), results([POOR] * 4, "abcd")
    assert judge(RegisterConfig(class_floors={"bed": 0.5}), new, "new", champion(old)).outcome == "champion"
    verdict = judge(RegisterConfig(class_floors={"bed": 0.6}), new, "new", champion(old))
    assert (verdict.outcome, verdict.reason) == ("keep", "bed has an IoU of 0.5000, below its floor of 0.6")
    first = judge(RegisterConfig(class_floors={"bed": 0.6}), new, "new", None)
    assert first.outcome == "champion"
    assert first.reason == ("there was no champion to compare with; bed has an IoU of 0.5000, below its floor of 0.6")


def test_what_cannot_be_compared_is_for_a_person() -> None:
    new = results([GOOD, GOOD], "ab")
    verdict = judge(RegisterConfig(), new, "new", champion(results([FAIR] * 3, "bcd"), distilled="old"))
    assert verdict.outcome == "challenger"
    assert verdict.reason == (
        "the champion, version 7, was tested on other rooms (2 here, 3 there, 1 of them the same): "
        "`roomseg promote` decides"
    )
    verdict = judge(RegisterConfig(), new, "new", champion(None))
    assert verdict.outcome == "challenger"
    assert "has no results by room" in verdict.reason


def test_the_champion_itself_is_not_compared_with_itself() -> None:
    verdict = judge(RegisterConfig(), results([GOOD], "a"), "same", champion(results([GOOD], "b"), distilled="same"))
    assert (verdict.outcome, verdict.reason) == ("champion", "the champion, version 7, is this student")
