"""Figures that MLflow has not taken yet, kept in the store beside the artifact, so that a killed attempt loses none."""

from __future__ import annotations

import json
import uuid
from typing import NamedTuple

from roomseg.runtime.storage import MissingKey, Store


class Figure(NamedTuple):
    name: str
    value: float
    at_ms: int  # since 1970; MLflow takes a figure that is sent twice with the same time for one
    step: int


class Journal:
    """``FOLDER/figures/<id>.json``, one object an attempt. One without figures: the end of a run is not recorded."""

    def __init__(self, store: Store, folder: str) -> None:
        self._store, self._folder = store, f"{folder}/figures/"
        self._key = f"{self._folder}{uuid.uuid4().hex}.json"
        self._kept: list[Figure] | None = None
        self._read: list[str] = []

    def is_empty(self) -> bool:
        return not self._store.list(self._folder)

    def read(self) -> list[Figure]:
        """What all attempts have left, by step. A damaged object is passed over: figures are no results."""
        self._read = self._store.list(self._folder)
        found = {figure for key in self._read for figure in _figures_in(self._store, key)}
        return sorted(found, key=lambda figure: (figure.step, figure.at_ms, figure.name))

    def keep(self, figures: list[Figure]) -> None:
        """From now on the journal of this attempt holds these; durable on return."""
        if figures != self._kept:
            self._store.put_bytes(self._key, json.dumps(figures).encode())
            self._kept = figures

    def clear(self) -> None:
        """What was read and kept has been taken; what another process keeps meanwhile stays."""
        for key in self._read if self._kept is None else [*self._read, self._key]:
            self._store.delete(key)
        self._kept, self._read = None, []


def _figures_in(store: Store, key: str) -> list[Figure]:
    try:
        text = store.get_bytes(key)
    except MissingKey:  # removed since it was listed; any other failure of the store is none of the figures'
        return []
    try:
        rows = json.loads(text)
        return [Figure(str(name), float(value), int(at_ms), int(step)) for name, value, at_ms, step in rows]
    except (ValueError, TypeError, RecursionError):
        return []
