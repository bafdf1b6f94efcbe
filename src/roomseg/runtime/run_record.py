"""What a pipeline run came to: a note for each stage that ended well, and a summary of them when the run is over."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from roomseg.comparisons import title_of
from roomseg.errors import one_line
from roomseg.runtime.manifest import Manifest, manifest_key
from roomseg.runtime.storage import MissingKey, Store

_SHOWN = ("miou", "miou_published", "accuracy", "champion")  # a score whose name ends so is in the summary
_HEADLINES = ("miou", "val_miou", "distilled_miou", "champion")  # what a stage is about


class Note(BaseModel):
    """Of a stage that ended well."""

    model_config = ConfigDict(frozen=True)

    stage: str
    compared: str = ""  # of several trainings by one stage, which this was
    manifest: str
    digest: str
    created: str = ""  # UTC, ISO 8601; notes of earlier versions have none
    seconds: FiniteFloat = Field(ge=0, le=1e12)
    attempts: int = Field(ge=1)
    scores: dict[str, FiniteFloat | None]

    @property
    def title(self) -> str:
        return f"{self.stage} ({self.compared})" if self.compared else self.stage

    @property
    def shown_scores(self) -> str:
        return _told([name for name in self.scores if name.endswith(_SHOWN)], self.scores)

    @property
    def headline(self) -> str:
        return _told([name for name in _HEADLINES if name in self.scores], self.scores)


def _told(names: Sequence[str], scores: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name in names if (value := scores[name]) is not None)


class DamagedNote(BaseModel):
    """In its place: what is lost is the note alone, the stage's artifact is there."""

    damaged: str  # its key in the store
    reason: str
    created: ClassVar[str] = ""


def note_stage(store: Store, run_id: str, manifest: Manifest) -> None:
    """``runs/RUN/STAGE-FINGERPRINT.json``: written again, with the same content, by each attempt."""
    note = Note(
        stage=manifest.stage,
        compared=title_of(manifest.stage, manifest.config),
        manifest=manifest_key(manifest.stage, manifest.fingerprint),
        digest=manifest.digest,
        created=manifest.created,
        seconds=manifest.seconds,
        attempts=manifest.attempts,
        scores=json.loads(manifest.to_json())["scores"],
    )
    key = f"{_folder(run_id)}/stages/{manifest.stage}-{manifest.fingerprint}.json"
    store.put_bytes(key, json.dumps(note.model_dump(), sort_keys=True).encode())


def stage_notes(store: Store, folder: str) -> Iterator[Note | DamagedNote]:
    """Of the run whose folder below ``runs/`` this is."""
    for key in store.list(f"runs/{folder}/stages/"):
        try:
            yield Note.model_validate_json(store.get_bytes(key))
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            yield DamagedNote(damaged=key, reason=one_line(f"{where}: {first['msg']}" if where else first["msg"]))
        except MissingKey:
            continue  # removed since it was listed


def summarise_run(store: Store, run_id: str, state: str, error: str) -> str:
    """Write ``runs/RUN/summary.json``; returns the same as Markdown. ``state`` and ``error`` are KFP's."""
    found = list(stage_notes(store, _name(run_id)))
    notes = sorted((each for each in found if isinstance(each, Note)), key=lambda note: (note.stage, note.manifest))
    damaged = [each for each in found if isinstance(each, DamagedNote)]
    summary = {"run": run_id, "state": state, "error": error, "stages": [note.model_dump() for note in notes]}
    if damaged:
        summary["damaged"] = [each.model_dump() for each in damaged]
    store.put_bytes(f"{_folder(run_id)}/summary.json", json.dumps(summary, indent=1, sort_keys=True).encode())
    head = [f"# Run {run_id}: {state}", "", *(f"    {line}" for line in error.splitlines())]
    return "\n".join([*head, *([""] if error else []), *_table(notes, damaged, store.url), ""])


def _folder(run_id: str) -> str:
    return f"runs/{_name(run_id)}"


def _name(run_id: str) -> str:
    """Of one folder, whatever the run is called."""
    name = quote(run_id, safe="")
    return name if name.strip(".") else name.replace(".", "%2E")


def _table(notes: list[Note], damaged: list[DamagedNote], store_url: str) -> list[str]:
    if not notes and not damaged:
        return ["No stage ended well."]
    lines = ["| stage | seconds | attempts | scores | manifest |", "|---|---:|---:|---|---|"]
    for note in notes:
        where = f"`{store_url}/{note.manifest}`"
        lines.append(f"| {note.title} | {note.seconds:.0f} | {note.attempts} | {note.shown_scores} | {where} |")
    return lines + [f"| damaged note | | | {each.reason} | `{store_url}/{each.damaged}` |" for each in damaged]
