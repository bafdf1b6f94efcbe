"""``roomseg predict``: labels for a person's own scan, and a page to look at them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from roomseg.errors import UsageError, UserError

if TYPE_CHECKING:  # the rest is imported where it is needed: --help answers at once
    from roomseg.ports import Progress
    from roomseg.stages.predicting.inputs import Grid, PredictInput

UnitChoice = Literal["auto", "m", "cm", "mm", "ft", "in"]
UpChoice = Literal["auto", "+x", "+y", "+z", "-x", "-y", "-z"]
ROOM_FILE = ".npz"
MAX_DEPTH_M = 4.5
Kind = Literal["a recording", "a published room", "a mesh or a cloud", "a room of a store"]
TAKES: dict[Kind, tuple[str, ...]] = {  # options
    "a recording": ("--up", "--depth-units-per-m", "--frame-stride", "--max-depth-m"),
    "a published room": (),
    "a mesh or a cloud": ("--units", "--up"),
    "a room of a store": (),
}

Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="A mesh or point cloud with colours (PLY, OBJ, GLB), a folder of posed RGB-D frames, a published room "
        "(NPZ), or the id of a room of --store.",
    ),
]
Model = Annotated[
    str,
    typer.Option(
        help="A folder of `roomseg export`, a published .pth, models:/NAME@ALIAS, or distill or pretrain: the newest "
        "of --store. Default: the champion of --store, else its newest network."
    ),
]


TrackingUri = Annotated[
    str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="Of models:/NAME@ALIAS. Default: the store's.")
]


def predict(
    given: Input,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="Where the files go.")],
    model: Model = "",
    units: Annotated[UnitChoice, typer.Option(help="Of a mesh or a cloud.")] = "auto",
    up: Annotated[UpChoice, typer.Option(help="Of a mesh, a cloud or a recording's poses: which axis is up.")] = "auto",
    depth_units_per_m: Annotated[float, typer.Option(min=0, help="Of RGB-D depth. 0: the layout's.")] = 0,
    frame_stride: Annotated[int, typer.Option(min=1, help="Take each n-th RGB-D frame.")] = 1,
    max_depth_m: Annotated[float, typer.Option(min=0.1, help="RGB-D depth beyond it is left out.")] = MAX_DEPTH_M,
    store: Annotated[str, typer.Option(help="Of models and rooms: a folder or s3://BUCKET/PREFIX.")] = "roomseg-store",
    tracking_uri: TrackingUri = "",
) -> None:
    """Label your own scan: labeled.ply, labels.npz, summary.json and view.html, a 3D page that opens from disk."""
    from roomseg.runtime.model_source import open_model
    from roomseg.runtime.progress import open_progress
    from roomseg.runtime.storage import local_errors
    from roomseg.stages.predicting.inputs import Grid
    from roomseg.stages.predicting.result import predict as predict_points
    from roomseg.stages.predicting.result import summary_of, write_files
    from roomseg.stages.predicting.view import write_view

    check_folder(out)
    choices = Choices(units, up, depth_units_per_m, frame_stride, max_depth_m, store)
    choices.check(kind_of(given))
    progress, clock = open_progress(), Clock()
    with clock.part("model"):
        loaded = open_model(model, store, tracking_uri)
    progress.say(f"model   {loaded.card.network} of {loaded.where}")
    with clock.part("volume"):
        scan = open_input(given, choices, Grid(loaded.card.voxel_m, loaded.card.truncation_voxels), progress)
    for line in facts_of(scan):
        progress.say(line)
    with clock.part("labels"):
        prediction = predict_points(scan, loaded)
    with clock.part("files"), local_errors("write", out, "--out"):
        out.mkdir(parents=True, exist_ok=True)
        summary = summary_of(prediction, loaded, clock.seconds)
        write_view(prediction, summary, out / "view.html")
    summary["seconds"] = {name: round(value, 2) for name, value in clock.seconds.items()}
    with local_errors("write", out, "--out"):
        write_files(prediction, summary, out)
    print_summary(summary, out, Console())


def check_folder(out: Path) -> None:
    """Raises ``UserError`` at once for a folder that cannot be made: not after minutes of work."""
    nearest = next(each for each in (out, *out.absolute().parents) if each.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise UserError(f"--out {out}: {nearest} is not a folder that can be written; choose another")


class Clock:
    """How long the parts took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start
        self.seconds["total"] = sum(value for part, value in self.seconds.items() if part != "total")


class Choices:
    """What the options say about an input."""

    def __init__(
        self, units: UnitChoice, up: UpChoice, depth_units: float, frame_stride: int, max_depth_m: float, store: str
    ) -> None:
        self.units, self.up, self.depth_units = units, up, depth_units or None
        self.frame_stride, self.max_depth_m, self.store = frame_stride, max_depth_m, store

    def check(self, kind: Kind) -> None:
        """Raises ``UsageError`` for what was said of another kind of input: it would have no effect."""
        changed = {
            "--units": self.units != "auto",
            "--up": self.up != "auto",
            "--depth-units-per-m": self.depth_units is not None,
            "--frame-stride": self.frame_stride != 1,
            "--max-depth-m": self.max_depth_m != MAX_DEPTH_M,
        }
        idle = [option for option, said in changed.items() if said and option not in TAKES[kind]]
        if idle:
            takes = f"expected {', '.join(TAKES[kind]) or 'none of them'}"
            raise UsageError(f"got {', '.join(idle)} for {kind}, {takes}: leave out what has no effect")
        if kind == "a recording" and self.up not in ("auto", "+z", "+y", "-y"):
            raise UsageError(f"--up {self.up}: of a recording's poses expected auto, +z, +y or -y")


def kind_of(given: str) -> Kind:
    """By what is there under that name."""
    path = Path(given).expanduser()
    if path.is_dir():
        return "a recording"
    if path.suffix == ROOM_FILE:
        return "a published room"
    return "a mesh or a cloud" if path.suffix or path.is_file() or "/" in given else "a room of a store"


def open_input(given: str, choices: Choices, grid: Grid, progress: Progress) -> PredictInput:
    """Raises ``UserError``."""
    from roomseg.stages.predicting.inputs import open_published, open_recording, open_room, open_scan_file

    path, kind = Path(given).expanduser(), kind_of(given)
    if kind == "a recording":
        how: dict[str, Any] = {"frame_stride": choices.frame_stride, "max_depth_m": choices.max_depth_m}
        return open_recording(path, cast(Any, choices.up), choices.depth_units, **how, grid=grid, progress=progress)
    if kind == "a published room":
        return _checked(open_published(path), grid)
    if kind == "a mesh or a cloud":
        units = None if choices.units == "auto" else choices.units
        return open_scan_file(path, units, None if choices.up == "auto" else choices.up, grid, 0, progress)
    return _checked(open_room(_stored_room(given, choices.store)), grid)


def _checked(room: PredictInput, grid: Grid) -> PredictInput:
    if room.voxel_m != grid.voxel_m:
        raise UserError(f"room {room.name} has voxels of {room.voxel_m:g} m, the model takes {grid.voxel_m:g} m")
    return room


def _stored_room(room_id: str, store: str) -> Any:
    from roomseg.data.dataset import find_room
    from roomseg.runtime.artifacts import open_render

    try:
        return find_room(open_render(store), room_id).load()
    except UserError as error:
        raise UserError(f"{room_id} is no file or folder here, and no room of {store} either: {error}") from None


def facts_of(scan: PredictInput) -> list[str]:
    """Lines that say what was found out about the input, and how to say it otherwise."""
    size = " x ".join(f"{n * scan.voxel_m:.1f}" for n in scan.tsdf.shape)
    surface = scan.surface
    faces = "" if surface.is_cloud else f", {len(surface.faces):,} faces"
    lines = [f"input   {scan.name}, {scan.kind}, {len(surface.points):,} points{faces}"]
    lines += [f"{name:<7} {value}" if len(name) < 8 else f"{name} {value}" for name, value in scan.facts]
    lines += [f"volume  {size} m in voxels of {scan.voxel_m * 100:g} cm"]
    return lines + [f"warning {text}" for text in scan.warnings]


def print_summary(summary: dict[str, Any], out: Path, console: Console) -> None:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("class")
    for title in ("m2", "share", "points"):
        table.add_column(title, justify="right")
    for each in summary["classes"]:
        name = f"[{each['color']}]\u2588\u2588[/] {escape(each['name'])}"
        table.add_row(name, f"{each['area_m2']:.1f}", f"{each['share']:.1%}", f"{each['points']:,}")
    console.print(table)
    confidence = summary["mean_confidence"]
    known = "" if confidence is None else f", mean confidence {confidence:.0%}"
    console.print(
        f"{summary['area_m2']:.1f} m2 of surface{known}, {summary['unlabelled_points']:,} points without a label, "
        f"{summary['seconds']['total']:.0f} s",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"look    {out / 'view.html'}", highlight=False, soft_wrap=True)
    files = ", ".join(("labeled.ply", "labels.npz", "summary.json"))
    console.print(f"files   {files} in {out}", highlight=False, soft_wrap=True)
