"""``roomseg runs`` and ``roomseg status``: what a store knows of runs that were and of stages that are not complete."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

Where = Annotated[str, typer.Option("--store", help="A folder or s3://BUCKET/PREFIX.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def runs(store: Where = "roomseg-store", as_json: AsJson = False) -> None:
    """List the runs of a store, the newest last: each stage that ended well, with scores, duration and manifest."""
    from roomseg.runtime.history import past_stages
    from roomseg.runtime.run_record import SHOWN, shown_stage
    from roomseg.runtime.storage import open_store

    opened = open_store(store)
    notes = by_time(list(past_stages(opened)))
    if as_json:
        return typer.echo(json.dumps(notes, indent=1))
    rows = [
        (
            note["run"],
            shown_stage(note),
            _created(note)[:16].replace("T", " ") or "-",
            f"{note['seconds']:.0f} s",
            str(note["attempts"]),
            ", ".join(f"{k} {v:.3f}" for k, v in note["scores"].items() if v is not None and k.endswith(SHOWN)),
            note["manifest"],
        )
        for note in notes
    ]
    return _print(
        ("run", "stage", "made (UTC)", "took", "attempts", "scores", f"where in {opened.url}"), rows, "no runs yet"
    )


def by_time(notes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By when each run last made something, the stages of one run together."""
    last: dict[str, str] = {}
    for note in notes:
        last[note["run"]] = max(last.get(note["run"], ""), _created(note))
    return sorted(notes, key=lambda note: (last[note["run"]], note["run"], _created(note)))


def _created(note: dict[str, Any]) -> str:
    """UTC, ISO 8601; nothing in notes of earlier versions."""
    return note.get("created", "")


def status(store: Where = "roomseg-store", as_json: AsJson = False) -> None:
    """Show the stages that were begun and are not complete: who is at them, and how far they are."""
    from roomseg.runtime.history import open_stages
    from roomseg.runtime.storage import open_store

    stages = list(open_stages(open_store(store)))
    if as_json:
        return typer.echo(json.dumps([asdict(stage) for stage in stages], indent=1))
    rows = [
        (
            stage.stage,
            stage.fingerprint[:12],
            ", ".join(stage.holders) or "interrupted",
            _step(stage.step, stage.steps),
            f"{stage.files:,}",
            f"{stage.seconds:.0f} s",
            "-" if stage.silent_s is None else f"{stage.silent_s:.0f} s ago",
        )
        for stage in stages
    ]
    names = ("stage", "fingerprint", "running", "checkpoint", "files", "worked", "last heard of")
    return _print(names, rows, "nothing is open: all stages that were begun are complete")


def _step(step: int | None, steps: int | None) -> str:
    if step is None:
        return "-"
    return f"step {step:,}" if not steps else f"step {step:,} of {steps:,} ({step / steps:.0%})"


def _print(names: tuple[str, ...], rows: Sequence[tuple[str, ...]], nothing: str) -> None:
    table = Table(*names, box=None)
    for row in rows:
        table.add_row(*row)
    Console().print(table if rows else nothing, highlight=False, soft_wrap=not rows)
