"""What a store tells of its runs: stages that ended well, and stages that are not complete yet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

from roomseg.errors import UserError
from roomseg.runtime.artifacts import seconds_in
from roomseg.runtime.checkpoints import how_far
from roomseg.runtime.lease import holder
from roomseg.runtime.manifest import read_manifest
from roomseg.runtime.run_record import DamagedNote, Note, stage_notes
from roomseg.runtime.storage import Store


def past_stages(store: Store) -> Iterator[tuple[str, Note | DamagedNote]]:
    """The notes of all runs (``run_record.note_stage``), each with the name of its run, by run and stage."""
    for folder in store.folders("runs/"):
        for note in stage_notes(store, folder):
            yield unquote(folder), note


@dataclass(frozen=True)
class OpenStage:
    """A stage that was begun and is not complete, or whose manifest is damaged."""

    stage: str
    fingerprint: str
    holders: tuple[str, ...]  # processes that are at it now; none: it was interrupted
    step: int | None  # of the newest checkpoint
    steps: int | None  # that there will be
    files: int  # that are made already
    seconds: float  # all attempts together
    silent_s: float | None  # since it last told the store that it lives
    damage: str = ""  # what is wrong with its manifest, and what to do


def open_stages(store: Store) -> Iterator[OpenStage]:
    for stage in store.folders("artifacts/"):
        for fingerprint in store.folders(f"artifacts/{stage}/"):
            try:
                if read_manifest(store, stage, fingerprint) is None:
                    yield _open_stage(store, stage, fingerprint)
            except UserError as error:
                yield _open_stage(store, stage, fingerprint, str(error))


def _open_stage(store: Store, stage: str, fingerprint: str, damage: str = "") -> OpenStage:
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
        damage=damage,
    )
