"""What a set of rooms holds, from the summaries of its shards: what to know before training on it."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np

from roomseg.data.summary import RoomLine, ShardSummary
from roomseg.errors import UserError
from roomseg.labels import label_set
from roomseg.splits import SPLITS

SHOWN_REASONS = 50


def audit_report(summaries: Iterable[ShardSummary]) -> dict[str, Any]:
    """Counts of rooms, houses and class voxels, shares, credits and quarantine, as JSON types.

    Means are None where no room says. Holds one summary at a time, and 8 bytes a room. Raises ``UserError`` for
    shards with different label sets.
    """
    audit = _Audit()
    for summary in summaries:
        audit.add(summary)
    return audit.report()


class _Audit:
    """Sums over the shards."""

    def __init__(self) -> None:
        self.labels: str | None = None
        self.rooms = Counter(dict.fromkeys(SPLITS, 0))
        self.houses = {split: array("Q") for split in SPLITS}  # a hash a room
        self.room_types: Counter[str] = Counter()
        self.class_voxels: dict[str, np.ndarray] = {}
        self.occupied = self.labelled = self.bytes = self.without_panorama = 0
        self.hit_rate, self.surface_seen = _Mean(), _Mean()
        self.credits: set[str] = set()
        self.reasons: Counter[str] = Counter()

    def add(self, summary: ShardSummary) -> None:
        self.labels = self.labels or summary.labels
        if self.labels and summary.labels not in (None, self.labels):
            names = " and ".join(label_set(each).name for each in (self.labels, summary.labels))
            raise UserError(f"shards have the labels {names}: render them apart")
        for line in summary.rooms:
            self._add_room(line)
        for split, counts in summary.class_voxels.items():
            self.class_voxels[split] = self.class_voxels.get(split, 0) + np.array(counts, np.int64)
        self.occupied += summary.occupied
        self.labelled += summary.labelled
        self.credits.update(summary.credits)
        self.reasons.update(_kind(rejected.reason) for rejected in summary.quarantined)

    def _add_room(self, line: RoomLine) -> None:
        self.rooms[line.split] += 1
        self.houses[line.split].append(hash_64(line.house_id))
        self.room_types[line.room_type] += 1
        self.hit_rate.add(line.hit_rate)
        self.surface_seen.add(line.surface_seen)
        self.without_panorama += line.panoramas == 0
        self.bytes += line.bytes

    def report(self) -> dict[str, Any]:
        houses = {split: np.unique(np.array(hashes, np.uint64)) for split, hashes in self.houses.items()}
        _, in_splits = np.unique(np.concatenate(list(houses.values())), return_counts=True)
        names = label_set(self.labels).names if self.labels else ()
        none = np.zeros(len(names), np.int64)
        labelled_share = self.labelled / max(self.occupied, 1)
        return {
            "labels": self.labels,
            "rooms": {split: self.rooms[split] for split in SPLITS},
            "houses": {split: len(each) for split, each in houses.items()},
            "houses_in_two_splits": int((in_splits > 1).sum()),
            "room_types": dict(sorted(self.room_types.items())),
            "class_voxels": {
                split: dict(zip(names, self.class_voxels.get(split, none).tolist(), strict=True)) for split in SPLITS
            },
            "hit_rate": self.hit_rate.value,
            "surface_seen": self.surface_seen.value,
            "rooms_without_panorama": self.without_panorama,
            "labelled_share": labelled_share,
            "unlabelled_share": 1 - labelled_share,
            "bytes": self.bytes,
            "quarantined": sum(self.reasons.values()),
            "quarantine_reasons": dict(self.reasons.most_common(SHOWN_REASONS)),
            "credits": sorted(self.credits),
            "licences": dict(sorted(Counter(map(_licence, self.credits)).items())),
        }


class _Mean:
    def __init__(self) -> None:
        self.sum, self.n = 0.0, 0

    def add(self, value: float | None) -> None:
        if value is not None:
            self.sum += value
            self.n += 1

    @property
    def value(self) -> float | None:
        return self.sum / self.n if self.n else None


def hash_64(text: str) -> int:
    """Eight bytes that stand for a name where a million of them are compared."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _kind(reason: str) -> str:
    """A reason without its numbers and file names, so that equal failures of many rooms count together."""
    return re.sub(r"\S*[/\\\d]\S*", "…", reason)


def _licence(credit: str) -> str:
    """Of "creator, library, licence", without the names that some put behind it."""
    _, comma, licence = credit.rpartition(", ")
    return re.split(r"\s+(?:Copyright|©)", licence)[0] if comma else "not stated"
