"""The rooms of a finished render artifact, by split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from roomseg.data.rooms import Panorama, Room
from roomseg.data.shards import open_shard, read_panoramas, read_room, read_shape, room_ids
from roomseg.errors import UserError


@dataclass(frozen=True)
class RoomRef:
    id: str
    split: str
    shard: Path
    row: int

    def load(self) -> Room:
        return read_room(_open(self.shard), self.row, self.shard)

    def shape(self) -> tuple[int, int, int]:
        return read_shape(_open(self.shard), self.row, self.shard)

    def panoramas(self) -> tuple[Panorama, ...]:
        return read_panoramas(_open(self.shard), self.row, self.shard)


@dataclass(frozen=True)
class RoomSet:
    """References to the rooms of one split, in a fixed order; rooms are read when they are asked for."""

    refs: tuple[RoomRef, ...]

    def __len__(self) -> int:
        return len(self.refs)

    def __getitem__(self, index: int) -> Room:
        return self.refs[index].load()

    def __iter__(self) -> Iterator[Room]:
        return (ref.load() for ref in self.refs)


def open_rooms(shards: list[Path], split: str) -> RoomSet:
    """The rooms of a split in the order of their ids; raises ``UserError`` if there is none."""
    refs = [
        RoomRef(room_id, room_split, shard, row)
        for shard in shards
        for row, (room_id, room_split) in enumerate(room_ids(shard))
    ]
    chosen = tuple(sorted((r for r in refs if r.split == split), key=lambda r: r.id))
    if not chosen:
        raise UserError(f"the rooms have no {split} split; render at least one room of it (render.{split}_rooms)")
    return RoomSet(chosen)


def epoch_order(seed: int, epoch: int, n: int) -> np.ndarray:  # (n,)
    """The order in which an epoch visits n items: a function of seed and epoch alone, so that training can resume."""
    return np.random.default_rng([seed, epoch]).permutation(n)


@lru_cache(maxsize=64)
def _open(shard: Path) -> pq.ParquetFile:
    return open_shard(shard)
