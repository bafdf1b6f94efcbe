"""``roomseg export`` and ``roomseg import``: networks out of a store for others, published ones into the registry."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from roomseg.commands.predict import Model, TrackingUri

Store = Annotated[str, typer.Option(help="A folder or s3://BUCKET/PREFIX.")]
SCRIPT_NAME = "model.torchscript.pt"


def export(
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="Where the files go.")],
    model: Model = "",
    torchscript: Annotated[bool, typer.Option(help=f"Also {SCRIPT_NAME}, which runs where only torch is.")] = True,
    store: Store = "roomseg-store",
    tracking_uri: TrackingUri = "",
) -> None:
    """Write a network as model.safetensors, model.json and TorchScript, each checked against the original."""
    from roomseg.runtime.model_source import open_model
    from roomseg.runtime.storage import local_errors
    from roomseg.stages.predicting.exporting import export_model

    loaded = open_model(model, store, tracking_uri)
    with local_errors("write", out, "--out"):
        differences = export_model(loaded, out, SCRIPT_NAME if torchscript else None)
    console = Console()
    console.print(f"model   {loaded.card.network} of {loaded.where}", highlight=False, soft_wrap=True)
    for name, text in differences.items():
        console.print(f"wrote   {out / name}, {text}", highlight=False, soft_wrap=True)


def import_(
    checkpoint: Annotated[Path, typer.Argument(metavar="FILE", help="A published 3DSeg-*.pth, or a folder of export.")],
    name: Annotated[str, typer.Option(help="Of the registered model.")] = "roomseg",
    licence: Annotated[str, typer.Option(help="Of the weights, best by its SPDX id; for the model card.")] = "",
    store: Store = "roomseg-store",
    tracking_uri: TrackingUri = "",
) -> None:
    """Register a published checkpoint: predict then takes it as models:/NAME@published."""
    from roomseg.runtime.storage import local_errors
    from roomseg.runtime.tracking import default_tracking_uri, register_published
    from roomseg.stages.predicting.models import load_model, save_model

    loaded = load_model(checkpoint)
    if not store.startswith("s3://"):
        with local_errors("write", Path(store)):
            Path(store).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        save_model(loaded, folder)
        uri = tracking_uri or default_tracking_uri(store)
        version = register_published(uri, name, folder, checkpoint.name, licence)
    card = loaded.card
    Console().print(
        f"registered a 3D Segmenter {card.network} ({len(card.classes)} classes, {card.voxel_m * 100:g} cm) as {name} "
        f"version {version}\nuse it  roomseg predict INPUT -o OUT --model models:/{name}@published",
        highlight=False,
        soft_wrap=True,
    )
