"""What a set of rooms holds: what to know before training on it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from roomseg.data.dataset import open_rooms
from roomseg.data.rooms import TSDF_STEPS, Room
from roomseg.labels import CLASS_NAMES, N_CLASSES
from roomseg.splits import SPLITS


class SplitAudit:
    """Sums over the rooms of one split."""

    def __init__(self) -> None:
        self.class_voxels = np.zeros(N_CLASSES, np.int64)
        self.houses: set[str] = set()
        self.room_types: Counter[str] = Counter()
        self.credits: set[str] = set()
        self.hit_rates: list[float] = []
        self.occupied = 0
        self.labelled = 0

    def add(self, room: Room) -> None:
        self.class_voxels += np.bincount(room.label.ravel(), minlength=N_CLASSES)
        self.houses.add(room.house_id)
        self.room_types[room.meta["room_type"]] += 1
        self.credits.update(room.meta["credits"])
        self.hit_rates.append(room.meta["hit_rate"])
        self.occupied += int((room.tsdf < TSDF_STEPS).sum())
        self.labelled += int((room.label > 0).sum())


def audit_rooms(shards: list[Path]) -> dict[str, Any]:
    """Counts of rooms, houses and class voxels, shares and credits, as JSON types."""
    splits = {split: SplitAudit() for split in SPLITS}
    for split, audit in splits.items():
        for room in open_rooms(shards, split):
            audit.add(room)
    train, val, test = (splits[split] for split in SPLITS)
    every = [train, val, test]
    return {
        "rooms": {split: len(a.hit_rates) for split, a in splits.items()},
        "houses": {split: len(a.houses) for split, a in splits.items()},
        "houses_in_two_splits": len(train.houses & val.houses | train.houses & test.houses | val.houses & test.houses),
        "room_types": dict(sum((a.room_types for a in every), Counter())),
        "class_voxels": {
            split: dict(zip(CLASS_NAMES, a.class_voxels.tolist(), strict=True)) for split, a in splits.items()
        },
        "hit_rate": float(np.mean([rate for a in every for rate in a.hit_rates])),
        "labelled_share": sum(a.labelled for a in every) / max(sum(a.occupied for a in every), 1),
        "credits": sorted(set.union(*(a.credits for a in every))),
    }
