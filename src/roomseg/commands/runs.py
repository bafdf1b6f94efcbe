"""``roomseg runs`` and ``roomseg status``: what a store knows of runs that were and of stages that are not complete."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from roomseg.errors import one_line

if TYPE_CHECKING:
    from roomseg.runtime.run_record import DamagedNote, Note

    RunNote = tuple[str, Note | DamagedNote]

Where = Annotated[str, typer.Option("--store", help="A folder or s3://BUCKET/PREFIX.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def runs(store: Where = "roomseg-store", as_json: AsJson = False) -> None:
    """List the runs of a store, the newest last: each stage that ended well, how long it took, and what came out.

    With --json all scores, and where each artifact is.
    """
    from roomseg.runtime.existing import existing_store
    from roomseg.runtime.history import past_stages

    opened = existing_store(store)
    notes = by_time(list(past_stages(opened)))
    if as_json:
        return typer.echo(json.dumps([{"run": run, **note.model_dump()} for run, note in notes], indent=1))
    rows = [(run, *_told(note)) for run, note in notes]
    names = ("run", "stage", "made (UTC)", "took", "attempts", "came to", "fingerprint")
    return _print(names, rows, "no runs yet")


def by_time(notes: list[RunNote]) -> list[RunNote]:
    """By when each run last made something, the stages of one run together."""
    last: dict[str, str] = {}
    for run, note in notes:
        last[run] = max(last.get(run, ""), note.created)
    return sorted(notes, key=lambda each: (last[each[0]], each[0], each[1].created))


def _told(note: Note | DamagedNote) -> tuple[str, ...]:
    from roomseg.runtime.run_record import DamagedNote

    if isinstance(note, DamagedNote):
        return "damaged note", "-", "-", "-", f"{note.damaged}: {note.reason}", "-"
    made = note.created[:16].replace("T", " ") or "-"
    fingerprint = note.manifest.removesuffix("/manifest.json").rpartition("/")[2][:12]
    return note.title, made, f"{note.seconds:.0f} s", str(note.attempts), note.headline or "-", fingerprint


def status(store: Where = "roomseg-store", as_json: AsJson = False) -> None:
    """Show the stages that were begun and are not complete: who is at them, and how far they are."""
    from roomseg.runtime.existing import existing_store
    from roomseg.runtime.history import open_stages

    stages = list(open_stages(existing_store(store)))
    if as_json:
        return typer.echo(json.dumps([asdict(stage) for stage in stages], indent=1))
    rows = [
        (
            stage.stage,
            stage.fingerprint[:12],
            "damaged manifest" if stage.damage else ", ".join(stage.holders) or "interrupted",
            _step(stage.step, stage.steps),
            f"{stage.files:,}",
            f"{stage.seconds:.0f} s",
            "-" if stage.silent_s is None else f"{stage.silent_s:.0f} s ago",
        )
        for stage in stages
    ]
    names = ("stage", "fingerprint", "running", "checkpoint", "files", "worked", "last heard of")
    _print(names, rows, "nothing is open: all stages that were begun are complete")
    for damage in (stage.damage for stage in stages if stage.damage):
        typer.echo(f"damaged: {damage}")
    return None


def _step(step: int | None, steps: int | None) -> str:
    if step is None:
        return "-"
    return f"step {step:,}" if not steps else f"step {step:,} of {steps:,} ({step / steps:.0%})"


def _print(names: tuple[str, ...], rows: Sequence[tuple[str, ...]], nothing: str) -> None:
    table = Table(*names, box=None)
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))  # as it is: brackets are no markup
    Console().print(table if rows else nothing, highlight=False, soft_wrap=not rows)
