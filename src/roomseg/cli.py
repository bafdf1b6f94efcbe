"""``roomseg``: one command a stage, with the same code as the pipeline, and the MLflow page of a store."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from roomseg.commands import bench, data
from roomseg.commands import store as store_commands
from roomseg.commands.distill import preview
from roomseg.commands.doctor import doctor
from roomseg.commands.export import export, import_
from roomseg.commands.predict import predict
from roomseg.commands.promote import promote, rollback
from roomseg.commands.report import report
from roomseg.commands.runs import runs, status
from roomseg.config import override, parse_shard
from roomseg.errors import UsageError, UserError, out_of_memory, told_when_memory_runs_out
from roomseg.processes import share_cores
from roomseg.profiles import profile as profile_of

app = typer.Typer(
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Indoor 3D semantic segmentation by 2D-to-3D panoramic distillation. Each command runs one stage of the "
    "pipeline; `python pipeline.py --local` runs all of them.",
)

DEFAULT_STORE = "roomseg-store"
STAGE_HELP = {
    "render": "Scenes -> rooms (TSDF, RGB, label at 4 cm) and labelled panoramas.",
    "teacher": "Panoramas -> a 2D Segmenter finetuned on them.",
    "pretrain": "Blocks of rooms -> a 3D student, trained with cross entropy.",
    "distill": "Rooms, teacher and student -> the distilled student.",
    "evaluate": "Checkpoints and test rooms -> scores and the HTML report.",
    "register": "The distilled student -> a version in the model registry.",
}

Profile = Annotated[str, typer.Option(help="demo: minutes on two cores. paper: every number of the paper.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change a value, such as teacher.epochs=3. Repeatable."),
]
Store = Annotated[str, typer.Option(help="Where artifacts go: a folder or s3://BUCKET/PREFIX.")]
TrackingUri = Annotated[
    str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="MLflow server. Default: a database in the store's folder.")
]


Shard = Annotated[
    str,
    typer.Option(
        metavar="I/N",
        help="Render only the I-th of N parts; several machines may, into one store. A run without it gathers them.",
    ),
]


def _stage_command(stage: str) -> Callable[..., None]:
    def run(
        profile: Profile = "demo",
        settings: Settings = None,
        store: Store = DEFAULT_STORE,
        tracking_uri: TrackingUri = "",
    ) -> None:
        from roomseg.runtime.finding import find_inputs  # only now: --help answers at once
        from roomseg.runtime.stage import run_stage

        config = override(profile_of(profile), settings or [])
        run_stage(
            stage,
            config.section(stage),
            store=store,
            inputs=find_inputs(stage, config, store),
            run_id=config.run_id,
            tracking_uri=tracking_uri or None,
        )

    return run


@app.command(help=STAGE_HELP["render"])
def render(
    profile: Profile = "demo",
    settings: Settings = None,
    store: Store = DEFAULT_STORE,
    tracking_uri: TrackingUri = "",
    shard: Shard = "",
) -> None:
    if not shard:
        return _stage_command("render")(profile, settings, store, tracking_uri)
    part = parse_shard(shard)
    from roomseg.runtime.stage import run_shard

    config = override(profile_of(profile), settings or [])
    return run_shard(
        "render",
        config.render,
        store=store,
        inputs={},
        run_id=config.run_id,
        shard=part,
        tracking_uri=tracking_uri or None,
    )


distill = typer.Typer(help=STAGE_HELP["distill"])
distill.command("preview")(preview)


@distill.callback(invoke_without_command=True)
def _distill(
    ctx: typer.Context,
    profile: Profile = "demo",
    settings: Settings = None,
    store: Store = DEFAULT_STORE,
    tracking_uri: TrackingUri = "",
) -> None:
    if ctx.invoked_subcommand is None:
        _stage_command("distill")(profile, settings, store, tracking_uri)
    elif any(was_given(ctx, name) for name in ctx.params):
        raise UsageError(f"distill {ctx.invoked_subcommand}: give its options after it")


def was_given(ctx: typer.Context, option: str) -> bool:
    """On the command line itself, not by an environment variable."""
    source = ctx.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


for _stage in STAGE_HELP:
    if _stage not in ("render", "distill"):
        app.command(_stage, help=STAGE_HELP[_stage])(_stage_command(_stage))


app.add_typer(distill, name="distill")
app.add_typer(data.app, name="data")
app.add_typer(bench.app, name="bench")
app.add_typer(store_commands.app, name="store")
app.command()(predict)
app.command()(report)
app.command()(doctor)
app.command()(runs)
app.command()(status)
app.command()(export)
app.command("import")(import_)
app.command()(promote)
app.command()(rollback)


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


def run_command_line(command: Callable[..., Any]) -> None:
    """Run a typer application or one function as a command; a ``UserError`` is one line and its exit code."""
    application = command
    if not isinstance(command, typer.Typer):
        application = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        application.command()(command)
    share_cores()
    try:
        with told_when_memory_runs_out(out_of_memory):
            application()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        print("stopped; the same command continues where it was", file=sys.stderr)
        raise SystemExit(130) from None


def main() -> None:
    run_command_line(app)
