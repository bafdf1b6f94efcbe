"""What a store tells of its runs: stages that ended well, and stages that are not complete yet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from roomseg.runtime.artifacts import seconds_in
from roomseg.runtime.checkpoints import how_far
from roomseg.runtime.lease import holder
from roomseg.runtime.manifest import manifest_key
from roomseg.runtime.storage import Store


def past_stages(store: Store) -> Iterator[dict[str, Any]]:
    """The notes of all runs (``run_record.note_stage``), each with the name of its run, by run and stage."""
    for folder in store.folders("runs/"):
        for key in store.list(f"runs/{folder}/stages/"):
            yield {"run": unquote(folder), **json.loads(store.get_bytes(key))}


@dataclass(frozen=True)
class OpenStage:
    """A stage that was begun and is not complete."""

    stage: str
    fingerprint: str
    holders: tuple[str, ...]  # processes that are at it now; none: it was interrupted
    step: int | None  # of the newest checkpoint
    steps: int | None  # that there will be
    files: int  # that are made already
    seconds: float  # all attempts together
    silent_s: float | None  # since it last told the store that it lives


def open_stages(store: Store) -> Iterator[OpenStage]:
    for stage in store.folders("artifacts/"):
        for fingerprint in store.folders(f"artifacts/{stage}/"):
            if not store.exists(manifest_key(stage, fingerprint)):
                yield _open_stage(store, stage, fingerprint)


def _open_stage(store: Store, stage: str, fingerprint: str) -> OpenStage:
    folder = f"artifacts/{stage}/{fingerprint}"
    attempts = list(store.objects(f"{folder}/attempts/"))
    found = (holder(store, key) for key in store.list(f"{folder}/lease"))
    step, steps = how_far(store, stage, fingerprint)
    return OpenStage(
        stage=stage,
        fingerprint=fingerprint,
        holders=tuple(who for who in found if who is not None),
        step=step,
        steps=steps,
        files=len(store.list(f"{folder}/added/")),
        seconds=sum(seconds_in(store.get_bytes(attempt.key)) for attempt in attempts),
        silent_s=min((attempt.age_s for attempt in attempts), default=None),
    )
