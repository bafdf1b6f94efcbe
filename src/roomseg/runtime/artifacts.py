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
from urllib.parse import quote

from pydantic import ValidationError

from roomseg.errors import UserError
from roomseg.runtime.manifest import FileEntry, Manifest, Origin, as_scores, manifest_key
from roomseg.runtime.storage import DirectoryStore, Store, sha256_of

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
        earlier = [_seconds_in(store.get_bytes(key)) for key in store.list(f"{folder}/attempts/")]
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


def _seconds_in(text: bytes) -> float:
    try:
        return float(json.loads(text)["seconds"])
    except (ValueError, KeyError, TypeError):
        return 0.0


class StoreArtifactWriter:
    """``ports.ArtifactWriter`` over a store."""

    def __init__(self, store: Store, origin: Origin, clock: AttemptClock, cache: Path) -> None:
        self._store, self._origin, self._clock = store, origin, clock
        self._files = _LocalFiles(store, cache, origin)
        self._added = {entry.name: entry for entry in self._journal()}

    def __contains__(self, name: str) -> bool:
        return name in self._added

    def add(self, name: str, path: Path) -> None:
        assert PurePosixPath(name).as_posix() == name, f"file name {name!r}"
        digest = sha256_of(path)
        key = f"shards/{digest[:2]}/{digest}{PurePosixPath(name).suffix}"
        entry = FileEntry(name=name, key=key, size=path.stat().st_size, sha256=digest)
        # The journal entry follows the file: a crash in between only makes the file be stored again.
        self._store.put_file(key, path)
        self._store.put_bytes(self._journal_key(name), entry.model_dump_json().encode())
        self._added[name] = entry
        self._clock.beat()

    def path(self, name: str) -> Path:
        """Raises ``KeyError`` for a name that was not added, ``UserError`` for a file that is damaged."""
        return self._files.path(self._added[name])

    def finish(self, scores: Mapping[str, float]) -> Manifest:
        """Write the manifest: from now on the artifact is complete."""
        manifest = Manifest(
            **dict(self._origin),
            files=tuple(self._added[name] for name in sorted(self._added)),
            scores=as_scores(scores),
            seconds=self._clock.seconds,
            attempts=self._clock.attempts,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self._store.put_bytes(manifest_key(manifest.stage, manifest.fingerprint), manifest.to_json().encode())
        return manifest

    def _journal(self) -> list[FileEntry]:
        texts = [self._store.get_bytes(key) for key in self._store.list(f"{self._origin.folder}/added/")]
        entries = (_journal_entry(text) for text in texts)
        return [entry for entry in entries if entry is not None]

    def _journal_key(self, name: str) -> str:
        return f"{self._origin.folder}/added/{quote(name, safe='')}.json"


def _journal_entry(text: bytes) -> FileEntry | None:
    """None for a damaged entry: its file is then made again."""
    try:
        return FileEntry.model_validate_json(text)
    except ValidationError:
        return None


class StoreArtifactReader:
    """``ports.ArtifactReader`` over a store."""

    def __init__(self, store: Store, manifest: Manifest, cache: Path) -> None:
        self.manifest = manifest
        self._entries = {entry.name: entry for entry in manifest.files}
        self._files = _LocalFiles(store, cache, manifest)

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def scores(self) -> Mapping[str, float]:
        return self.manifest.scores

    @property
    def seconds(self) -> float:
        return self.manifest.seconds

    def names(self, prefix: str = "") -> list[str]:
        return sorted(name for name in self._entries if name.startswith(prefix))

    def path(self, name: str) -> Path:
        """Raises ``KeyError`` for an unknown name, ``UserError`` for a file that is damaged or gone."""
        return self._files.path(self._entries[name])


class _LocalFiles:
    """Verified local files: in place from a directory, else from a cache folder that all stages and runs share.

    Each is checked against its size and sha256 once a process.
    """

    def __init__(self, store: Store, cache: Path, origin: Origin) -> None:
        self._store, self._cache, self._origin = store, cache, origin
        self._verified: dict[str, Path] = {}

    def path(self, entry: FileEntry) -> Path:
        if entry.key not in self._verified:
            self._verified[entry.key] = self._verify(entry)
        return self._verified[entry.key]

    def _verify(self, entry: FileEntry) -> Path:
        in_place = self._store.local_path(entry.key)
        path = in_place or self._cache / entry.key
        fetches = 0 if in_place else 2  # the second time because a transfer may have gone wrong
        while not _is_whole(path, entry):
            if fetches == 0:
                raise self._damaged(entry, path)
            self._store.fetch(entry.key, path)
            fetches -= 1
        return path

    def _damaged(self, entry: FileEntry, path: Path) -> UserError:
        what = "damaged" if path.is_file() else "not there"
        stage, folder = self._origin.stage, self._origin.folder
        return UserError(
            f"{self._store.url}/{entry.key} ({entry.name}) is {what}: "
            f"delete {self._store.url}/{folder} and run {stage} again"
        )


def _is_whole(path: Path, entry: FileEntry) -> bool:
    return path.is_file() and path.stat().st_size == entry.size and sha256_of(path) == entry.sha256
