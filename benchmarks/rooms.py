"""What rooms cost from mesh to shard: frames, fusion, whole rooms and their bytes, each beside a peer in the same run.

python benchmarks/rooms.py [--quick] [--json FILE]

Frames and fusion: 640 x 480, 6 x 5 x 3 m, 4 cm; both sides have one core, for rooms are made in one process a core, and
what they compute is compared before it is timed. Whole rooms: generated and furnished, at the settings of the profile
``paper``, on all cores, from the source to the shard.
Open3D is optional (`pip install roomseg[bench]`).
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from room_peers import (
    TRUNCATION,
    VOXEL_M,
    NumpyVolume,
    Views,
    open3d,
    open3d_fusion,
    open3d_renderer,
    synthetic_views,
)
from store import room_rows
from table import Row, interleaved_medians, parse_arguments, print_table, write_json

from roomseg.config import RenderConfig, override
from roomseg.data.shards import PackedRoom, write_shard
from roomseg.geometry.bricks import dense
from roomseg.geometry.raster import Frame, pack_mesh, render_frame
from roomseg.geometry.tsdf import TsdfVolume, empty_volume, integrate
from roomseg.profiles import profile
from roomseg.stages.rendering.workers import Outcome, Workers, work
from roomseg.stages.sources import open_source

MARGIN, CLASSES = 5, 30
PAPER_ROOMS, PAPER_V100_HOURS = 5917, 120 * 48  # section 5: 120 V100 for 48 hours
NO_OPEN3D = "skipped, Open3D is not installed: pip install 'roomseg[bench]'"
EDGE_M = 0.05  # pixels whose neighbours differ so much in depth are not compared


@contextmanager
def on_one_core() -> Iterator[None]:
    """Whatever threads a library starts meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    yield
    os.sched_setaffinity(0, before)


# Frames


def inner_pixels(frame: Frame) -> np.ndarray:  # (H, W) bool
    """Pixels whose 3 x 3 neighbours have their label and, to 5 cm, their depth; those at the border are left out."""
    inner = np.zeros(frame.label.shape, bool)
    inner[1:-1, 1:-1] = True
    for row in (-1, 0, 1):
        for col in (-1, 0, 1):
            label, depth = (np.roll(plane, (row, col), (0, 1)) for plane in (frame.label, frame.depth))
            inner &= (label == frame.label) & (np.abs(depth - frame.depth) < EDGE_M)
    return inner


class Agreement(NamedTuple):
    inner: float  # share of all pixels that are compared
    label: float  # share of these with equal labels
    depth: float  # share of these with depths within 1 mm


def agreement(frames: list[Frame], peers: list[Frame]) -> Agreement:
    inner = np.stack([inner_pixels(frame) for frame in peers])
    label = np.stack([ours.label == peer.label for ours, peer in zip(frames, peers, strict=True)])[inner]
    depth = np.stack([np.abs(ours.depth - peer.depth) < 1e-3 for ours, peer in zip(frames, peers, strict=True)])[inner]
    return Agreement(float(inner.mean()), float(label.mean()), float(depth.mean()))


def frame_rows(o3d: Any, views: Views, repeats: int) -> list[Row]:
    packed, n = pack_mesh(views.mesh), len(views.poses)
    render = open3d_renderer(o3d, views.mesh, views.camera)
    same = agreement(views.frames, [render(pose, False) for pose in views.poses])
    assert same.label > 0.9999, same
    assert same.depth > 0.999, same

    def ours() -> None:
        for pose in views.poses:
            render_frame(packed, views.camera, pose)

    def peer(with_colour: bool) -> Callable[[], None]:
        return lambda: [render(pose, with_colour) for pose in views.poses] and None

    whole, theirs = interleaved_medians(ours, peer(True), repeats)
    _, no_colour = interleaved_medians(ours, peer(False), repeats)
    name = "Open3D RaycastingScene, depth + label"
    return [
        Row("frame_vs_open3d", 1e3 * whole / n, "ms", f"{name} + nearest texel", theirs / whole),
        Row("frame_vs_open3d_no_colour", 1e3 * whole / n, "ms", f"{name}, no colour", no_colour / whole),
        Row("frame_compared", 100 * same.inner, "% of pixels", "away from edges of label and depth"),
        Row("frame_same_label", 100 * same.label, "% of these", name),
        Row("frame_depth_within_1mm", 100 * same.depth, "% of these", name),
    ]


# Fusion


def volume_of(views: Views) -> TsdfVolume:
    return empty_volume(*views.mesh.bounds, VOXEL_M, TRUNCATION, MARGIN, CLASSES)


def assert_equal_sums(volume: TsdfVolume, peer: NumpyVolume) -> None:
    free = volume.free.reshape(-1, 1).astype(np.float32)
    assert np.array_equal(dense(volume.weight + free, volume.shape), peer.weight)
    assert np.array_equal(dense(volume.color.swapaxes(1, 2), volume.shape), peer.color)
    for votes, expected in zip(volume.votes, peer.votes, strict=True):
        assert np.array_equal(dense(votes, volume.shape), expected)
    assert np.abs(dense(volume.distance + free, volume.shape) - peer.distance).max() < 1e-4


def fusion_rows(o3d: Any, views: Views, repeats: int, numpy_frames: int) -> list[Row]:
    n = len(views.poses)
    volume, plain = volume_of(views), NumpyVolume(volume_of(views))

    def ours(frames: int) -> None:
        for frame, pose in zip(views.frames[:frames], views.poses, strict=False):
            integrate(volume, frame, views.camera, pose)

    def numpy_peer() -> None:
        for frame, pose in zip(views.frames[:numpy_frames], views.poses, strict=False):
            plain.integrate(frame, views.camera, pose)

    ours(numpy_frames), numpy_peer()
    assert_equal_sums(volume, plain)
    mine, theirs = interleaved_medians(lambda: ours(numpy_frames), numpy_peer, repeats)
    rows = [Row("fusion_vs_numpy", 1e3 * mine / numpy_frames, "ms", "numpy, whole volume", theirs / mine)]
    if o3d is not None:
        add = open3d_fusion(o3d, views)
        mine, theirs = interleaved_medians(lambda: ours(n), lambda: [add(i) for i in range(n)] and None, repeats)
        peer = "Open3D VoxelBlockGrid, no labels"
        rows.append(Row("fusion_vs_voxelblockgrid", 1e3 * mine / n, "ms", peer, theirs / mine))
    return rows


# Whole rooms


def paper_config(rooms: int, *changes: str) -> RenderConfig:
    """The profile ``paper`` with rooms of 5 to 6 m."""
    counts = [f"render.train_rooms={rooms}", "render.val_rooms=0", "render.test_rooms=0"]
    return override(profile("paper"), ["render.room_size_m=[5,6]", *counts, *changes]).render


@dataclass(frozen=True)
class Timed(Outcome):
    cpu_s: float = 0.0


def timed(*arguments: Any) -> Timed:
    start = time.process_time()
    outcome = work(*arguments)
    return Timed(outcome.room, outcome.bug, time.process_time() - start)


class RoomCost(NamedTuple):
    wall_s: float  # a room, with so many processes side by side
    cpu_s: float  # a room, of one process
    voxels: float


def room_cost(config: RenderConfig, processes: int, folder: Path) -> RoomCost:
    """From the source of rooms to the shard, as the stage ``render`` does it.

    Every process makes a room before the clock starts: compiling, and opening the furniture, are not counted.
    """
    keys = open_source(config).plan()[0]
    packed, cpu_s = [], []
    with Workers(partial(timed, open_source, config), processes) as workers:
        list(workers.in_order(keys[:processes]))
        start = time.perf_counter()
        for outcome in workers.in_order(keys[processes:]):
            if not isinstance(outcome.room, PackedRoom):
                raise SystemExit(f"a room failed: {outcome}")
            packed.append(outcome.room)
            cpu_s.append(outcome.cpu_s)
        write_shard(packed, folder / "rooms.parquet")
        wall_s = time.perf_counter() - start
    return RoomCost(
        wall_s / len(packed), float(np.mean(cpu_s)), float(np.mean([np.prod(room.row["shape"]) for room in packed]))
    )


def cost_rows(cost: RoomCost, processes: int) -> list[Row]:
    """The seconds of a room, and what the paper's data set would cost with them beside what it cost the paper."""
    hours, core_hours = PAPER_ROOMS * cost.wall_s / 3600, PAPER_ROOMS * cost.cpu_s / 3600
    gpu = f"paper: {PAPER_V100_HOURS:,} V100-hours for {PAPER_ROOMS:,} rooms"
    paper_seconds = 3600 * PAPER_V100_HOURS / PAPER_ROOMS
    return [
        Row("room_seconds", cost.wall_s, f"s, {processes} cores"),
        Row("room_core_seconds", cost.cpu_s, "s of a core", f"paper: {paper_seconds:,.0f} V100-seconds a room",
            paper_seconds / cost.cpu_s),
        Row("room_million_voxels", cost.voxels / 1e6, "million"),
        Row("paper_rooms_hours", hours, f"h, {processes} cores", "paper: 48 h on 120 V100", 48 / hours),
        Row("paper_rooms_core_hours", core_hours, "core-hours", gpu, PAPER_V100_HOURS / core_hours),
    ]  # fmt: skip


# All of it


def single_rows(quick: bool) -> list[Row]:
    """Frames and fusion."""
    o3d, rows = open3d(), []
    views = synthetic_views(8, 640, (112, 50))
    if o3d is None:
        print(f"frame_vs_open3d, fusion_vs_voxelblockgrid: {NO_OPEN3D}", file=sys.stderr)
    else:
        rows += frame_rows(o3d, views, 3 if quick else 9)
    return rows + fusion_rows(o3d, views, 3 if quick else 9, numpy_frames=2 if quick else 8)


def measure(quick: bool, folder: Path) -> list[Row]:
    with on_one_core():
        rows = single_rows(quick)
    processes = len(os.sched_getaffinity(0))
    rooms = processes if quick else 4 * processes
    rows += cost_rows(room_cost(paper_config(processes + rooms), processes, folder), processes)
    return rows + [row for row in room_rows(folder, 1 if quick else 4) if row.name.startswith("room_")]


def main() -> None:
    arguments = parse_arguments(__doc__)
    with tempfile.TemporaryDirectory() as temporary:
        rows = measure(arguments.quick, Path(temporary))
    malloc = {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")}
    print("\nframes and fusion: one core, medians of calls in turns; rooms: all cores; ratio = how many times better")
    print(f"malloc settings: {malloc or 'none'}\n")
    print_table(rows)
    if arguments.json:
        write_json(rows, arguments.json)


if __name__ == "__main__":
    main()
