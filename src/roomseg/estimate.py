"""What a run will take, worked out from ``MEASURED``: hours, GPU-hours, core-hours, storage and requests of each stage.

Nothing here has run on a GPU. What was not measured is said to be so, and not guessed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from roomseg.capacity import shortages
from roomseg.cluster import ClusterConfig, quantity
from roomseg.comparisons import comparisons
from roomseg.config import DistillConfig, PipelineConfig, PretrainConfig, RenderConfig, TeacherConfig
from roomseg.measured import (
    BLOCK_VOXELS,
    CORES,
    DISTILL_ROOM_M,
    FRAMES,
    MEASURED,
    PANORAMA_HEIGHT,
    PAPERS_OWN,
    PIXELS,
)
from roomseg.profiles import demo, paper

_REQUESTS_PER_SHARD = 4  # the shard, its summary, and a note for each that it is there
_REQUESTS_FIXED = 4  # index, audit, what was turned away, manifest
_ROOM_HEIGHT_M = 2.6
_SCALED = ("train_rooms", "val_rooms", "test_rooms", "rooms_per_shard", "furniture_dir", "workers",
           "max_quarantined_share", "frames_per_room", "frame_width", "frame_height", "depth_noise",
           "panoramas_per_room", "panorama_height")  # fmt: skip
"""Of render: what a room costs as much with, or what its cost is worked out for. With other values of all else the
figures of ``MEASURED`` are of other rooms."""


class Work(NamedTuple):
    """None: not measured."""

    core_s: float | None
    extrapolated: float  # share of it; 0: at the settings of the measurement
    basis: str


@dataclass(frozen=True)
class Cost:
    """None: not measured."""

    stage: str
    hours: float | None
    gpu_hours: float | None
    core_hours: float | None  # on CPUs alone
    gigabytes: float | None
    requests: int | None
    extrapolated: float | None  # share of the hours, or where they are not known of the core-hours
    basis: str


def estimate(config: PipelineConfig, cluster: ClusterConfig) -> list[Cost]:
    works = {stage: _as_demo(stage, config) for stage in ("teacher", "pretrain", "distill", "evaluate", "register")}
    worked_out = {
        "teacher": teacher_work(config.teacher, config.render),
        "pretrain": pretrain_work(config.pretrain, config.render),
        "distill": distill_work(config.distill, config.pretrain, config.render),
        "evaluate": evaluate_work(config),
        "register": register_work(config.pretrain),
    }
    costs = {stage: _cost(stage, stage, works[stage] or worked_out[stage], cluster) for stage in works}
    compared = [
        _cost(each.task, each.stage, _compared_work(section, config), cluster)
        for each, section in comparisons(config).items()
    ]
    trainings = [costs.pop(stage) for stage in ("teacher", "pretrain", "distill")]
    return [render_cost(config, cluster), *trainings, *compared, *costs.values()]


def render_cost(config: PipelineConfig, cluster: ClusterConfig) -> Cost:
    """Rooms are taken to share the cores evenly."""
    render, fan_out = config.render, cluster.render
    rooms, task = sum(render.rooms.values()), "render_part" if fan_out.shards > 1 else "render"
    cores = min(fan_out.shards, fan_out.parallelism) * quantity(cluster.pod(task).cpu)
    core_s, extrapolated, basis = _as_demo("render", config) or render_work(render)
    assert core_s is not None
    return Cost(
        stage="render",
        hours=core_s / 3600 / cores,
        gpu_hours=0.0,
        core_hours=core_s / 3600,
        gigabytes=stored_gigabytes(render),
        requests=-(-rooms // render.rooms_per_shard) * _REQUESTS_PER_SHARD + _REQUESTS_FIXED,
        extrapolated=extrapolated if cores <= CORES else 1.0,
        basis=f"{basis}, on {cores:g} cores that share evenly",
    )


def render_work(render: RenderConfig) -> Work:
    """Frames and panoramas are taken to cost in proportion to their pixels."""
    frames = render.frames_per_room * render.frame_width * render.frame_height / (FRAMES * PIXELS)
    panoramas = render.panoramas_per_room * (render.panorama_height / PANORAMA_HEIGHT) ** 2
    noisy = render.depth_noise != "none" and render.source in ("generated", "front3d")
    parts = [
        ((MEASURED["room"].value - MEASURED["panorama"].value) * frames, frames != 1),
        (MEASURED["noise"].value * frames * noisy, frames != 1),
        (MEASURED["panorama"].value * panoramas, render.panorama_height != PANORAMA_HEIGHT),
    ]
    a_room = sum(core_s for core_s, _ in parts)
    like = paper().render
    other = [name for name in RenderConfig.model_fields if getattr(render, name) != getattr(like, name)]
    other = [name for name in other if name not in _SCALED]
    extrapolated = 1.0 if other else sum(core_s for core_s, guess in parts if guess) / a_room
    basis = f"{a_room:.3g} core-seconds a room" + (f", which does not reckon with other {other[0]}" if other else "")
    return Work(sum(render.rooms.values()) * a_room, extrapolated, basis)


def teacher_work(teacher: TeacherConfig, render: RenderConfig) -> Work:
    """Steps are taken to cost in proportion to their pixels; only the demo's backbone was measured."""
    then = demo()
    same = ("backbone", "decoder", "patch", "crop", "precision")
    if any(getattr(teacher, name) != getattr(then.teacher, name) for name in same):
        return Work(None, 1.0, f"not measured with the backbone {teacher.backbone}")
    share = _panorama_pixels(teacher, render) / _panorama_pixels(then.teacher, then.render)
    return Work(_demo_core_s("teacher") * share, 1.0, f"the demo's x {share:.3g} by pixels of panoramas")


def pretrain_work(pretrain: PretrainConfig, render: RenderConfig) -> Work:
    """Steps by their blocks' voxels, validations by their rooms'."""
    if pretrain.network != "T":
        return Work(None, 1.0, f"not measured: a training step of {pretrain.network}")
    blocks = render.train_rooms * blocks_of(render, pretrain.block_voxels) * pretrain.epochs
    steps = blocks * pretrain.block_voxels**3 / BLOCK_VOXELS * MEASURED["block_step"].value
    validations = pretrain.epochs // pretrain.validate_every_epochs
    core_s = steps + validations * _labelling_s(render, render.val_rooms)
    return Work(core_s, 1.0, f"{blocks:,.0f} blocks of {pretrain.block_voxels}^3 by voxels, {validations} validations")


def distill_work(distill: DistillConfig, pretrain: PretrainConfig, render: RenderConfig) -> Work:
    """Iterations and validations by their rooms' voxels; the teacher's own answers, once a room, are left out."""
    if pretrain.network != "T":
        return Work(None, 1.0, f"not measured: an iteration of {pretrain.network}")
    alone = not distill.weight and not distill.feature_weight
    step = MEASURED["finetune_step" if alone else "distill_step"].value
    rooms = distill.iterations * distill.accumulate
    size = room_voxels(render) / _voxels(DISTILL_ROOM_M, 0.04, 5)
    validations = distill.iterations // distill.validate_every
    core_s = rooms * size * step + validations * _labelling_s(render, render.val_rooms)
    return Work(core_s, 1.0, f"{rooms:,} rooms by voxels, {validations} validations, without the teacher's answers")


def evaluate_work(config: PipelineConfig) -> Work:
    """In proportion to the rooms' voxels."""
    then = demo()
    if config.teacher.backbone != then.teacher.backbone or config.pretrain.network != then.pretrain.network:
        names = f"{config.teacher.backbone} and {config.pretrain.network}"
        return Work(None, 1.0, f"not measured with the networks {names}")
    if comparisons(config) or config.evaluate.average_symmetries:
        return Work(None, 1.0, "not measured with baselines, ablations or symmetries")
    share = config.render.test_rooms * room_voxels(config.render)
    share /= then.render.test_rooms * room_voxels(then.render)
    return Work(_demo_core_s("evaluate") * share, 1.0, f"the demo's x {share:.3g} by voxels of rooms")


def register_work(pretrain: PretrainConfig) -> Work:
    """It moves the network's files, whatever they were trained with."""
    if pretrain.network != demo().pretrain.network:
        return Work(None, 1.0, f"not measured with the network {pretrain.network}")
    return Work(_demo_core_s("register"), 1.0, "as the demo's, whose network is of the same size")


def blocks_of(render: RenderConfig, block: int) -> float:
    """Of a room, on average, where its sides are spread evenly between the shortest and the longest."""
    low, high = (_side(side, render.voxel_m, render.margin_voxels) / block for side in render.room_size_m)
    counts = range(math.ceil(high))  # one block more where the side is longer than so many
    along = math.ceil(high) if low == high else sum(min(max((high - n) / (high - low), 0.0), 1.0) for n in counts)
    return along**2 * math.ceil(_side(_ROOM_HEIGHT_M, render.voxel_m, render.margin_voxels) / block)


def room_voxels(render: RenderConfig) -> float:
    """Of a room whose sides are midway between the shortest and the longest."""
    side = sum(render.room_size_m) / 2
    return _voxels((side, side, _ROOM_HEIGHT_M), render.voxel_m, render.margin_voxels)


def stored_gigabytes(render: RenderConfig) -> float:
    """Rooms with one panorama, each voxel at the measured size; generated rooms by their area, too."""
    finer = (paper().render.voxel_m / render.voxel_m) ** 3
    area = (sum(render.room_size_m) / sum(paper().render.room_size_m)) ** 2 if render.source == "generated" else 1.0
    return sum(render.rooms.values()) * MEASURED["room_mb"].value * finer * area / 1000


def _as_demo(stage: str, config: PipelineConfig) -> Work | None:
    """What was measured of the demo, where the stage and all before it have the demo's settings."""
    before = {
        "render": ("render",),
        "teacher": ("render", "teacher"),
        "pretrain": ("render", "pretrain"),
        "distill": ("render", "teacher", "pretrain", "distill"),
        "evaluate": ("render", "teacher", "pretrain", "distill", "evaluate"),
        "register": ("render", "pretrain", "register"),
    }
    then = demo()
    if any(config.section(name) != then.section(name) for name in before[stage]):
        return None
    return Work(_demo_core_s(stage), 0.0, f"the demo: {MEASURED[f'demo_{stage}'].value:g} s on {CORES} cores")


def _demo_worked_out() -> dict[str, float]:
    """Seconds: how good a guess the others are."""
    then = demo()
    works = {
        "pretrain": pretrain_work(then.pretrain, then.render),
        "distill": distill_work(then.distill, then.pretrain, then.render),
    }
    return {stage: work.core_s / CORES for stage, work in works.items() if work.core_s is not None}


def _compared_work(section: object, config: PipelineConfig) -> Work:
    if isinstance(section, PretrainConfig):
        return pretrain_work(section, config.render)
    assert isinstance(section, DistillConfig)
    return distill_work(section, config.pretrain, config.render)


def _cost(task: str, stage: str, work: Work, cluster: ClusterConfig) -> Cost:
    """A pod with GPUs is taken to use them: its hours are not known."""
    pod = cluster.pod(stage)
    cores = quantity(pod.cpu) * pod.nodes
    core_hours = None if work.core_s is None else work.core_s / 3600
    if core_hours is None:
        return Cost(task, None, None if pod.gpus else 0.0, None, None, None, None, work.basis)
    hours = None if pod.gpus else core_hours / cores
    extrapolated = 1.0 if hours is not None and cores != CORES else work.extrapolated
    return Cost(task, hours, None if pod.gpus else 0.0, core_hours, None, None, extrapolated, work.basis)


def _demo_core_s(stage: str) -> float:
    return MEASURED[f"demo_{stage}"].value * CORES


def _panorama_pixels(teacher: TeacherConfig, render: RenderConfig) -> float:
    return render.train_rooms * render.panoramas_per_room * 2 * render.panorama_height**2 * teacher.epochs


def _labelling_s(render: RenderConfig, rooms: int) -> float:
    return rooms * room_voxels(render) / BLOCK_VOXELS * MEASURED["block_classes"].value


def _voxels(size_m: Sequence[float], voxel_m: float, margin: int) -> float:
    return math.prod(_side(side, voxel_m, margin) for side in size_m)


def _side(length_m: float, voxel_m: float, margin: int) -> float:
    return length_m / voxel_m + 2 * margin


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
    return found + shortages(config, cluster)


def describe(config: PipelineConfig, cluster: ClusterConfig) -> str:
    """The table, what it rests on, and the warnings."""
    rows = [("stage", "hours", "GPU-hours", "core-hours", "storage GB", "requests", "extrapolated", "from")]
    for cost in estimate(config, cluster):
        share = "-" if cost.extrapolated is None else f"{100 * cost.extrapolated:.0f} %"
        requests = "?" if cost.requests is None else f"{cost.requests:,}"
        hours, gpu, cores, gb = map(_figure, (cost.hours, cost.gpu_hours, cost.core_hours, cost.gigabytes))
        rows.append((cost.stage, hours, gpu, cores, gb, requests, share, cost.basis))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += [
        "",
        "? = not measured; nothing has run on a GPU. core-hours: on CPUs alone. Storage: rooms with one panorama each.",
        "Measured:",
    ]
    lines += [f"  {m.value:g} {m.unit}: {m.machine}, {m.date}, {m.command}" for m in MEASURED.values()]
    lines += ["The demo as other settings are worked out, which leaves out reading, starting and what ran beside it:"]
    lines += [f"  {stage}: {worked_out:.0f} s on {CORES} cores" for stage, worked_out in _demo_worked_out().items()]
    lines += ["The paper's own figures, on other code:", *(f"  {text}" for text in PAPERS_OWN)]
    return "\n".join([*lines, *(f"warning: {text}" for text in warnings(config, cluster))])


def _figure(value: float | None) -> str:
    return "?" if value is None else f"{value:.2f}"
