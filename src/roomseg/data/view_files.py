"""What distillation keeps of a viewpoint, as bytes: the hit map of its panorama, and the teacher's arrays.

Both are Parquet files of one row: a binary column an array, zstd, and a JSON header under the schema's key ``view``
with ``format``, the shapes and what the maker noted. A hit map of 512 x 1024 takes 70 to 105 kB, logits of 32 x 64
patches and 30 classes 115 kB.

Hit map: (x, y, z) of the voxel that a pixel sees minus that of the pixel before it in the row (0 before the first), and
nothing new where the pixel sees nothing. Neighbours see neighbours, so nearly all are -1, 0 or 1. Columns ``low`` and
``high`` are the bytes of the uint16 differences, (3, H, 2H) each; ``miss`` is one bit a pixel, the highest first.
Other arrays: ``low`` and ``high`` are the bytes of the float16 numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HITS, FLOATS = "roomseg-hits-1", "roomseg-floats-1"
KEY = b"view"
ZSTD_LEVEL = 15  # a fifth smaller than at 6, and written once

Header = dict[str, Any]


def pack_hits(voxel: np.ndarray, sizes: tuple[int, int, int], noted: Mapping[str, Any]) -> bytes:
    """``voxel`` (H, 2H) int32, flat in C order of a room of ``sizes``, -1 where nothing is hit; ``noted`` is JSON."""
    miss = voxel < 0
    places = np.stack(np.unravel_index(_filled(voxel, miss), sizes)).astype(np.uint16)  # (3, H, 2H)
    steps = np.diff(places, axis=2, prepend=np.uint16(0))
    header = {"format": HITS, "shape": list(voxel.shape), "sizes": list(sizes), **noted}
    return _written(header, {**_planes(steps), "miss": np.packbits(miss)})


def unpack_hits(data: bytes) -> tuple[np.ndarray, Header]:  # (H, 2H) int32
    """Raises ``ValueError`` for other bytes."""
    header, columns = _read(data, HITS)
    rows, width = header["shape"]
    steps = _joined(columns, (3, rows, width), np.uint16)
    miss = np.unpackbits(columns["miss"], count=rows * width).reshape(rows, width).astype(bool)
    places = np.cumsum(steps, axis=2, dtype=np.uint16)
    sizes = tuple(header["sizes"])
    if any(int(place.max()) >= size for place, size in zip(places, sizes, strict=True)):
        raise ValueError("a hit map with voxels outside its room")
    voxel = np.ravel_multi_index(tuple(places.astype(np.int64)), sizes).astype(np.int32)
    voxel[miss] = -1
    return voxel, header


def pack_floats(values: np.ndarray, noted: Mapping[str, Any]) -> bytes:
    """``values`` float16 of any shape, such as logits (K, h, w); ``noted`` is JSON."""
    header = {"format": FLOATS, "shape": list(values.shape), **noted}
    return _written(header, _planes(np.ascontiguousarray(values, np.float16).view(np.uint16)))


def unpack_floats(data: bytes) -> tuple[np.ndarray, Header]:  # float16
    """Raises ``ValueError`` for other bytes."""
    header, columns = _read(data, FLOATS)
    return _joined(columns, tuple(header["shape"]), np.uint16).view(np.float16), header


def _filled(voxel: np.ndarray, miss: np.ndarray) -> np.ndarray:  # (H, 2H)
    """Misses see what the last pixel before them in the row sees, and voxel 0 where there is none."""
    last = np.maximum.accumulate(np.where(miss, 0, np.arange(voxel.shape[1])), axis=1)
    return np.maximum(np.take_along_axis(voxel, last, axis=1), 0)


def _planes(values: np.ndarray) -> dict[str, np.ndarray]:
    return {"low": (values & 255).astype(np.uint8), "high": (values >> 8).astype(np.uint8)}


def _joined(columns: Mapping[str, np.ndarray], shape: tuple[int, ...], dtype: type[np.unsignedinteger]) -> np.ndarray:
    values = columns["low"].astype(dtype) | columns["high"].astype(dtype) << 8
    return values.reshape(shape)


def _written(header: Header, columns: Mapping[str, np.ndarray]) -> bytes:
    table = pa.table({name: pa.array([array.tobytes()], pa.large_binary()) for name, array in columns.items()})
    sink = pa.BufferOutputStream()
    table = table.replace_schema_metadata({KEY: json.dumps(header, sort_keys=True, allow_nan=False).encode()})
    pq.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=ZSTD_LEVEL,
        use_dictionary=False,
        write_statistics=False,
        write_page_checksum=True,
    )
    return sink.getvalue().to_pybytes()


def _read(data: bytes, expected: str) -> tuple[Header, dict[str, np.ndarray]]:
    try:
        table = pq.read_table(pa.BufferReader(data), page_checksum_verification=True)
        header = json.loads((table.schema.metadata or {})[KEY])
    except (OSError, pa.ArrowException, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"not a view's file: {type(error).__name__}: {error}") from None
    if header.get("format") != expected or table.num_rows != 1:
        raise ValueError(f"not a view's file of format {expected}")
    return header, {name: np.frombuffer(table[name][0].as_py(), np.uint8) for name in table.column_names}
