"""What a run will take, worked out from ``MEASURED``: hours, GPU-hours, storage and requests of each stage.

Nothing here has run on a GPU. What was not measured is said to be so, and not guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

from roomseg.cluster import ClusterConfig, quantity
from roomseg.comparisons import comparisons
from roomseg.config import PipelineConfig, RenderConfig

_REQUESTS_PER_SHARD = 4  # the shard, its summary, and a note for each that it is there
_REQUESTS_FIXED = 4  # index, audit, what was turned away, manifest


@dataclass(frozen=True)
class Measured:
    value: float
    unit: str
    machine: str
    date: str
    command: str


_MACHINE = "2 cores of an AMD EPYC virtual machine"
MEASURED = {
    "room": Measured(4.5, "core-seconds a room of 424 frames", _MACHINE, "2026-11-24", "python benchmarks/rooms.py"),
    "room_mb": Measured(1.16, "MB a room", _MACHINE, "2026-11-24", "python benchmarks/store.py --only rooms"),
}
MEASURED_CORES = 2
MEASURED_FRAMES, MEASURED_PIXELS, MEASURED_VOXEL_M = 424, 640 * 480, 0.04


@dataclass(frozen=True)
class Cost:
    """None: not measured."""

    stage: str
    hours: float | None
    gpu_hours: float | None
    gigabytes: float | None
    requests: int | None
    extrapolated: float | None  # share of the hours; 0: at the settings and on the kind of machine of the measurement
    basis: str


def estimate(config: PipelineConfig, cluster: ClusterConfig) -> list[Cost]:
    return [
        render_cost(config.render, cluster),
        *(training_cost(stage, stage) for stage in ("teacher", "pretrain", "distill")),
        *(training_cost(each.task, each.stage) for each in comparisons(config)),
    ]


def render_cost(render: RenderConfig, cluster: ClusterConfig) -> Cost:
    """Frames are taken to cost in proportion to their pixels, rooms to share the cores evenly."""
    rooms = sum(render.rooms.values())
    work = render.frames_per_room * render.frame_width * render.frame_height / (MEASURED_FRAMES * MEASURED_PIXELS)
    fan_out, task = cluster.render, "render_part" if cluster.render.shards > 1 else "render"
    pods = min(fan_out.shards, fan_out.parallelism)
    cores = pods * quantity(cluster.pod(task).cpu)
    same = render.source == "generated" and work == 1 and cores <= MEASURED_CORES and render.voxel_m == MEASURED_VOXEL_M
    return Cost(
        stage="render",
        hours=rooms * MEASURED["room"].value * work / 3600 / cores,
        gpu_hours=0.0,
        gigabytes=stored_gigabytes(render),
        requests=-(-rooms // render.rooms_per_shard) * _REQUESTS_PER_SHARD + _REQUESTS_FIXED,
        extrapolated=0.0 if same else 1.0,
        basis=f"{MEASURED['room'].value} core-seconds a room x {work:.2g}, on {cores:g} cores that share evenly",
    )


def training_cost(task: str, stage: str) -> Cost:
    return Cost(task, None, None, None, None, None, f"not measured: {stage} has not run on a GPU")


def stored_gigabytes(render: RenderConfig) -> float:
    """Rooms with their panoramas, each voxel at the measured size."""
    finer = (MEASURED_VOXEL_M / render.voxel_m) ** 3
    return sum(render.rooms.values()) * MEASURED["room_mb"].value * finer / 1000


def warnings(config: PipelineConfig, cluster: ClusterConfig) -> list[str]:
    """What of the cluster's file cannot hold the run."""
    found = []
    need = stored_gigabytes(config.render)
    for task in ("teacher", "pretrain", "distill", "evaluate"):
        pod = cluster.pod(task)
        if pod.cache_gb < need:
            holds = f"pods.{task}.scratch is {pod.scratch} and holds {pod.cache_gb:.1f} GB of the store"
            found.append(f"{holds}, the rooms are {need:.1f} GB: raise it")
    rooms, fan_out = sum(config.render.rooms.values()), cluster.render
    shards = -(-rooms // config.render.rooms_per_shard)
    if fan_out.shards > shards:
        found.append(f"render.shards is {fan_out.shards}, but there are {shards} shards of rooms: some pods are idle")
    if fan_out.parallelism > fan_out.shards:
        found.append(f"render.parallelism is {fan_out.parallelism}, above render.shards {fan_out.shards}: lower it")
    return found


def describe(config: PipelineConfig, cluster: ClusterConfig) -> str:
    """The table, what it rests on, and the warnings."""
    rows = [("stage", "hours", "GPU-hours", "storage GB", "requests", "extrapolated", "from")]
    for cost in estimate(config, cluster):
        share = "-" if cost.extrapolated is None else f"{100 * cost.extrapolated:.0f} %"
        requests = "?" if cost.requests is None else f"{cost.requests:,}"
        figures = (_figure(cost.hours), _figure(cost.gpu_hours), _figure(cost.gigabytes), requests, share)
        rows.append((cost.stage, *figures, cost.basis))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", "evaluate and register are not in it: not measured. ? = not measured.", "Measured:"]
    lines += [f"  {m.value} {m.unit}: {m.machine}, {m.date}, {m.command}" for m in MEASURED.values()]
    return "\n".join([*lines, *(f"warning: {text}" for text in warnings(config, cluster))])


def _figure(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"
