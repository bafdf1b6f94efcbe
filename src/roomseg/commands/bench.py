"""``roomseg bench``: the paper's complexity table, measured here."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from roomseg.commands.output_files import check_file
from roomseg.config import NetworkName, RenderConfig, override
from roomseg.errors import UsageError
from roomseg.figures import Row, rows_as_json
from roomseg.profiles import profile as profile_of

if TYPE_CHECKING:
    from roomseg.data.rooms import Room

app = typer.Typer(no_args_is_help=True, help="Figures of this machine.")

PAPER_S = {"T": 43.62, "B": 44.79, "M": 61.08, "L": 95.89, "unet3d": 254.75}  # section 6, 20 rooms on the authors' CPU
PAPER_ROOMS = 20
NETWORKS = tuple(name for group in get_args(NetworkName) for name in get_args(group))
REFERENCE = "unet3d"
QUICK = ("render.room_size_m=[2.2,2.6]", "render.frame_width=64", "render.frame_height=48")


@dataclass(frozen=True)
class Cost:
    network: str
    parameters: int
    seconds: float  # for all rooms
    paper_s: float | None  # for its 20 rooms, on its machine


@app.callback()
def _bench() -> None:
    pass


@app.command()
def complexity(
    store: Annotated[str, typer.Option(help="Rooms of this store; without it, rooms are generated.")] = "",
    split: Annotated[str, typer.Option(help="Of the store's rooms.")] = "test",
    rooms: Annotated[int, typer.Option(min=1, help="How many.")] = PAPER_ROOMS,
    networks: Annotated[str, typer.Option(help="Comma-separated, in order.")] = ",".join(NETWORKS),
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="render.KEY=VALUE", help="Of the rooms that are generated.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One small room: ends within a minute.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Also as JSON.")] = None,
) -> None:
    """Seconds that each network takes for the same rooms on the CPU (the paper, section 6: 20 rooms), labels out.

    Weights are the initial ones: they do not change the time. The paper's seconds are of another machine and other
    rooms; compare ratios, not seconds.
    """
    names = chosen_networks(networks)
    if quick and store:
        raise UsageError("--quick is for a small room that is generated: leave out --quick, or --store")
    if json_file:
        check_file(json_file, "--json")
    if quick:
        rooms, settings = 1, [*QUICK, *(settings or [])]
    chosen = _of_store(store, split, rooms) if store else generated_rooms(rooms, settings or [])
    voxels = sum(room.tsdf.size for room in chosen) / 1e6
    typer.echo(f"{len(chosen)} rooms, {voxels:.1f} million voxels in all")
    costs = [measure(name, chosen) for name in names]
    typer.echo("\n".join(table(costs)))
    if json_file:
        _write(json_file, rows_as_json(rows_of(costs, len(chosen))))


def chosen_networks(text: str) -> list[NetworkName]:
    """Raises ``UsageError`` for a name that is none."""
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in NETWORKS]
    if unknown:
        raise UsageError(f"--networks: {unknown[0]!r} is unknown; there are {', '.join(NETWORKS)}")
    return names  # type: ignore[return-value]


def generated_rooms(count: int, settings: Sequence[str]) -> list[Room]:
    """The first test rooms of the paper's profile, seen by enough frames to close their surfaces, without panoramas."""
    from roomseg.stages.rendering.rooms import make_room
    from roomseg.stages.sources import open_source

    few = [f"render.test_rooms={count}", "render.train_rooms=0", "render.val_rooms=0", "render.frames_per_room=60"]
    config = override(profile_of("paper"), [*few, "render.panorama_height=32", *settings]).render
    assert isinstance(config, RenderConfig)
    source = open_source(config)
    keys, _ = source.plan()
    return [make_room(config, source.load(key), key) for key in keys[:count]]


def _of_store(store: str, split: str, count: int) -> list[Room]:
    from roomseg.data.dataset import open_rooms
    from roomseg.runtime.artifacts import open_render
    from roomseg.splits import SPLITS

    if split not in SPLITS:
        raise UsageError(f"--split {split}: expected {', '.join(SPLITS)}")
    return list(islice(open_rooms(open_render(store), split), count))


def measure(name: NetworkName, rooms: Iterable[Room]) -> Cost:
    """One pass over all rooms, after one room to compile kernels."""
    from roomseg.labels import label_set
    from roomseg.models.networks import build_network
    from roomseg.stages.networks import predict_room

    rooms = list(rooms)
    model = build_network(name, len(label_set(rooms[0].labels))).eval()
    predict_room(model, min(rooms, key=lambda room: room.tsdf.size))
    started = time.perf_counter()
    for room in rooms:
        predict_room(model, room)
    seconds = time.perf_counter() - started
    parameters = sum(p.numel() for p in model.parameters())
    return Cost(name, parameters, seconds, PAPER_S.get(name))


def _write(path: Path, text: str) -> None:
    from roomseg.runtime.storage import local_errors, whole_file

    with local_errors("write", path, "--json"), whole_file(path) as file:
        file.write(text.encode())


def rows_of(costs: Sequence[Cost], rooms: int) -> list[Row]:
    """In the form of all benchmarks. Speeds have a ratio to the paper's; seconds have none: its rooms are others."""
    reference = next((cost for cost in costs if cost.network == REFERENCE), None)
    rows = []
    for cost in costs:
        paper = f"paper, its machine and {PAPER_ROOMS} rooms: {cost.paper_s} s" if cost.paper_s else ""
        rows.append(Row(f"{cost.network}_parameters", cost.parameters, "parameters"))
        rows.append(Row(f"{cost.network}_seconds", cost.seconds, f"s, {rooms} rooms", paper))
        if reference and cost is not reference:
            rows.append(_speed(cost, reference))
    return rows


def _speed(cost: Cost, reference: Cost) -> Row:
    """How many times as fast as the reference, here and in the paper."""
    name, ours = f"{cost.network}_speed_vs_{REFERENCE}", reference.seconds / cost.seconds
    if cost.paper_s is None:
        return Row(name, ours, "times")
    theirs = PAPER_S[REFERENCE] / cost.paper_s
    return Row(name, ours, "times", f"paper: {theirs:.1f} times", ours / theirs)


def table(costs: Sequence[Cost]) -> list[str]:
    reference = next((cost for cost in costs if cost.network == REFERENCE), None)
    lines = [f"{'network':<20}{'parameters':>12}{'seconds':>10}{'unet3d /':>10}{'paper, s':>10}{'unet3d /':>10}"]
    for cost in costs:
        ours = f"{reference.seconds / cost.seconds:.1f}" if reference else "-"
        theirs = f"{PAPER_S[REFERENCE] / cost.paper_s:.1f}" if cost.paper_s else "-"
        paper = f"{cost.paper_s:.2f}" if cost.paper_s else "-"
        seconds = f"{cost.seconds:.2f}"
        lines.append(f"{cost.network:<20}{cost.parameters:>12,}{seconds:>10}{ours:>10}{paper:>10}{theirs:>10}")
    return lines
