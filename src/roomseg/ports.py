"""What a stage is given: its inputs, its outputs, and where to report; ``runtime`` has the real ones.

Stages and ``fit()`` know only these protocols, so they run the same under KFP, the command line and the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class ArtifactReader(Protocol):
    """A complete artifact of an earlier stage."""

    @property
    def digest(self) -> str: ...

    @property
    def scores(self) -> Mapping[str, float]: ...

    @property
    def parents(self) -> Mapping[str, str]:
        """The digest of each artifact that it was made of, by the name of the stage's input."""
        ...

    @property
    def code_version(self) -> str:
        """The version, and a digest of the code, that made it."""
        ...

    @property
    def seconds(self) -> float:
        """The wall-clock time that the stage took, all its attempts together."""
        ...

    def names(self, prefix: str = "") -> list[str]:
        """Names of its files, sorted."""
        ...

    def path(self, name: str) -> Path:
        """A local, verified copy of a file."""
        ...

    def sha256(self, name: str) -> str:
        """Of a file's content; it is not read for that. Raises ``KeyError`` for an unknown name."""
        ...


class ArtifactWriter(Protocol):
    """The artifact that a stage is making: what this attempt added, and what it found by ``in`` or ``path``.

    A name that is found may come from an earlier attempt, or from another process of the same fingerprint; one that is
    never asked for is left out.
    """

    def __contains__(self, name: str) -> bool: ...

    def path(self, name: str) -> Path:
        """A local, verified copy of a file that was added."""
        ...

    def add(self, name: str, path: Path) -> None:
        """Store a finished local file under a name such as ``rooms/train-00003.parquet``; durable on return."""
        ...


class Checkpoints(Protocol):
    """Checkpoints of one stage and fingerprint; a state is nested dicts and lists of tensors and plain values."""

    def save(self, step: int, state: Mapping[str, Any], steps: int | None = None) -> None:
        """``steps``: how many there will be, for people who ask how far it is."""
        ...

    def latest(self) -> tuple[int, dict[str, Any]] | None:
        """The newest valid one; a corrupt one is passed over with a warning."""
        ...


class Cache(Protocol):
    """Results that stages and runs share, in the store: what is not there is made, and put there for the others."""

    def key(self, kind: str, parts: Mapping[str, Any], module: str) -> str:
        """The name of a result: a digest of ``parts`` (JSON types) and of the code of ``module`` with its imports."""
        ...

    def get(self, key: str) -> bytes | None:
        """None where nothing is, and, with a warning, where it is damaged."""
        ...

    def put(self, key: str, content: bytes) -> None:
        """Durable on return; seen whole or not at all."""
        ...


class Tracker(Protocol):
    def log(self, step: int, metrics: Mapping[str, float]) -> None: ...


class Bar(Protocol):
    def advance(self, n: int = 1, **figures: float | str) -> None:
        """n more done; ``figures`` such as loss=0.31 stand beside the bar."""
        ...


class Progress(Protocol):
    def bar(self, title: str, total: int, done: int = 0, unit: str = "") -> AbstractContextManager[Bar]: ...

    def track(self, items: Iterable[Any], title: str, total: int, unit: str = "") -> Iterator[Any]: ...

    def say(self, text: str) -> None: ...


@dataclass(frozen=True)
class Evidence:
    """What a version did on its test rooms, kept with it."""

    scores: Mapping[str, float]  # its own
    rooms_digest: str  # of the test rooms
    results: Path  # a small file, for comparing versions


@dataclass(frozen=True)
class Champion:
    version: str
    tags: Mapping[str, str]  # as it was registered with
    results: bytes | None  # the content of its ``Evidence.results``, where it has any


class ModelRegistry(Protocol):
    """The model registry as ``register`` needs it."""

    def register(
        self,
        name: str,
        model_dir: Path,
        scores: Mapping[str, float],
        tags: Mapping[str, str],
        evidence: Evidence,
        alias: str | None = "challenger",
    ) -> str:
        """Store the model folder as a new version; the same folder again gives the same version. Returns it.

        The version has the alias until it is promoted; with None it gets none, and none is taken from another.
        """
        ...

    def champion(self, name: str) -> Champion | None:
        """The version with the alias ``champion``."""
        ...

    def promote(self, name: str, version: str) -> None:
        """Give ``champion`` to a version; the one that had it becomes ``previous``."""
        ...


@dataclass(frozen=True)
class StageContext:
    inputs: Mapping[str, ArtifactReader]
    outputs: ArtifactWriter
    checkpoints: Checkpoints
    cache: Cache
    tracker: Tracker
    progress: Progress
    registry: ModelRegistry
    work_dir: Path  # scratch of this stage and fingerprint on the local disk; may be gone on the next attempt
    fetch: Callable[[str], Path]  # a local copy of one of the section's ``outside_files``; raises ``UserError``
    shard: tuple[int, int] | None = None  # (i, n): make only the i-th of n parts of the work, 1 <= i <= n


@dataclass(frozen=True)
class RoomKey:
    """Names a room of a source before it is loaded. Small: a million of them must be thinkable."""

    id: str  # unique within the source: letters, digits, ``_``, ``.`` and ``-``
    house_id: str  # rooms of one house belong together: splits by house keep them on one side
    split: str  # train, val or test
    place: tuple[str | int, ...] = ()  # what the source needs to find it again


@dataclass(frozen=True)
class Rejected:
    """A room, or a file of rooms, that cannot be used, and why."""

    id: str
    reason: str


class RoomSource(Protocol):
    """Where rooms come from. Opened once in each worker process; loading a room depends on its key alone."""

    def plan(self) -> tuple[list[RoomKey], list[Rejected]]:
        """The rooms by split (train, val, test) in a fixed order, and what was turned away before loading."""
        ...

    def load(self, key: RoomKey) -> Any:
        """A ``scenes.source.Scene``, a ``scenes.source.Scan`` or a finished ``data.rooms.Room``.

        Raises ``UserError`` for a room that cannot be used: it is then quarantined with that reason.
        """
        ...

    def digest(self) -> str:
        """Changes when the files that the rooms come from change; cheap: no reading of all their bytes."""
        ...
