"""gate: is a student better than the champion? Both on the same test rooms, room by room; pure functions.

A champion that was tested on other rooms is not compared at all: a difference of two test sets says nothing of the two
students. The newcomer is then a challenger, and a person decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from roomseg.config import RegisterConfig
from roomseg.errors import UsageError
from roomseg.labels import VOID
from roomseg.metrics import class_iou, miou
from roomseg.ports import Champion
from roomseg.stages.room_results import RoomResults, unpacked

DISTILLED = "distilled"  # the version's tag that says which student it is, by the digest of its artifact
_DECIDES = "`roomseg promote` decides"


@dataclass(frozen=True)
class Verdict:
    """champion: it follows the champion; challenger: a person is to decide; keep: the champion stays."""

    outcome: Literal["champion", "challenger", "keep"]
    reason: str  # a sentence


def judge(config: RegisterConfig, results: RoomResults, distilled: str, champion: Champion | None) -> Verdict:
    """``distilled`` is the digest of the student's artifact. Raises ``UsageError`` for a floor of an unknown class."""
    low = below_floors(results, config.class_floors)
    if champion is None:
        return _verdict("champion", "there was no champion to compare with", *low)
    who = f"the champion, version {champion.version},"
    if champion.tags.get(DISTILLED) == distilled:
        return _verdict("champion", f"{who} is this student")
    if champion.results is None:
        return _verdict("challenger", f"{who} has no results by room: {_DECIDES}", *low)
    old = unpacked(champion.results, f"{config.model_name} version {champion.version}")
    pair = on_same_rooms(results, old)
    if pair is None:
        same = len(set(results.digests) & set(old.digests))
        counts = f"{len(results.digests)} here, {len(old.digests)} there, {same} of them the same"
        return _verdict("challenger", f"{who} was tested on other rooms ({counts}): {_DECIDES}", *low)
    if low:
        return _verdict("keep", *low)
    return compare(config, *pair, who)


def compare(config: RegisterConfig, new: np.ndarray, old: np.ndarray, who: str) -> Verdict:
    """(R, K, K) each, of the same rooms in the same order; ``who`` the old one is."""
    gain = miou(new) - miou(old)
    gains = bootstrap_gains(new, old, config.bootstrap_samples, config.seed)
    share = float(np.mean(gains >= config.min_gain))
    wins = gain >= config.min_gain and share >= config.min_confidence
    against = f"mIoU {miou(new):.4f} against {miou(old):.4f} of {who} on the same {len(new)} test rooms: {gain:+.4f}"
    shares = f"{share:.1%} of {len(gains)} bootstrap samples (expected {config.min_confidence:.1%})"
    return _verdict("champion" if wins else "keep", f"{against}, {config.min_gain:g} or more in {shares}")


def on_same_rooms(new: RoomResults, old: RoomResults) -> tuple[np.ndarray, np.ndarray] | None:
    """Both's (R, K, K) in one order of the rooms, whatever theirs is; None where the rooms or classes differ."""
    if new.classes != old.classes or sorted(new.digests) != sorted(old.digests):
        return None
    first, second = (each.confusions[np.argsort(each.digests, kind="stable")] for each in (new, old))
    return first, second


def bootstrap_gains(new: np.ndarray, old: np.ndarray, samples: int, seed: int) -> np.ndarray:  # (samples,)
    """mIoU of new less that of old on R rooms drawn with replacement, the same for both; (R, K, K) each.

    NaN for a sample where no class occurs.
    """
    rooms = len(new)
    times_drawn = np.random.default_rng(seed).multinomial(rooms, np.full(rooms, 1 / rooms), samples)  # (samples, R)
    gains = np.empty(samples)
    for place, times in enumerate(times_drawn):
        first, second = (miou(np.tensordot(times, each, axes=1)[None]) for each in (new, old))
        gains[place] = first - second
    return gains


def below_floors(results: RoomResults, floors: Mapping[str, float]) -> list[str]:
    """A clause for each class below its floor, or that the rooms lack; raises ``UsageError`` for an unknown class."""
    ious = dict(zip(results.classes[VOID + 1 :], class_iou(results.confusions)[VOID + 1 :], strict=True))
    clauses = []
    for name, floor in floors.items():
        if name not in ious:
            raise UsageError(f"register.class_floors names {name!r}; expected classes of {', '.join(ious)}")
        if np.isnan(ious[name]):
            clauses.append(f"{name} occurs in no test room and has a floor of {floor:g}")
        elif ious[name] < floor:
            clauses.append(f"{name} has an IoU of {ious[name]:.4f}, below its floor of {floor:g}")
    return clauses


def _verdict(outcome: Literal["champion", "challenger", "keep"], *clauses: str) -> Verdict:
    return Verdict(outcome, "; ".join(clauses))
