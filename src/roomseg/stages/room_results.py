"""``room_results.parquet``: what a model did in each test room, to compare another model with it on the same rooms.

A room is known by its content: an id says nothing of a room that was rendered again with other settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from roomseg.data.dataset import RoomSet
from roomseg.data.rooms import Room
from roomseg.errors import UserError, first_line
from roomseg.ports import StageContext

NAME = "room_results.parquet"
_CLASSES = b"classes"  # key of the table's metadata


@dataclass(frozen=True)
class RoomResults:
    classes: tuple[str, ...]  # K names in the order of the labels
    rooms: tuple[str, ...]  # R ids, for people
    digests: tuple[str, ...]  # R digests of the rooms' content
    confusions: np.ndarray  # (R, K, K) int64, rows truth

    @property
    def rooms_digest(self) -> str:
        """Of the test set: the same rooms have it, in whatever order."""
        return hashlib.sha256("\n".join(sorted(self.digests)).encode()).hexdigest()


def room_digest(room: Room) -> str:
    """sha256 over what a model sees of a room and what it is compared with."""
    content = hashlib.sha256(repr((room.labels, float(room.voxel_m), room.shape)).encode())
    for plane in (room.tsdf, room.rgb, room.label):
        content.update(np.ascontiguousarray(plane).data)
    return content.hexdigest()


def add_room_results(ctx: StageContext, rooms: RoomSet, confusions: Sequence[np.ndarray]) -> None:
    """Write the file; the matrices are in the order of the rooms."""
    path = ctx.work_dir / NAME
    ids = tuple(ref.id for ref in rooms.refs)
    digests = tuple(map(room_digest, rooms))
    path.write_bytes(packed(RoomResults(rooms.labels.names, ids, digests, np.stack(list(confusions)))))
    ctx.outputs.add(NAME, path)


def packed(results: RoomResults) -> bytes:
    """As a Parquet file: the same results give the same bytes."""
    classes = len(results.classes)
    columns = {
        "room": pa.array(results.rooms, pa.string()),
        "digest": pa.array(results.digests, pa.string()),
        "confusion": pa.FixedSizeListArray.from_arrays(pa.array(results.confusions.reshape(-1)), classes**2),
    }
    sink = pa.BufferOutputStream()
    metadata = {_CLASSES: json.dumps(results.classes).encode()}
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def unpacked(content: bytes, where: str) -> RoomResults:
    """Raises ``UserError`` that names ``where`` for a file that is damaged or something else."""
    try:
        table = pq.read_table(pa.BufferReader(content))
        classes = tuple(json.loads(table.schema.metadata[_CLASSES]))
        shape = len(table), len(classes), len(classes)
        confusions = table["confusion"].combine_chunks().flatten().to_numpy().reshape(shape)
        ids, digests = (tuple(table[name].to_pylist()) for name in ("room", "digest"))
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{where}: no room results ({first_line(error)[:200]}): evaluate the model again") from None
    return RoomResults(classes, ids, digests, confusions)
