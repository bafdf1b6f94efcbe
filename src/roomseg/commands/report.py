"""``roomseg report``: the newest evaluation's page with all that it links to, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="Where the files go.")],
    store: Annotated[str, typer.Option(help="A folder or s3://BUCKET/PREFIX.")] = "roomseg-store",
    fingerprint: Annotated[str, typer.Option(help="Of another evaluation than the newest.")] = "",
) -> None:
    """Fetch an evaluation: report.html, the rooms' 3D views that it links to, a picture for slides, the scores."""
    from roomseg.runtime.existing import existing_store
    from roomseg.runtime.manifest import newest_manifest
    from roomseg.runtime.reports import copy_report
    from roomseg.runtime.storage import local_errors

    opened = existing_store(store)
    evaluation = newest_manifest(opened, "evaluate", "evaluation", fingerprint)
    with local_errors("write", out, "--out"):
        page = copy_report(opened, evaluation, out)
    typer.echo(f"look    {page}")
