"""Upkeep of a store: remove what no manifest names, and check that all that manifests name is there and whole.

What a running or interrupted stage has made is named by its journal, which counts while the newest of its journal, its
checkpoints and its lease is younger than the grace period. ``cache/``, ``runs/`` and what others put there stay.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pydantic import ValidationError

from roomseg.errors import UserError
from roomseg.runtime.file_table import FileEntry, Part, Table, TableReader
from roomseg.runtime.lease import take
from roomseg.runtime.manifest import Manifest, manifest_key
from roomseg.runtime.storage import MissingKey, Store, StoredObject

_CHUNK = 8 << 20
_FOLDER = re.compile(r"^(?:artifacts|checkpoints)/([^/]+)/([^/]+)/(.+)$")  # stage, fingerprint, rest


@dataclass
class Garbage:
    objects: list[StoredObject] = field(default_factory=list)  # that nothing names
    abandoned: dict[tuple[str, str], list[StoredObject]] = field(default_factory=dict)  # by stage and fingerprint
    unfinished: list[StoredObject] = field(default_factory=list)

    def __iter__(self) -> Iterator[StoredObject]:
        yield from self.objects
        for objects in self.abandoned.values():
            yield from objects
        yield from self.unfinished


@dataclass(frozen=True)
class Damage:
    where: str
    reason: str
    remedy: str


def find_garbage(store: Store, grace_s: float) -> Garbage:
    """What is older than the grace period and has no name. Raises ``UserError`` for a damaged manifest."""
    # The contents are listed before the names are read: what is written meanwhile is named, or young.
    contents = [found for prefix in ("shards/", "parts/") for found in store.objects(prefix)]
    attempts = _by_fingerprint(store)
    garbage, named = Garbage(), set[str]()
    for (stage, mark), objects in attempts.items():
        if any(found.key == manifest_key(stage, mark) for found in objects):
            named |= _named_by_manifest(store, stage, mark)
            garbage.objects += [found for found in objects if found.age_s > grace_s and _is_scrap(found.key)]
        elif min(found.age_s for found in objects) > grace_s:
            garbage.abandoned[stage, mark] = objects
        else:
            named |= _named_by_journal(store, objects)
    garbage.objects += [found for found in contents if found.key not in named and found.age_s > grace_s]
    garbage.unfinished = [found for found in store.unfinished() if found.age_s > grace_s]
    return garbage


def remove_garbage(store: Store, garbage: Garbage, grace_s: float) -> tuple[int, int]:
    """(objects, bytes) that went; what has come to life since it was found stays."""
    gone: list[StoredObject] = []
    named: set[str] = set()
    for (stage, mark), objects in garbage.abandoned.items():
        removed = _remove_abandoned(store, stage, mark, objects, grace_s)
        gone += removed
        if not removed:
            named |= _named_by_journal(store, objects)
    for found in garbage.objects:
        if found.key not in named and _is_older(store, found.key, grace_s):
            store.delete(found.key)
            gone.append(found)
    for found in garbage.unfinished:
        store.discard(found)
        gone.append(found)
    return len(gone), sum(found.size for found in gone)


def manifests(store: Store) -> Iterator[tuple[str, Manifest | UserError]]:
    """Where each manifest of the store is, and the manifest, or why it cannot be read."""
    for stage in store.folders("artifacts/"):
        for mark in store.folders(f"artifacts/{stage}/"):
            key = manifest_key(stage, mark)
            try:
                yield key, Manifest.from_json(store.get_bytes(key), f"{store.url}/{key}")
            except MissingKey:
                continue  # not complete
            except UserError as error:
                yield key, error


def damages(store: Store, quick: bool = False, advance: Callable[[str], None] = lambda name: None) -> Iterator[Damage]:
    """All files of all manifests that are gone, of the wrong size or, unless ``quick``, of the wrong content."""
    seen: dict[str, str] = {}  # key -> what is wrong; files that several artifacts have are read once
    for key, manifest in manifests(store):
        if isinstance(manifest, UserError):
            yield Damage(key, "is no valid manifest", "delete it and run the stage again")
            continue
        try:
            for entry in TableReader(store, manifest.table, manifest.remedy(store.url)).files():
                if entry.key not in seen:
                    seen[entry.key] = _fault_of(store, entry, quick)
                advance(entry.name)
                if seen[entry.key]:
                    remedy = manifest.remedy(store.url, entry.name)
                    yield Damage(entry.key, f"({manifest.stage} {entry.name}) {seen[entry.key]}", remedy)
        except UserError as error:
            yield Damage(key, str(error), manifest.remedy(store.url))


def _by_fingerprint(store: Store) -> dict[tuple[str, str], list[StoredObject]]:
    found: dict[tuple[str, str], list[StoredObject]] = defaultdict(list)
    for prefix in ("artifacts/", "checkpoints/"):
        for each in store.objects(prefix):
            match = _FOLDER.match(each.key)
            if match:
                found[match[1], match[2]].append(each)
    return found


def _is_scrap(key: str) -> bool:
    """Of a complete artifact: how it was made. Figures that MLflow has not taken yet are none."""
    rest = key.split("/", 3)[3]
    return key.startswith("checkpoints/") or rest.startswith(("added/", "attempts/", "lease"))


def _named_by_manifest(store: Store, stage: str, mark: str) -> set[str]:
    key = manifest_key(stage, mark)
    manifest = Manifest.from_json(store.get_bytes(key), f"{store.url}/{key}")
    reader = TableReader(store, manifest.table, manifest.remedy(store.url))
    return {entry.key for entry in reader.files()} | _part_keys(store, manifest.table)


def _part_keys(store: Store, table: Table) -> set[str]:
    def below(part: Part) -> set[str]:
        return {part.key} | _part_keys(store, Table.model_validate_json(store.get_bytes(part.key)))

    return {key for part in table.parts for key in below(part)}


def _named_by_journal(store: Store, objects: list[StoredObject]) -> set[str]:
    named = set()
    for found in objects:
        if "/added/" in found.key:
            try:
                named.add(FileEntry.model_validate_json(store.get_bytes(found.key)).key)
            except (ValidationError, MissingKey):
                continue  # a damaged entry names nothing: its file is made again
    return named


def _remove_abandoned(
    store: Store, stage: str, mark: str, objects: list[StoredObject], grace_s: float
) -> list[StoredObject]:
    """Holding the lease, so that no attempt starts from what is being removed; nothing where one has started."""
    key = f"artifacts/{stage}/{mark}/lease.json"
    young = [found for found in store.objects(f"artifacts/{stage}/{mark}/") if found.age_s <= grace_s]
    lease, _ = take(store, key)
    if lease is None:
        return []
    gone = [] if young else [found for found in objects if found.key != key]
    for found in gone:
        store.delete(found.key)
    lease.release()
    if gone:
        store.delete(key)
    return gone


def _is_older(store: Store, key: str, grace_s: float) -> bool:
    try:
        return store.age_s(key) > grace_s
    except MissingKey:
        return False


def _fault_of(store: Store, entry: FileEntry, quick: bool) -> str:
    try:
        if quick:
            return "" if _has_size(store, entry) else f"is not of the {entry.size} bytes that the manifest says"
        digest, size = hashlib.sha256(), 0
        while data := store.get_range(entry.key, size, _CHUNK):
            digest.update(data)
            size += len(data)
    except MissingKey:
        return "is not there"
    if size != entry.size:
        return f"has {size} bytes, the manifest says {entry.size}"
    return "" if digest.hexdigest() == entry.sha256 else "is damaged: its sha256 is not the manifest's"


def _has_size(store: Store, entry: FileEntry) -> bool:
    """Its last byte is there, and none behind it. Raises ``MissingKey``."""
    last = max(entry.size - 1, 0)
    return len(store.get_range(entry.key, last, 2)) == min(entry.size, 1)
