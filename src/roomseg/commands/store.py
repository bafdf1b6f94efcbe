"""``roomseg store``: is all that a store's manifests name there and whole, and what may be removed?"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(no_args_is_help=True, help="Verify the files of a store, and remove what none of its artifacts has.")

Where = Annotated[str, typer.Argument(metavar="STORE", help="A folder or s3://BUCKET/PREFIX.")]


@app.command()
def verify(
    store: Where,
    quick: Annotated[bool, typer.Option(help="Compare sizes only; do not read the files.")] = False,
) -> None:
    """Compare each file of each complete artifact with the size and sha256 in its manifest.

    Exits with 1 if there is damage.
    """
    from roomseg.runtime.existing import existing_store
    from roomseg.runtime.upkeep import damages

    console, files, faults = Console(), 0, 0

    def count(_: str) -> None:
        nonlocal files
        files += 1

    for damage in damages(existing_store(store), quick, count):
        faults += 1
        console.print(
            f"[red]damage[/] {damage.where} {damage.reason}: {damage.remedy}", highlight=False, soft_wrap=True
        )
    console.print(f"{files:,} files, {faults:,} of them damaged" if faults else f"{files:,} files, all whole")
    if faults:
        raise typer.Exit(1)


@app.command()
def gc(
    store: Where,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    grace_days: Annotated[
        float, typer.Option(min=0, help="Younger things stay, so that stages that run or may go on are safe.")
    ] = 7.0,
) -> None:
    """Remove what no manifest names: files of attempts that were given up, checkpoints and journals of what is done."""
    from roomseg.runtime.existing import existing_store
    from roomseg.runtime.upkeep import find_garbage, remove_garbage

    console, opened, grace_s = Console(), existing_store(store), grace_days * 86400
    garbage = find_garbage(opened, grace_s)
    if dry_run:
        for found in garbage:
            console.print(f"{found.size:>14,}  {found.key}", highlight=False, soft_wrap=True)
        n, size = len(list(garbage)), sum(found.size for found in garbage)
    else:
        n, size = remove_garbage(opened, garbage, grace_s)
    console.print(f"{n:,} objects, {size / 1e6:,.1f} MB {'would go' if dry_run else 'removed'}", highlight=False)
