"""The rooms of a finished render artifact, by split: opened from the index alone, read one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, overload

import numpy as np
import pyarrow as pa

from roomseg.data import index
from roomseg.data.rooms import Panorama, Room
from roomseg.data.shards import ShardFile
from roomseg.errors import UserError
from roomseg.labels import LabelSet, label_set
from roomseg.ports import ArtifactReader

OPEN_SHARDS = 64  # files that are kept open, with their tables of contents


@dataclass(frozen=True)
class RoomRef:
    """A room that may be read. Raises ``UserError`` where a shard is damaged or is not what the index says."""

    id: str
    shape: tuple[int, int, int]
    shard: str  # name of the file in the artifact
    row: int
    artifact: ArtifactReader

    def load(self) -> Room:
        room = self._open().room(self.row)
        self._compare(room.id, room.shape)
        return room

    def panoramas(self) -> Sequence[Panorama]:
        """Without the voxels; each is decoded when it is asked for."""
        shard = self._open()
        self._compare(*shard.id_and_shape(self.row))
        return shard.panoramas(self.row)

    def _open(self) -> ShardFile:
        return _open(index.file_of(self.artifact, self.shard))

    def _compare(self, stored_id: str, stored_shape: tuple[int, ...]) -> None:
        if (stored_id, stored_shape) != (self.id, self.shape):
            raise UserError(
                f"{self.artifact.path(self.shard)}: row {self.row} is room {stored_id} of {stored_shape} voxels, "
                f"the index says {self.id} of {self.shape}: render it again"
            )


class RoomSet:
    """The rooms of one split in the order of the index. About 40 bytes a room are held."""

    def __init__(self, artifact: ArtifactReader, rows: pa.Table) -> None:
        self._artifact = artifact
        self._ids = rows["id"].combine_chunks()
        self._names = rows["shard"].unify_dictionaries().combine_chunks()
        self._rows = rows["row"].to_numpy()
        self.shapes: np.ndarray = _fixed_lists(rows["shape"], 3)  # (N, 3) int32 voxels
        self.labels: LabelSet = label_set(rows["labels"][0].as_py())

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> Room:
        return self.refs[place].load()

    def __iter__(self) -> Iterator[Room]:
        return (ref.load() for ref in self.refs)

    @property
    def refs(self) -> Sequence[RoomRef]:
        """References to the rooms, made when they are asked for."""
        return _Refs(self)

    def ref(self, place: int) -> RoomRef:
        x, y, z = self.shapes[place].tolist()
        return RoomRef(
            id=self._ids[place].as_py(),
            shape=(x, y, z),
            shard=self._names[place].as_py(),
            row=int(self._rows[place]),
            artifact=self._artifact,
        )


@dataclass(frozen=True)
class _Refs(Sequence[RoomRef]):
    rooms: RoomSet

    def __len__(self) -> int:
        return len(self.rooms)

    @overload
    def __getitem__(self, place: int) -> RoomRef: ...
    @overload
    def __getitem__(self, place: slice) -> list[RoomRef]: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return [self.rooms.ref(n) for n in range(len(self))[place]]
        return self.rooms.ref(range(len(self))[place])  # also from the end; an IndexError ends a loop


def open_rooms(artifact: ArtifactReader, split: str) -> RoomSet:
    """The rooms of a split; no shard is fetched or opened. Raises ``UserError`` if there is none."""
    rows = index.read_split(index.file_of(artifact, index.NAME), split)
    if len(rows) == 0:
        raise UserError(f"the rooms have no {split} split; render at least one room of it (render.{split}_rooms)")
    return RoomSet(artifact, rows)


def find_room(artifact: ArtifactReader, room_id: str) -> RoomRef:
    """One room of any split by its id; raises ``UserError`` if there is none of it."""
    row = index.find_row(index.file_of(artifact, index.NAME), room_id)
    x, y, z = row["shape"]
    return RoomRef(row["id"], (x, y, z), row["shard"], row["row"], artifact)


def epoch_order(seed: int, epoch: int, n: int) -> np.ndarray:  # (n,)
    """The order in which an epoch visits n items: a function of seed and epoch alone, so that training can resume."""
    return np.random.default_rng([seed, epoch]).permutation(n)


@lru_cache(maxsize=OPEN_SHARDS)
def _open(shard: Path) -> ShardFile:
    return ShardFile(shard)


def _fixed_lists(column: pa.ChunkedArray, width: int) -> np.ndarray:
    return column.combine_chunks().flatten().to_numpy().reshape(-1, width)
