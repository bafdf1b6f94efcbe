"""Is a rooms artifact fit for training? From its audit and its index; all its files only where that is asked for."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from roomseg.data import index
from roomseg.data.audit import hash_64
from roomseg.data.index import file_of
from roomseg.data.shards import ShardFile
from roomseg.errors import UserError
from roomseg.labels import VOID_NAME, label_set
from roomseg.ports import ArtifactReader
from roomseg.splits import SPLITS

NAMED = 5  # examples in one message
LOW_HIT_RATE = 0.5
MUCH_UNLABELLED = 0.1
MANY_QUARANTINED = 0.05


@dataclass(frozen=True)
class Check:
    audit: dict[str, Any]  # audit.json
    hit_rates: dict[str, float]  # lowest, 5 %, median over the rooms that have one; empty where none has
    shards: int
    faults: list[str]  # the artifact must not be trained on
    warnings: list[str]  # to be known

    def to_json(self) -> dict[str, Any]:
        return {"fit": not self.faults, **vars(self)}


def check_rooms(artifact: ArtifactReader) -> Check:
    """Reads ``audit.json`` and the index; holds 20 bytes a room. Raises ``UserError`` if one of them is damaged."""
    audit = _read_audit(artifact)
    facts = _IndexFacts()
    path = file_of(artifact, index.NAME)
    for group in index.read_groups(path, ["id", "house_id", "split", "shard", "hit_rate"]):
        facts.add(group)
    faults = [*_label_faults(audit), *_split_faults(audit, facts), *_name_faults(path, facts)]
    return Check(audit, facts.hit_rate_quantiles(), facts.shards, faults, list(_warnings(audit, facts)))


def damage(artifact: ArtifactReader, advance: Callable[[], None] = lambda: None) -> Iterator[str]:
    """Reads every file, calling ``advance`` after each; yields what is damaged, and rows that the index does not know.

    An index that is damaged itself raises ``UserError``.
    """
    broken = set()
    for name in artifact.names():
        try:
            artifact.path(name)
        except UserError as error:
            broken.add(name)
            yield str(error)
        advance()
    rows = _rows(index.read_groups(file_of(artifact, index.NAME), ["shard", "row", "id", "shape"]))
    for name, of_shard in groupby(rows, key=itemgetter("shard")):
        if name not in broken:
            yield from _disagreement(artifact, name, list(of_shard))


def _rows(groups: Iterable[pa.Table]) -> Iterator[dict[str, Any]]:
    for group in groups:
        yield from group.to_pylist()


def _disagreement(artifact: ArtifactReader, name: str, rows: list[dict[str, Any]]) -> Iterator[str]:
    try:
        shard = ShardFile(file_of(artifact, name))
        stored = [shard.id_and_shape(row) for row in range(len(shard))]
    except UserError as error:
        yield str(error)
    else:
        indexed = [(row["id"], tuple(row["shape"])) for row in rows]
        if stored != indexed or [row["row"] for row in rows] != list(range(len(rows))):
            yield f"{name}: has {len(stored)} rooms that are not the {len(indexed)} of the index"


class _IndexFacts:
    """What is found on one way through the index."""

    def __init__(self) -> None:
        self.rooms = dict.fromkeys(SPLITS, 0)
        self.ids = array("Q")
        self.houses = {split: array("Q") for split in SPLITS}
        self.hit_rates: list[np.ndarray] = []
        self.shards = 0
        self._last_shard = ""

    def add(self, group: pa.Table) -> None:
        self.ids.extend(map(hash_64, group["id"].to_pylist()))
        for house, split in zip(group["house_id"].to_pylist(), group["split"].to_pylist(), strict=True):
            self.rooms[split] += 1
            self.houses[split].append(hash_64(house))
        self.hit_rates.append(group["hit_rate"].drop_null().to_numpy())
        for shard, _ in groupby(group["shard"].to_pylist()):
            self.shards += shard != self._last_shard
            self._last_shard = shard

    def hit_rate_quantiles(self) -> dict[str, float]:
        rates = np.concatenate([np.empty(0, np.float32), *self.hit_rates])
        if len(rates) == 0:
            return {}
        return {name: float(np.quantile(rates, q)) for name, q in (("lowest", 0), ("5 %", 0.05), ("median", 0.5))}

    @property
    def low_hit_rates(self) -> int:
        return sum(int((rates < LOW_HIT_RATE).sum()) for rates in self.hit_rates)


def _read_audit(artifact: ArtifactReader) -> dict[str, Any]:
    path = file_of(artifact, "audit.json")
    try:
        audit = json.loads(path.read_bytes())
    except ValueError as error:
        raise UserError(f"{path}: not an audit of rooms ({error}); render it again") from None
    if not isinstance(audit, dict) or "quarantined" not in audit:
        raise UserError(f"{path}: not an audit of rooms (no field 'quarantined'); render it again")
    return audit


def _label_faults(audit: dict[str, Any]) -> Iterator[str]:
    if audit["labels"] is None:
        return  # no rooms at all: the splits say it
    try:
        labels = label_set(audit["labels"])
    except UserError as error:
        yield str(error)
        return
    for split, counts in audit["class_voxels"].items():
        unknown = [name for name in counts if name not in labels.names]
        if unknown:
            yield f"{split} has labels that {labels.name} does not know: {_some(unknown)}"


def _split_faults(audit: dict[str, Any], facts: _IndexFacts) -> Iterator[str]:
    for split, n in facts.rooms.items():
        if n == 0:
            yield f"the {split} split is empty"
        if n != audit["rooms"][split]:
            yield f"the index has {n} {split} rooms, the audit {audit['rooms'][split]}"


def _name_faults(path: Path, facts: _IndexFacts) -> Iterator[str]:
    houses = [np.unique(np.array(hashes, np.uint64)) for hashes in facts.houses.values()]
    shared = _repeated(np.concatenate(houses))
    if len(shared):
        names = _with_hashes(path, "house_id", shared)
        yield f"{len(shared)} houses have rooms in two splits, such as {_some(names)}"
    twice = _repeated(np.array(facts.ids, np.uint64))
    if len(twice):
        yield f"{len(twice)} ids belong to two rooms or more, such as {_some(_with_hashes(path, 'id', twice))}"


def _repeated(hashes: np.ndarray) -> np.ndarray:
    values, counts = np.unique(hashes, return_counts=True)
    return values[counts > 1]


def _with_hashes(path: Path, column: str, hashes: np.ndarray) -> Iterator[str]:
    """The names that have one of the hashes, each once; a few of them."""
    wanted = set(hashes[:NAMED].tolist())
    for group in index.read_groups(path, [column]):
        for name in group[column].to_pylist():
            if hash_64(name) in wanted:
                wanted.discard(hash_64(name))
                yield name


def _warnings(audit: dict[str, Any], facts: _IndexFacts) -> Iterator[str]:
    rooms = sum(facts.rooms.values())
    if audit["quarantined"] > MANY_QUARANTINED * (rooms + audit["quarantined"]):
        yield f"{audit['quarantined']} of {rooms + audit['quarantined']} rooms are in quarantine"
    if audit["unlabelled_share"] > MUCH_UNLABELLED:
        yield f"{audit['unlabelled_share']:.1%} of the voxels that are not empty have no label"
    if audit["rooms_without_panorama"]:
        yield f"{audit['rooms_without_panorama']} rooms have no panorama: the teacher cannot learn from them"
    if facts.low_hit_rates:
        yield f"{facts.low_hit_rates} panoramas hit less than {LOW_HIT_RATE:.0%} of their room"
    voxels = audit["class_voxels"]
    tested = (name for name, n in voxels["train"].items() if n == 0 and (voxels["val"][name] or voxels["test"][name]))
    unseen = [name for name in tested if name != VOID_NAME]
    if unseen:
        yield f"classes that are tested and never trained on: {', '.join(unseen)}"
    if rooms and not audit["credits"]:
        yield "no room names its creators and licences"


def _some(names: Iterable[str]) -> str:
    listed = [name for name, _ in zip(names, range(NAMED), strict=False)]
    return ", ".join(listed)
