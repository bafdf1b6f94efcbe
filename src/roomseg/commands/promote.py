"""``roomseg promote`` and ``roomseg rollback``: which version of the registry is the champion, by a person's word."""

from __future__ import annotations

from typing import Annotated

import typer

from roomseg.commands.predict import TrackingUri
from roomseg.errors import UserError

Name = Annotated[str, typer.Option(help="Of the registered model.")]
Store = Annotated[str, typer.Option(help="A folder or s3://BUCKET/PREFIX.")]


def promote(
    version: Annotated[str, typer.Option(help="Number of the version. Default: the challenger.")] = "",
    name: Name = "roomseg",
    store: Store = "roomseg-store",
    tracking_uri: TrackingUri = "",
) -> None:
    """Make a version the champion; the one that was it becomes models:/NAME@previous."""
    from roomseg.runtime.tracking import promote_version

    _tell(name, *promote_version(_registry(store, tracking_uri), name, version))


def rollback(name: Name = "roomseg", store: Store = "roomseg-store", tracking_uri: TrackingUri = "") -> None:
    """Make the previous champion champion again; a second time undoes it."""
    from roomseg.runtime.tracking import roll_back

    _tell(name, *roll_back(_registry(store, tracking_uri), name))


def _registry(store: str, tracking_uri: str) -> str:
    from roomseg.runtime.tracking import default_tracking_uri, has_registry

    uri = tracking_uri or default_tracking_uri(store)
    if not has_registry(uri):
        raise UserError(f"--store {store}: no model is registered there yet; run the pipeline with it, or `import` one")
    return uri


def _tell(name: str, version: str, before: str | None) -> None:
    was = "there was none before" if before is None else f"before: version {before}"
    typer.echo(f"{name} champion: version {version} ({was})")
