"""``roomseg data``: is a store's set of rooms fit for training, and what does one of its rooms look like?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from roomseg.commands.output_files import check_file
from roomseg.labels import VOID, label_set
from roomseg.splits import SPLITS

if TYPE_CHECKING:  # the rest is imported where it is needed: --help answers at once
    from roomseg.data.check import Check
    from roomseg.runtime.artifacts import StoreArtifactReader
    from roomseg.runtime.manifest import Manifest

app = typer.Typer(no_args_is_help=True, help="Audit the rooms of a store, and look at one of them.")

Where = Annotated[str, typer.Argument(metavar="STORE", help="A folder or s3://BUCKET/PREFIX.")]
Artifact = Annotated[
    str, typer.Option(metavar="FINGERPRINT", help="Of the render artifact. Default: the newest of the store.")
]


@app.command()
def check(
    store: Where,
    artifact: Artifact = "",
    deep: Annotated[bool, typer.Option(help="Also read every file and compare it with its sha256.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also write all of it here.")] = None,
) -> None:
    """Count rooms, houses and class voxels; find empty and leaking splits, unknown labels and damaged files.

    Exits with 1 if there is a fault.
    """
    from roomseg.data.check import check_rooms, damage
    from roomseg.runtime.artifacts import open_render
    from roomseg.runtime.storage import local_errors

    if json_file:
        check_file(json_file, "--json")
    rooms = open_render(store, artifact)
    checked = check_rooms(rooms)
    if deep:
        checked.faults.extend(_with_progress(rooms, damage))
    console = Console()
    print_check(checked, rooms.manifest, console)
    if json_file:
        with local_errors("write", json_file, "--json"):
            json_file.write_text(json.dumps(checked.to_json(), indent=1, sort_keys=True) + "\n")
    if checked.faults:
        raise typer.Exit(1)


@app.command()
def show(
    room_id: Annotated[str, typer.Argument(metavar="ID", help="Of a room, such as g0h000012-1.")],
    store: Annotated[str, typer.Option(help="A folder or s3://BUCKET/PREFIX.")] = "roomseg-store",
    artifact: Artifact = "",
    out: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Default: ID.png here.")] = None,
) -> None:
    """Write a picture sheet of one room: panorama, room from above, their labels, ray hits, classes and credits."""
    from roomseg.data.dataset import find_room
    from roomseg.report.room_sheet import write_room_sheet
    from roomseg.runtime.artifacts import open_render
    from roomseg.runtime.storage import local_errors

    path = out or Path(f"{room_id}.png")
    check_file(path, "--out")
    room = find_room(open_render(store, artifact), room_id).load()
    with local_errors("write", path, "--out"):
        write_room_sheet(room, path)
    print(path)


def _with_progress(rooms: StoreArtifactReader, damage: Any) -> list[str]:
    from roomseg.runtime.progress import open_progress

    total = rooms.manifest.table.count
    with open_progress().bar("check", total=total, unit="files") as bar:
        return list(damage(rooms, lambda: bar.advance(1)))


def print_check(checked: Check, manifest: Manifest, console: Console) -> None:
    audit = checked.audit
    console.print(f"\nrender artifact {manifest.fingerprint}, made {manifest.created}", highlight=False)
    console.print(_split_table(audit))
    console.print(_class_table(audit))
    for name, value in _facts(checked):
        console.print(f"{name:<16}{value}", highlight=False, soft_wrap=True)
    for text in checked.warnings:
        console.print(f"[yellow]note[/]  {text}", highlight=False, soft_wrap=True)
    for text in checked.faults:
        console.print(f"[red]fault[/] {text}", highlight=False, soft_wrap=True)
    rooms = f"{sum(audit['rooms'].values()):,} rooms"
    n = len(checked.faults)
    verdict = f"[red]not fit for training[/]: {n} fault{'s'[: n > 1]}" if n else "[green]fit for training[/]"
    console.print(f"\n{rooms}: {verdict}", highlight=False)


def _split_table(audit: Mapping[str, Any]) -> Table:
    table = _table("split", ["rooms", "houses"])
    for split in SPLITS:
        table.add_row(split, f"{audit['rooms'][split]:,}", f"{audit['houses'][split]:,}")
    return table


def _class_table(audit: Mapping[str, Any]) -> Table:
    """Voxels of each class and their share of the split, void left out; the commonest in train first."""
    table = _table("class (voxels)", [title for split in SPLITS for title in (split, "%")])
    names = label_set(audit["labels"]).names[VOID + 1 :] if audit["labels"] else ()
    counts = {split: {name: audit["class_voxels"][split][name] for name in names} for split in SPLITS}
    totals = {split: max(sum(counts[split].values()), 1) for split in SPLITS}
    for name in sorted(counts["train"], key=lambda name: -counts["train"][name]):
        of_splits = [(counts[split][name], totals[split]) for split in SPLITS]
        cells = [cell for n, total in of_splits for cell in (f"{n:,}", _percent(n, total))]
        table.add_row(escape(name), *cells, style="" if any(n for n, _ in of_splits) else "dim")
    return table


def _table(first: str, numbers: list[str]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column(first, no_wrap=True)
    for title in numbers:
        table.add_column(title, justify="right")
    return table


def _percent(n: int, total: int) -> str:
    return f"{100 * n / total:.2f}" if n else ""


def _facts(checked: Check) -> list[tuple[str, str]]:
    audit, rates = checked.audit, checked.hit_rates
    labels = label_set(audit["labels"]).name if audit["labels"] else "none"
    licences = ", ".join(f"{name} ({n})" for name, n in audit["licences"].items())
    types = ", ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in audit["room_types"].items())
    return [
        ("labels", f"{labels}, {audit['unlabelled_share']:.2%} of the voxels that are not empty without one"),
        ("room types", types),
        ("panorama hits", ", ".join(f"{name} {value:.1%}" for name, value in rates.items()) or "not known"),
        ("surface seen", "not known" if audit["surface_seen"] is None else f"{audit['surface_seen']:.1%} on average"),
        ("size", f"{audit['bytes'] / 1e6:,.1f} MB in {checked.shards:,} shards"),
        ("quarantined", f"{audit['quarantined']:,}"),
        *(("", f"{n:,} x {reason}") for reason, n in audit["quarantine_reasons"].items()),
        ("credits", f"{len(audit['credits']):,}, by licence: {licences or 'none'}"),
    ]
