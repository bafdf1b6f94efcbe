"""What is to be known of a shard without opening it: a small JSON beside it, ``rooms/train-00000.json``.

The index and the audit of a whole artifact are made from these alone, one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from roomseg.data.rooms import TSDF_STEPS, Room
from roomseg.errors import UserError
from roomseg.labels import label_set
from roomseg.ports import Rejected

FORMAT = "roomseg-summary-1"
Share = Annotated[float, Field(ge=0, le=1)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RoomLine(_Closed):
    """One room of a shard; its place in ``ShardSummary.rooms`` is its row."""

    id: str = Field(min_length=1)
    house_id: str = Field(min_length=1)
    split: Literal["train", "val", "test"]
    shape: tuple[int, int, int]
    room_type: str
    hit_rate: Share | None  # of the first panorama's rays; None where the source does not say
    surface_seen: Share | None  # of the mesh, by the frames; None where the source does not say
    panoramas: int = Field(ge=0)
    bytes: int = Field(ge=0)  # in the shard


class ShardSummary(_Closed):
    format: str = Field(FORMAT, pattern=f"^{FORMAT}$")
    labels: str | None  # text of the label set; None for a shard without rooms
    rooms: tuple[RoomLine, ...]
    class_voxels: dict[str, tuple[int, ...]]  # split -> voxels by class id
    occupied: int = Field(ge=0)  # voxels that are not empty
    labelled: int = Field(ge=0)  # voxels that are not void
    credits: tuple[str, ...]  # sorted
    quarantined: tuple[Rejected, ...]

    def to_json(self) -> bytes:
        return self.model_dump_json().encode()

    @classmethod
    def from_json(cls, data: bytes, where: str = "the summary of a shard") -> Self:
        """Raises ``UserError`` that names ``where`` if the bytes are cut off, damaged or of another format."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{where}: not a summary of rooms ({field}: {first['msg']}); render it again")


@dataclass(frozen=True)
class RoomFacts:
    """What one room adds to the summary of its shard."""

    line: RoomLine  # its bytes are known when the shard is written
    labels: str
    class_voxels: np.ndarray  # (K,) int64
    occupied: int
    credits: tuple[str, ...]


def room_facts(room: Room) -> RoomFacts:
    line = RoomLine(
        id=room.id,
        house_id=room.house_id,
        split=room.split,  # type: ignore[arg-type]  # checked by RoomLine
        shape=room.shape,
        room_type=room.meta.get("room_type", "unknown"),
        hit_rate=room.meta.get("hit_rate"),
        surface_seen=room.meta.get("surface_seen"),
        panoramas=len(room.panoramas),
        bytes=0,
    )
    return RoomFacts(
        line=line,
        labels=room.labels,
        class_voxels=np.bincount(room.label.reshape(-1), minlength=len(label_set(room.labels))),
        occupied=int(np.count_nonzero(room.tsdf != TSDF_STEPS)),
        credits=tuple(room.meta.get("credits", ())),
    )


def summarise(rooms: Sequence[RoomFacts], room_bytes: Sequence[int], rejected: Sequence[Rejected]) -> ShardSummary:
    """The summary of a shard with these rooms in this order; all have one label set."""
    class_voxels: dict[str, np.ndarray] = {}
    for facts in rooms:
        split = facts.line.split
        class_voxels[split] = class_voxels.get(split, 0) + facts.class_voxels
    lines = (facts.line.model_copy(update={"bytes": n}) for facts, n in zip(rooms, room_bytes, strict=True))
    return ShardSummary(
        labels=rooms[0].labels if rooms else None,
        rooms=tuple(lines),
        class_voxels={split: tuple(counts.tolist()) for split, counts in class_voxels.items()},
        occupied=sum(facts.occupied for facts in rooms),
        labelled=sum(int(counts[1:].sum()) for counts in class_voxels.values()),
        credits=tuple(sorted({credit for facts in rooms for credit in facts.credits})),
        quarantined=tuple(rejected),
    )
