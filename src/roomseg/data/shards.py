"""Rooms in Parquet shards: one row and one row group a room, so that any room is read alone.

Voxels are packed (see ``packing.py``), panoramas are JPEG, their labels PNG; pages carry checksums, so that damage is
found when a room is read. ``SCHEMA`` says every column.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from roomseg.data.packing import PackedVoxels, pack_voxels, unpack_voxels
from roomseg.data.rooms import MAX_VOXELS, Panorama, Room, check_room
from roomseg.data.summary import RoomFacts, ShardSummary, room_facts, summarise
from roomseg.errors import UserError
from roomseg.labels import label_set
from roomseg.ports import Rejected

FORMAT = "roomseg-rooms-3"

_PANORAMA = pa.struct(
    [
        ("camera_m", pa.list_(pa.float64(), 3)),
        ("rgb_jpeg", pa.binary()),
        ("label_png", pa.binary()),
    ]
)
_VOXELS = ("full", "tsdf", "rgb", "label")  # the fields of PackedVoxels
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("house_id", pa.string()),
        ("split", pa.string()),
        ("shape", pa.list_(pa.int32(), 3)),
        ("origin_m", pa.list_(pa.float64(), 3)),
        ("voxel_m", pa.float64()),
        *((name, pa.binary()) for name in _VOXELS),
        ("labels", pa.string()),  # text of the label set
        ("panoramas", pa.list_(_PANORAMA)),
        ("meta", pa.string()),  # JSON
    ],
    metadata={"format": FORMAT},
)


@dataclass(frozen=True)
class PackedRoom:
    """A room as its row on the disk: small enough to be sent from the process that made it to the one that writes."""

    row: dict[str, Any]
    facts: RoomFacts


def pack_room(room: Room) -> PackedRoom:
    """Raises ``UserError`` for a room that is not as it should be (``rooms.check_room``)."""
    check_room(room)
    row = {
        "id": room.id,
        "house_id": room.house_id,
        "split": room.split,
        "shape": list(room.shape),
        "origin_m": [float(v) for v in room.origin_m],
        "voxel_m": room.voxel_m,
        **vars(pack_voxels(room.tsdf, room.rgb, room.label)),
        "labels": room.labels,
        "panoramas": [_panorama_row(panorama) for panorama in room.panoramas],
        "meta": json.dumps(dict(room.meta), sort_keys=True),
    }
    return PackedRoom(row, room_facts(room))


def write_shard(items: Iterable[Room | PackedRoom | Rejected], path: Path) -> ShardSummary:
    """Write rooms to a new Parquet file, each in a row group of its own; rejected ones are noted in the summary.

    To pack a room takes 0.1 s, to write a packed one hardly any time: with many workers, let them pack. Raises
    ``UserError`` for rooms with different label sets, and what ``pack_room`` raises.
    """
    facts: list[RoomFacts] = []
    rejected: list[Rejected] = []
    with pq.ParquetWriter(
        path, SCHEMA, compression="none", use_dictionary=False, write_statistics=False, write_page_checksum=True
    ) as writer:
        for item in items:
            if isinstance(item, Rejected):
                rejected.append(item)
                continue
            packed = pack_room(item) if isinstance(item, Room) else item
            facts.append(packed.facts)
            _check_one_label_set(facts)
            writer.write_table(pa.Table.from_pylist([packed.row], schema=SCHEMA))
    return summarise(facts, _row_bytes(pq.read_metadata(path)), rejected)


class ShardFile:
    """An open shard; its methods may be called from several threads. ``path`` is named in every error.

    Raises ``UserError`` if the file is no shard or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reading = Lock()  # one reader a file is all that Parquet allows
        try:
            self._file = pq.ParquetFile(path, page_checksum_verification=True)
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise UserError(f"{path}: not a readable shard of rooms ({error}); render it again") from None
        if (self._file.schema_arrow.metadata or {}).get(b"format") != FORMAT.encode():
            raise UserError(f"{path}: not a shard of rooms (expected format {FORMAT}); render it again")

    def __len__(self) -> int:
        return self._file.num_row_groups

    def room(self, row: int) -> Room:
        with self._damage_named(row):
            return _room(self._columns(row, SCHEMA.names), f"{self.path}, room {row}")

    def panoramas(self, row: int) -> Sequence[Panorama]:
        """The panoramas of one room, without its voxels."""
        with self._damage_named(row):
            return StoredPanoramas(self._columns(row, ["panoramas"])["panoramas"], f"{self.path}, room {row}")

    def id_and_shape(self, row: int) -> tuple[str, tuple[int, int, int]]:
        """Of one room, without its voxels."""
        with self._damage_named(row):
            columns = self._columns(row, ["id", "shape"])
            x, y, z = columns["shape"]
            return columns["id"], (x, y, z)

    def _columns(self, row: int, names: Sequence[str]) -> dict[str, Any]:
        if not 0 <= row < len(self):
            raise ValueError(f"the shard has {len(self)} rooms")
        with self._reading:
            table = self._file.read_row_group(row, columns=list(names), use_threads=False)
        return {name: _value(table[name].chunk(0)[0]) for name in names}

    @contextmanager
    def _damage_named(self, row: int) -> Iterator[None]:
        with _as_user_error(f"{self.path}, room {row}"):
            yield


class StoredPanoramas(Sequence[Panorama]):
    """The panoramas of a stored room; each is decoded when it is asked for. Raises ``UserError`` for a broken one."""

    def __init__(self, rows: list[dict[str, Any]], where: str) -> None:
        self._rows, self._where = rows, where

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[n] for n in range(len(self))[index]]
        with _as_user_error(f"{self._where}, panorama {index}"):
            row = self._rows[index]
            rgb, label = _decoded(row["rgb_jpeg"], "RGB"), _decoded(row["label_png"], "L")
            if rgb.shape[:2] != label.shape:
                raise ValueError(f"picture {rgb.shape[:2]} and labels {label.shape}")
            return Panorama(np.array(row["camera_m"]), rgb, label)


@contextmanager
def _as_user_error(where: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{where}: damaged ({error}); render it again") from None


def _check_one_label_set(facts: Sequence[RoomFacts]) -> None:
    first, last = facts[0], facts[-1]
    if first.labels != last.labels:
        raise UserError(
            f"room {last.line.id} has the labels {label_set(last.labels).name}, those before it "
            f"{label_set(first.labels).name}: render them apart"
        )


def _row_bytes(metadata: pq.FileMetaData) -> list[int]:
    groups = (metadata.row_group(row) for row in range(metadata.num_row_groups))
    return [sum(group.column(k).total_compressed_size for k in range(group.num_columns)) for group in groups]


def _panorama_row(panorama: Panorama) -> dict[str, Any]:
    return {
        "camera_m": [float(v) for v in panorama.camera_m],
        "rgb_jpeg": _encoded(panorama.rgb, "JPEG", quality=92, subsampling=0),
        "label_png": _encoded(panorama.label, "PNG"),
    }


def _value(scalar: pa.Scalar) -> Any:
    return scalar.as_buffer() if pa.types.is_binary(scalar.type) else scalar.as_py()


def _room(row: dict[str, Any], where: str) -> Room:
    x, y, z = row["shape"]
    if min(x, y, z) < 1 or x * y * z > MAX_VOXELS:
        raise ValueError(f"shape {row['shape']}")
    tsdf, rgb, label = unpack_voxels(PackedVoxels(*(row[name] for name in _VOXELS)), (x, y, z))
    return Room(
        id=row["id"],
        house_id=row["house_id"],
        split=row["split"],
        origin_m=np.array(row["origin_m"]),
        voxel_m=row["voxel_m"],
        tsdf=tsdf,
        rgb=rgb,
        label=label,
        labels=row["labels"],
        panoramas=StoredPanoramas(row["panoramas"], where),
        meta=json.loads(row["meta"]),
    )


def _encoded(image: np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def _decoded(data: bytes, mode: str) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert(mode))
