"""Artifacts: what a stage makes (``ArtifactWriter``) and what the next ones read (``ArtifactReader``).

Beside its manifest an artifact has a journal, one small object a file, ``added/<name>.json``: written after the
file itself, it tells a later attempt what is already done. ``attempts/<id>.json`` keeps the time that was spent.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from roomseg.runtime.file_table import FileEntry, TableReader, write_table
from roomseg.runtime.local_files import LocalFiles
from roomseg.runtime.manifest import Manifest, Origin, as_scores, manifest_key, newest_manifest, read_manifest
from roomseg.runtime.storage import DirectoryStore, MissingKey, Store, open_store, sha256_of

_BEAT_S = 30.0  # a killed attempt loses at most this and the time since it last stored something


def cache_dir(store: Store) -> Path:
    """Local folder for scratch and for copies of a remote store's files."""
    chosen = os.environ.get("ROOMSEG_CACHE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    if isinstance(store, DirectoryStore):
        return store.root
    return Path.home() / ".cache" / "roomseg"


class AttemptClock:
    """The time that all attempts at one artifact took together, kept in the store across crashes."""

    def __init__(self, store: Store, folder: str, now: Callable[[], float] = time.monotonic) -> None:
        self._store, self._now = store, now
        earlier = [seconds_in(store.get_bytes(key)) for key in store.list(f"{folder}/attempts/")]
        self._earlier_s = sum(earlier)
        self.attempts = len(earlier) + 1
        self._key = f"{folder}/attempts/{uuid.uuid4().hex}.json"
        self._start = self._beaten = now()
        self._write()

    @property
    def seconds(self) -> float:
        return self._earlier_s + self._now() - self._start

    def beat(self, at_once: bool = False) -> None:
        """Note that the attempt lives; cheap to call often."""
        if at_once or self._now() - self._beaten >= _BEAT_S:
            self._beaten = self._now()
            self._write()

    def _write(self) -> None:
        self._store.put_bytes(self._key, json.dumps({"seconds": self._now() - self._start}).encode())


def seconds_in(text: bytes) -> float:
    try:
        return float(json.loads(text)["seconds"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return 0.0


class StoreArtifactWriter:
    """``ports.ArtifactWriter`` over a store.

    The artifact gets the files that this attempt added, found by ``in`` or asked for by ``path``: other attempts and
    other processes of the same fingerprint may have made them. The store is never searched for more.
    """

    def __init__(
        self,
        store: Store,
        origin: Origin,
        clock: AttemptClock,
        cache: Path,
        check: Callable[[], None] = lambda: None,  # raises when this process may not write any more
    ) -> None:
        self._store, self._origin, self._clock, self._check = store, origin, clock, check
        self._files = LocalFiles(store, cache, origin)
        self._known: dict[str, FileEntry] = {}

    def __contains__(self, name: str) -> bool:
        return self._entry(name) is not None

    def add(self, name: str, path: Path) -> None:
        assert PurePosixPath(name).as_posix() == name, f"file name {name!r}"
        self._check()
        digest = sha256_of(path)
        key = f"shards/{digest[:2]}/{digest}{PurePosixPath(name).suffix}"
        entry = FileEntry(name=name, key=key, size=path.stat().st_size, sha256=digest)
        # The journal entry follows the file: a crash in between only makes the file be stored again.
        self._store.put_file(key, path)
        self._store.put_bytes(self._origin.journal_key(name), entry.model_dump_json().encode())
        self._known[name] = entry
        self._clock.beat()

    def path(self, name: str) -> Path:
        """Raises ``KeyError`` for a name that was not added, ``UserError`` for a file that is damaged."""
        entry = self._entry(name)
        if entry is None:
            raise KeyError(name)
        return self._files.path(entry)

    def finish(self, scores: Mapping[str, float]) -> Manifest:
        """Write the manifest: from now on the artifact is complete.

        Where another process was first, its manifest stands, and is returned.
        """
        table = write_table(self._store, [self._known[name] for name in sorted(self._known)])
        manifest = Manifest(
            **dict(self._origin),
            **dict(table),
            scores=as_scores(scores),
            seconds=self._clock.seconds,
            attempts=self._clock.attempts,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        key, text = manifest_key(manifest.stage, manifest.fingerprint), manifest.to_json().encode()
        if self._store.put_if_absent(key, text) is not None:
            return manifest
        return read_manifest(self._store, manifest.stage, manifest.fingerprint) or self.finish(scores)

    def _entry(self, name: str) -> FileEntry | None:
        """From the journal, once it is there; until then it is asked for again: another process may be adding it."""
        if name not in self._known:
            entry = self._journalled(name)
            if entry is None:
                return None
            self._known[name] = entry
        return self._known[name]

    def _journalled(self, name: str) -> FileEntry | None:
        """None too for a damaged entry: its file is then made again."""
        try:
            return FileEntry.model_validate_json(self._store.get_bytes(self._origin.journal_key(name)))
        except (MissingKey, ValidationError):
            return None


class StoreArtifactReader:
    """``ports.ArtifactReader`` over a store. Of a large table of files a few parts are held at a time."""

    def __init__(self, store: Store, manifest: Manifest, cache: Path) -> None:
        self.manifest = manifest
        self._table = TableReader(store, manifest.table, manifest.remedy(store.url))
        self._files = LocalFiles(store, cache, manifest)

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def scores(self) -> Mapping[str, float]:
        return self.manifest.scores

    @property
    def parents(self) -> Mapping[str, str]:
        return {name: parent.digest for name, parent in self.manifest.parents.items()}

    @property
    def code_version(self) -> str:
        return self.manifest.code_version

    @property
    def seconds(self) -> float:
        return self.manifest.seconds

    def names(self, prefix: str = "") -> list[str]:
        """Sorted; all of them: a million names are 100 MB."""
        return [entry.name for entry in self._table.files(prefix)]

    def path(self, name: str) -> Path:
        """Raises ``KeyError`` for an unknown name, ``UserError`` for a file that is damaged or gone."""
        return self._files.path(self._table.find(name))

    def sha256(self, name: str) -> str:
        return self._table.find(name).sha256


def open_render(store_url: str, fingerprint: str = "") -> StoreArtifactReader:
    """The rooms of a store, of its newest complete render unless another is named; raises ``UserError``."""
    store = open_store(store_url)
    rooms = newest_manifest(store, "render", "render artifact", fingerprint)
    return StoreArtifactReader(store, rooms, cache_dir(store))
