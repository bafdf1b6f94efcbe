"""Small rooms, and artifacts of them in a plain folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from roomseg.data import index
from roomseg.data.rooms import Panorama, Room
from roomseg.data.shards import write_shard
from roomseg.data.summary import ShardSummary
from roomseg.ports import Rejected


def small_room(
    seed: int,
    split: str = "train",
    shape: tuple[int, int, int] = (5, 6, 7),
    labels: str = "panorooms3d",
    **meta: Any,
) -> Room:
    """Random planes; two rooms after another share a house."""
    rng = np.random.default_rng(seed)
    tsdf = rng.integers(-127, 128, shape).astype(np.int8)
    full = tsdf < 127
    classes = 30 if labels == "panorooms3d" else 21
    view = Panorama(
        rng.normal(size=3), np.full((8, 16, 3), 90, np.uint8), rng.integers(0, classes, (8, 16)).astype(np.uint8)
    )
    return Room(
        id=f"room{seed}",
        house_id=f"house{seed // 2}",
        split=split,
        origin_m=rng.normal(size=3),
        voxel_m=0.04,
        tsdf=tsdf,
        rgb=(rng.integers(0, 256, (*shape, 3)) * full[..., None]).astype(np.uint8),
        label=(rng.integers(0, classes, shape) * full).astype(np.uint8),
        labels=labels,
        panoramas=(view,),
        meta={"room_type": "office", "credits": ["Ann, chairs, CC0"], "hit_rate": 0.5, **meta},
    )


@dataclass(frozen=True)
class FolderArtifact:
    """``ports.ArtifactReader`` over a folder."""

    root: Path
    digest: str = "digest"
    code_version: str = "0.1.0+code"
    seconds: float = 0.0
    scores: Mapping[str, float] = field(default_factory=dict)
    parents: Mapping[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)  # names of the files whose paths were asked for

    def names(self, prefix: str = "") -> list[str]:
        found = (path.relative_to(self.root).as_posix() for path in self.root.rglob("*") if path.is_file())
        return sorted(name for name in found if name.startswith(prefix))

    def path(self, name: str) -> Path:
        self.asked.append(name)
        if not (self.root / name).is_file():
            raise KeyError(name)
        return self.root / name

    def sha256(self, name: str) -> str:
        return hashlib.sha256(self.path(name).read_bytes()).hexdigest()


def write_rooms(
    root: Path, shards: Mapping[str, Sequence[Room | Rejected]]
) -> tuple[FolderArtifact, dict[str, ShardSummary]]:
    """An artifact of these shards with its index, and their summaries."""
    (root / "rooms").mkdir(parents=True)
    summaries = {name: write_shard(items, root / name) for name, items in shards.items()}
    index.write_index(summaries.items(), root / index.NAME)
    return FolderArtifact(root), summaries
