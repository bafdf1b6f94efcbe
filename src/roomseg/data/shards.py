"""Rooms in Parquet shards: one row and one row group a room, so that any room is read alone.

Planes are C-order bytes under zstd; panoramas are PNG or JPEG bytes. ``schema`` says every column.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from roomseg.data.rooms import Panorama, Room
from roomseg.errors import UserError

FORMAT = "roomseg-rooms-2"
MAX_VOXELS = 2**31 - 1  # flat voxel indices are int32

_PANORAMA = pa.struct(
    [
        ("camera_m", pa.list_(pa.float64(), 3)),
        ("rgb_jpeg", pa.binary()),
        ("label_png", pa.binary()),
    ]
)
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("house_id", pa.string()),
        ("split", pa.string()),
        ("shape", pa.list_(pa.int32(), 3)),
        ("origin_m", pa.list_(pa.float64(), 3)),
        ("voxel_m", pa.float64()),
        ("tsdf", pa.large_binary()),
        ("rgb", pa.large_binary()),
        ("label", pa.large_binary()),
        ("labels", pa.string()),
        ("panoramas", pa.list_(_PANORAMA)),
        ("meta", pa.string()),
    ],
    metadata={"format": FORMAT},
)


def write_shard(rooms: Iterable[Room], path: Path) -> None:
    """Write rooms to a new Parquet file, each in a row group of its own."""
    with pq.ParquetWriter(path, SCHEMA, compression="zstd", compression_level=3, use_dictionary=False) as writer:
        for room in rooms:
            writer.write_table(pa.Table.from_pylist([_row(room)], schema=SCHEMA))


def open_shard(path: Path) -> pq.ParquetFile:
    """A shard for the functions below; raises ``UserError`` if the file is none or is damaged."""
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{path}: not a readable shard of rooms ({error}); render it again") from None
    if (file.schema_arrow.metadata or {}).get(b"format", b"").decode() != FORMAT:
        raise UserError(f"{path}: not a shard of rooms (expected format {FORMAT}); render it again")
    return file


def read_room(file: pq.ParquetFile, row: int, path: Path) -> Room:
    with _damage_named(path, row):
        return _room(_columns(file, row, None))


def read_shape(file: pq.ParquetFile, row: int, path: Path) -> tuple[int, int, int]:
    """The shape of one room, without its planes."""
    with _damage_named(path, row):
        x, y, z = _columns(file, row, ["shape"])["shape"]
        return x, y, z


def read_panoramas(file: pq.ParquetFile, row: int, path: Path) -> tuple[Panorama, ...]:
    """The panoramas of one room, without its planes."""
    with _damage_named(path, row):
        return tuple(_panorama(p) for p in _columns(file, row, ["panoramas"])["panoramas"])


def room_ids(path: Path) -> list[tuple[str, str]]:
    """(id, split) of each room of a shard, without reading its planes."""
    table = open_shard(path).read(columns=["id", "split"])
    return list(zip(table["id"].to_pylist(), table["split"].to_pylist(), strict=True))


def _columns(file: pq.ParquetFile, row: int, names: list[str] | None) -> dict[str, Any]:
    return file.read_row_group(row, columns=names).to_pylist()[0]


@contextmanager
def _damage_named(path: Path, row: int) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException, ValueError, KeyError) as error:
        raise UserError(f"{path}, room {row}: damaged ({error}); render it again") from None


def _row(room: Room) -> dict[str, Any]:
    return {
        "id": room.id,
        "house_id": room.house_id,
        "split": room.split,
        "shape": list(room.shape),
        "origin_m": [float(v) for v in room.origin_m],
        "voxel_m": room.voxel_m,
        "tsdf": room.tsdf.tobytes(),
        "rgb": room.rgb.tobytes(),
        "label": room.label.tobytes(),
        "labels": room.labels,
        "panoramas": [
            {
                "camera_m": [float(v) for v in p.camera_m],
                "rgb_jpeg": _encoded(p.rgb, "JPEG", quality=92, subsampling=0),
                "label_png": _encoded(p.label, "PNG", optimize=True),
            }
            for p in room.panoramas
        ],
        "meta": json.dumps(dict(room.meta), sort_keys=True),
    }


def _room(row: dict[str, Any]) -> Room:
    shape = tuple(row["shape"])
    n = int(np.prod(shape, dtype=np.int64))
    if min(shape) < 1 or n > MAX_VOXELS:
        raise ValueError(f"shape {shape}")
    return Room(
        id=row["id"],
        house_id=row["house_id"],
        split=row["split"],
        origin_m=np.array(row["origin_m"]),
        voxel_m=row["voxel_m"],
        tsdf=_plane(row["tsdf"], np.int8, shape),
        rgb=_plane(row["rgb"], np.uint8, (*shape, 3)),
        label=_plane(row["label"], np.uint8, shape),
        labels=row["labels"],
        panoramas=tuple(_panorama(p) for p in row["panoramas"]),
        meta=json.loads(row["meta"]),
    )


def _plane(data: bytes, dtype: type, shape: Sequence[int]) -> np.ndarray:
    return np.frombuffer(data, dtype).reshape(shape)  # a wrong length raises ValueError


def _panorama(row: dict[str, Any]) -> Panorama:
    rgb, label = _decoded(row["rgb_jpeg"], "RGB"), _decoded(row["label_png"], "L")
    if rgb.shape[:2] != label.shape:
        raise ValueError(f"panorama {rgb.shape[:2]} and labels {label.shape}")
    return Panorama(np.array(row["camera_m"]), rgb, label)


def _encoded(image: np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def _decoded(data: bytes, mode: str) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert(mode))
