"""``roomseg``: one command a stage, with the same code as the pipeline, and the MLflow page of a store."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from roomseg.config import override
from roomseg.errors import UserError
from roomseg.profiles import profile as profile_of

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Indoor 3D semantic segmentation by 2D-to-3D panoramic distillation. Each command runs one stage of the "
    "pipeline; `python pipeline.py --local` runs all of them.",
)

DEFAULT_STORE = "roomseg-store"

Profile = Annotated[str, typer.Option(help="demo: minutes on two cores. paper: every number of the paper.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a value, such as teacher.epochs=3. Repeatable."),
]
Store = Annotated[str, typer.Option(help="Where artifacts go: a folder or s3://BUCKET/PREFIX.")]
TrackingUri = Annotated[
    str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow server. Default: a database in the store's folder.")
]


@app.command()
def render(
    profile: Profile = "demo",
    settings: Settings = None,
    store: Store = DEFAULT_STORE,
    tracking_uri: TrackingUri = "",
) -> None:
    """Scenes -> rooms (TSDF, RGB, label at 4 cm) and labelled panoramas."""
    _run("render", profile, settings, store, tracking_uri)


@app.command()
def teacher(
    profile: Profile = "demo",
    settings: Settings = None,
    store: Store = DEFAULT_STORE,
    tracking_uri: TrackingUri = "",
) -> None:
    """Panoramas -> a 2D Segmenter finetuned on them."""
    _run("teacher", profile, settings, store, tracking_uri)


@app.command()
def pretrain(
    profile: Profile = "demo",
    settings: Settings = None,
    store: Store = DEFAULT_STORE,
    tracking_uri: TrackingUri = "",
) -> None:
    """Blocks of rooms -> a 3D student, trained with cross entropy."""
    _run("pretrain", profile, settings, store, tracking_uri)


@app.command()
def distill(
    profile: Profile = "demo",
    settings: Settings = None,
    store: Store = DEFAULT_STORE,
    tracking_uri: TrackingUri = "",
) -> None:
    """Rooms, teacher and student -> the distilled student."""
    _run("distill", profile, settings, store, tracking_uri)


@app.command()
def evaluate(
    profile: Profile = "demo",
    settings: Settings = None,
    store: Store = DEFAULT_STORE,
    tracking_uri: TrackingUri = "",
) -> None:
    """Checkpoints and test rooms -> scores and the HTML report."""
    _run("evaluate", profile, settings, store, tracking_uri)


@app.command()
def register(
    profile: Profile = "demo",
    settings: Settings = None,
    store: Store = DEFAULT_STORE,
    tracking_uri: TrackingUri = "",
) -> None:
    """The distilled student -> a version in the model registry."""
    _run("register", profile, settings, store, tracking_uri)


@app.command()
def ui(store: Store = DEFAULT_STORE, port: Annotated[int, typer.Option(min=1, max=65535)] = 5000) -> None:
    """Show runs and models of a store's folder in MLflow's web page, on this machine only."""
    from roomseg.runtime.tracking import default_tracking_uri, serve_ui

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise UserError(f"port {port} is in use; give another one by --port") from None
    serve_ui(default_tracking_uri(store), port)


def _run(stage: str, profile: str, settings: list[str] | None, store: str, tracking_uri: str) -> None:
    from roomseg.runtime.stage import find_inputs, run_stage  # only now: --help answers at once

    config = override(profile_of(profile), settings or [])
    run_stage(
        stage,
        config.section(stage),
        store=store,
        inputs=find_inputs(stage, config, store),
        run_id=config.run_id,
        tracking_uri=tracking_uri or None,
    )


def run_command_line(command: Callable[..., Any]) -> None:
    """Run a typer application or one function as a command; a ``UserError`` is one line and its exit code."""
    application = command
    if not isinstance(command, typer.Typer):
        application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        application.command()(command)
    try:
        application()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print("stopped; the same command continues where it was", file=sys.stderr)
        raise SystemExit(130) from None


def main() -> None:
    run_command_line(app)
