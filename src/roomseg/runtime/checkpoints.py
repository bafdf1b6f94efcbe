"""Checkpoints in a store: ``checkpoints/<stage>/<fingerprint>/step-00001234/{state.pt, manifest.json}``.

The state is written first, its manifest last; the newest valid one wins.
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from roomseg.errors import UserError
from roomseg.runtime.storage import MissingKey, Store, local_errors, sha256_of

_KEPT = 2
_PLAIN = (bool, int, float, str, type(None))


class StoreCheckpoints:
    """``ports.Checkpoints`` over a store. torch is imported only where a state is written or read."""

    def __init__(
        self,
        store: Store,
        stage: str,
        fingerprint: str,
        scratch: Path,
        say: Callable[[str], None],
        before_save: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._scratch, self._say, self._before_save = store, scratch, say, before_save
        self._folder = f"checkpoints/{stage}/{fingerprint}/"
        self._corrupt: set[int] = set()

    def save(self, step: int, state: Mapping[str, Any], steps: int | None = None) -> None:
        """Durable on return; the newest two are kept. Raises ``TypeError`` for what a state must not hold."""
        state = dict(state)
        _check_plain(state, "state")
        self._before_save()
        path = self._scratch / "checkpoint.pt"
        _write_state(state, path)
        record = {"step": step, "steps": steps, "size": path.stat().st_size, "sha256": sha256_of(path)}
        self._store.put_file(self._key(step, "state.pt"), path)
        self._store.put_bytes(self._key(step, "manifest.json"), json.dumps(record).encode())
        path.unlink()
        self._corrupt.discard(step)
        self._remove_all_but_newest(step)

    def latest(self) -> tuple[int, dict[str, Any]] | None:
        """The newest valid checkpoint, its tensors on the CPU."""
        for step in sorted(_steps(self._store.list(self._folder)), reverse=True):
            try:
                return step, self._load(step)
            except (MissingKey, _CorruptCheckpoint) as error:
                self._corrupt.add(step)
                self._say(f"checkpoint of step {step} passed over: {error}")
        return None

    def clear(self) -> None:
        """Remove them all, for a stage that is complete."""
        for key in reversed(self._store.list(self._folder)):
            self._store.delete(key)

    def _load(self, step: int) -> dict[str, Any]:
        from roomseg.models.weight_files import load_torch

        record = _record(self._store.get_bytes(self._key(step, "manifest.json")))
        key = self._key(step, "state.pt")
        in_place = self._store.local_path(key)
        path = in_place or self._scratch / "checkpoint.pt"
        if in_place is None:
            self._store.fetch(key, path)
        if not path.is_file():
            raise _CorruptCheckpoint("its state is not there")
        if path.stat().st_size != record["size"] or sha256_of(path) != record["sha256"]:
            raise _CorruptCheckpoint("its bytes are not those that were written")
        try:
            state: dict[str, Any] = load_torch(path)
        except UserError as error:
            raise _CorruptCheckpoint(f"its state cannot be read ({error})") from error
        if in_place is None:
            path.unlink()
        return state

    def _remove_all_but_newest(self, saved: int) -> None:
        """Also what crashes left behind: states without a manifest and corrupt checkpoints."""
        keys = self._store.list(self._folder)  # once: a listing may be stale, and without the step just saved
        kept = sorted((_steps(keys) | {saved}) - self._corrupt)[-_KEPT:]
        folders = tuple(f"{self._folder}step-{step:08d}/" for step in kept)
        # "manifest.json" sorts before "state.pt", so a checkpoint loses its manifest first.
        for key in keys:
            if not key.startswith(folders):
                self._store.delete(key)

    def _key(self, step: int, name: str) -> str:
        return f"{self._folder}step-{step:08d}/{name}"


def how_far(store: Store, stage: str, fingerprint: str) -> tuple[int | None, int | None]:
    """The step of the newest checkpoint, and of how many; None where it is not known."""
    folder = f"checkpoints/{stage}/{fingerprint}/"
    step = max(_steps(store.list(folder)), default=None)
    if step is None:
        return None, None
    try:
        steps = json.loads(store.get_bytes(f"{folder}step-{step:08d}/manifest.json"))["steps"]
    except (MissingKey, ValueError, KeyError, TypeError):  # it made room for another just now; damaged; an older one
        return step, None
    return step, steps if isinstance(steps, int) else None


def _steps(keys: Iterable[str]) -> set[int]:
    """Steps that have a manifest."""
    matches = (re.search(r"/step-(\d+)/manifest\.json$", key) for key in keys)
    return {int(match[1]) for match in matches if match}


def _write_state(state: Mapping[str, Any], path: Path) -> None:
    import torch

    with local_errors("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with path.open("wb") as file:
                torch.save(state, file)
        except RuntimeError as error:  # torch's own complaint hides the system's, such as a full disk
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None


class _CorruptCheckpoint(UserError):
    pass


def _record(text: bytes) -> dict[str, Any]:
    try:
        record = json.loads(text)
        return {"size": int(record["size"]), "sha256": str(record["sha256"])}
    except (ValueError, KeyError, TypeError):
        raise _CorruptCheckpoint("its manifest is damaged") from None


def _check_plain(value: Any, where: str) -> None:
    """torch.load(weights_only=True) refuses other types: better to fail at the first save than to lose the training.

    Exact types: numpy's float64 is a Python float to isinstance, but not to the unpickler.
    """
    import torch

    if type(value) in (dict, OrderedDict):
        for key, item in value.items():
            _check_plain(key, f"a key of {where}")
            _check_plain(item, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):
            _check_plain(item, f"{where}[{index}]")
    elif not (isinstance(value, torch.Tensor) or type(value) in _PLAIN):
        raise TypeError(f"{where} is a {type(value).__name__}; expected tensors, plain values, dicts and lists of them")
