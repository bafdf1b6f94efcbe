"""The index of a rooms artifact, ``rooms/index.parquet``: one small row a room, so that a million open at once.

Rows are in the order of the shards; a row group has 16 Ki rooms at most, so that it is written and read in parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from roomseg.data.summary import ShardSummary
from roomseg.errors import UserError
from roomseg.labels import label_set
from roomseg.ports import ArtifactReader

NAME = "rooms/index.parquet"
FORMAT = "roomseg-index-1"
ROWS_PER_GROUP = 16_384

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("house_id", pa.string()),
        ("split", pa.string()),
        ("labels", pa.string()),  # text of the label set: the same in every row
        ("shard", pa.string()),  # name of the file in the artifact
        ("row", pa.int32()),  # of the room in its shard
        ("shape", pa.list_(pa.int32(), 3)),
        ("room_type", pa.string()),
        ("hit_rate", pa.float32()),  # null where unknown, as the next
        ("surface_seen", pa.float32()),
        ("panoramas", pa.int32()),
        ("bytes", pa.int64()),
    ],
    metadata={"format": FORMAT},
)

REPEATED = ["house_id", "split", "labels", "shard", "room_type"]  # read as dictionaries


def write_index(summaries: Iterable[tuple[str, ShardSummary]], path: Path) -> None:
    """From (name of the shard, its summary) in the order of the shards; one summary is held at a time.

    Raises ``UserError`` for shards with different label sets.
    """
    rows = chain.from_iterable(_rows(name, summary) for name, summary in _one_label_set(summaries))
    with pq.ParquetWriter(path, SCHEMA, compression="zstd", write_page_checksum=True) as writer:
        while group := list(islice(rows, ROWS_PER_GROUP)):
            writer.write_table(pa.Table.from_pylist(group, schema=SCHEMA))


def file_of(artifact: ArtifactReader, name: str) -> Path:
    """A file that every rooms artifact has; raises ``UserError`` for one that has it not."""
    try:
        return artifact.path(name)
    except KeyError:
        raise UserError(f"the rooms artifact has no {name}, which it should have: render it again") from None


def open_index(path: Path) -> pq.ParquetFile:
    """Raises ``UserError`` if the file is no index or is damaged."""
    try:
        metadata = pq.read_metadata(path)
        file = pq.ParquetFile(path, metadata=metadata, read_dictionary=REPEATED, page_checksum_verification=True)
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise UserError(f"{path}: not a readable index of rooms ({error}); render it again") from None
    if (metadata.metadata or {}).get(b"format") != FORMAT.encode():
        raise UserError(f"{path}: not an index of rooms (expected format {FORMAT}); render it again")
    return file


def read_split(path: Path, split: str) -> pa.Table:
    """id, shard (dictionary), row, shape and labels of a split's rooms, in the order of the index."""
    parts = [
        group.filter(pc.equal(group["split"], split)).select(["id", "shard", "row", "shape", "labels"])
        for group in read_groups(path, ["id", "split", "shard", "row", "shape", "labels"])
    ]
    return pa.concat_tables(parts) if parts else SCHEMA.empty_table()


def find_row(path: Path, room_id: str) -> dict[str, Any]:
    """The row of a room by its id; raises ``UserError`` if there is none."""
    some: list[str] = []
    for group in read_groups(path, None):
        found = group.filter(pc.equal(group["id"], room_id))
        if len(found):
            return found.to_pylist()[0]
        some = some or group["id"][:3].to_pylist()
    raise UserError(f"there is no room {room_id!r} in {path}; it begins with {', '.join(some) or 'no room at all'}")


def read_groups(path: Path, columns: list[str] | None) -> Iterator[pa.Table]:
    """The index in parts, one held at a time; raises ``UserError`` for a damaged one."""
    file = open_index(path)
    for number in range(file.num_row_groups):
        try:
            yield file.read_row_group(number, columns=columns)
        except (OSError, pa.ArrowException) as error:
            raise UserError(f"{path}: damaged ({error}); render it again") from None


def _one_label_set(summaries: Iterable[tuple[str, ShardSummary]]) -> Iterator[tuple[str, ShardSummary]]:
    labels = None
    for name, summary in summaries:
        if summary.labels is not None:
            labels = labels or summary.labels
            if summary.labels != labels:
                raise UserError(
                    f"{name} has the labels {label_set(summary.labels).name}, those before it "
                    f"{label_set(labels).name}: render them apart"
                )
        yield name, summary


def _rows(shard: str, summary: ShardSummary) -> Iterator[dict[str, Any]]:
    for row, line in enumerate(summary.rooms):
        yield {**line.model_dump(), "labels": summary.labels, "shard": shard, "row": row}
