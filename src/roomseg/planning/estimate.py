"""What a run will take: hours, GPU-hours, core-hours, storage and requests of each stage, and all of it.

What rests on nothing that was measured or published is said to be so, and not guessed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from roomseg.cluster import TRAINING, ClusterConfig, FanOut, quantity
from roomseg.comparisons import comparisons, network_of
from roomseg.config import PipelineConfig, RenderConfig
from roomseg.figures import aligned
from roomseg.planning.capacity import shortages
from roomseg.planning.measured import (
    BACKBONES,
    CORES,
    FORWARD_TFLOP,
    MEASURED,
    NETWORKS,
    PAPER_PRETRAIN,
    PAPER_RENDER,
    STEPS_SOURCE,
    VIT_IMAGES_PER_S,
)
from roomseg.planning.sizes import rooms_gigabytes, shards
from roomseg.planning.teams import busy, unshared
from roomseg.planning.traffic import checkpoint_gigabytes, requests, stored_gigabytes
from roomseg.planning.work import Work, compared_work, demo_worked_out, stage_work

COLUMNS = ("stage", "hours", "GPU-hours", "core-hours", "storage GB", "requests", "extrapolated", "from")


@dataclass(frozen=True)
class Cost:
    """None: not known."""

    task: str
    stage: str
    network: str  # of 3D
    hours: float | None
    gpu_hours: float | None
    core_hours: float | None  # on CPUs alone
    gigabytes: float | None
    requests: int | None
    extrapolated: float | None  # share of the hours
    basis: str


def estimate(config: PipelineConfig, cluster: ClusterConfig) -> list[Cost]:
    network = config.pretrain.network
    costs = {
        stage: _cost(stage, stage, network, stage_work(stage, config), config, cluster)
        for stage in ("render", "teacher", "pretrain", "distill", "evaluate", "register")
    }
    compared = [
        _cost(each.task, each.stage, network_of(section, config), compared_work(section, config), config, cluster)
        for each, section in comparisons(config).items()
    ]
    last = [costs.pop("evaluate"), costs.pop("register")]
    return [*costs.values(), *compared, *last]


def total(costs: Sequence[Cost]) -> Cost:
    counts, hours = [cost.requests for cost in costs], [cost.core_hours or 0.0 for cost in costs]
    guessed = sum((cost.extrapolated or 0.0) * each for cost, each in zip(costs, hours, strict=True))
    return Cost(
        task="all",
        stage="all",
        network="-",
        hours=longest_way(costs),
        gpu_hours=_sum(cost.gpu_hours for cost in costs),
        core_hours=_sum(cost.core_hours for cost in costs),
        gigabytes=_sum(cost.gigabytes for cost in costs),
        requests=None if None in counts else sum(count or 0 for count in counts),
        extrapolated=guessed / sum(hours) if sum(hours) else 1.0,
        basis="hours: the longest way through, if no pod waits for a node",
    )


def longest_way(costs: Sequence[Cost]) -> float | None:
    """Hours from the first pod to the last, by the pipeline's arrows."""
    hours = {cost.task: cost.hours for cost in costs}
    if any(each is None for each in hours.values()):
        return None
    known = {task: each or 0.0 for task, each in hours.items()}
    compared = {cost.task: cost.stage for cost in costs if cost.task != cost.stage}
    distilled = max(known[task] for task in ("distill", *(t for t, stage in compared.items() if stage == "distill")))
    student = max(known["teacher"], known["pretrain"]) + distilled
    rivals = max((known[task] for task, stage in compared.items() if stage == "pretrain"), default=0.0)
    return known["render"] + max(student, rivals) + known["evaluate"] + known["register"]


def warnings(config: PipelineConfig, cluster: ClusterConfig) -> list[str]:
    """What of the cluster's file cannot hold the run."""
    found = []
    reads = dict.fromkeys(("teacher", "pretrain", "distill"), ("train", "val")) | {"evaluate": ("test",)}
    for task, splits in reads.items():
        pod, need = cluster.pod(task), rooms_gigabytes(config.render, *splits)
        if pod.cache_gb < need:
            holds = f"pods.{task}.scratch is {pod.scratch} and holds {pod.cache_gb:.1f} GB of the store"
            found.append(f"{holds}, its rooms are {need:.1f} GB: raise it")
    there, fan_out = shards(config.render), cluster.render
    if fan_out.shards > there:
        found.append(f"render.shards is {fan_out.shards}, but there are {there} shards of rooms: some pods are idle")
    if fan_out.parallelism > fan_out.shards:
        found.append(f"render.parallelism is {fan_out.parallelism}, above render.shards {fan_out.shards}: lower it")
    return [*found, *hindrances(config, cluster)]


def hindrances(config: PipelineConfig, cluster: ClusterConfig) -> list[str]:
    """What would fail, never start, wait for others or be idle."""
    return [*unshared(config, cluster), *shortages(config, cluster)]


def describe(config: PipelineConfig, cluster: ClusterConfig) -> str:
    """The table, what it rests on, and the warnings."""
    costs = estimate(config, cluster)
    rows = [COLUMNS, *(_row(cost) for cost in [*costs, total(costs)])]
    lines = [*aligned(rows), "", *_notes(config, costs), *_measured(), *_published()]
    lines += ["The demo as other settings are worked out, which leaves out reading, starting and what ran beside it:"]
    lines += [f"  {stage}: {seconds:.0f} s on {CORES} cores" for stage, seconds in demo_worked_out().items()]
    return "\n".join([*lines, *(f"warning: {text}" for text in warnings(config, cluster))])


def _cost(task: str, stage: str, network: str, work: Work, config: PipelineConfig, cluster: ClusterConfig) -> Cost:
    """Pods with GPUs use them as well as the published figures say, or where there are none not at all."""
    parts = cluster.render.shards if stage == "render" else 1
    pod = cluster.pod("render_part" if parts > 1 else stage)
    cores, at_once = quantity(pod.cpu) * pod.nodes, float(pod.nodes)
    if stage == "render":
        cores, at_once = _rendering(config.render, cluster.render, quantity(pod.cpu))
    core_hours = None if work.core_s is None else work.core_s / 3600
    hours = None if core_hours is None else core_hours / cores
    extrapolated = work.extrapolated if cores == CORES or (stage == "render" and cores < CORES) else 1.0
    if pod.gpus and work.gpu_s is not None:
        hours, extrapolated = work.gpu_s / 3600 / busy(stage, config, pod), 1.0
    return Cost(
        task,
        stage,
        network,
        hours,
        hours * pod.gpus * at_once if pod.gpus and hours is not None else (None if pod.gpus else 0.0),
        core_hours,
        stored_gigabytes(stage, config, network),
        requests(stage, config, network, hours, parts * pod.nodes),
        None if hours is None else extrapolated,
        work.basis,
    )


def _rendering(render: RenderConfig, fan_out: FanOut, cpus: float) -> tuple[float, float]:
    """Cores that render, and pods at a time, as means over all the time: the last pods may leave places empty."""
    parts = min(fan_out.shards, shards(render))
    at_once = parts / math.ceil(parts / fan_out.parallelism)
    return min(cpus, sum(render.rooms.values()) / parts) * at_once, at_once


def _row(cost: Cost) -> tuple[str, ...]:
    share = "-" if cost.extrapolated is None else f"{100 * cost.extrapolated:.0f} %"
    count = "?" if cost.requests is None else f"{cost.requests:,}"
    hours, gpu, cores, gigabytes = map(_figure, (cost.hours, cost.gpu_hours, cost.core_hours, cost.gigabytes))
    return cost.task, hours, gpu, cores, gigabytes, count, share, cost.basis


def _figure(value: float | None) -> str:
    if value is None:
        return "?"
    return "<0.01" if 0 < value < 0.005 else f"{value:.2f}"


def _notes(config: PipelineConfig, costs: Sequence[Cost]) -> list[str]:
    trained = [cost for cost in costs if cost.stage in TRAINING]
    sizes = {cost.task: checkpoint_gigabytes(cost.stage, config, cost.network) for cost in trained}
    told = ", ".join(f"{task} {_figure(size)} GB" for task, size in sizes.items())
    return [
        "?: not known. Nothing has run on a GPU: hours on GPUs are worked out from the published figures below, and",
        "GPU-hours are those that pods hold GPUs, busy or not. core-hours: on CPUs alone. Storage: what stays, rooms",
        "with one panorama each, without MLflow's own. While they train, checkpoints take more:",
        f"{told}. Requests of trainings: at most.",
    ]


def _measured() -> Iterator[str]:
    for machine, figures in groupby(MEASURED.values(), lambda figure: figure.machine):
        yield f"Measured on {machine}:"
        yield from (f"  {figure.value:g} {figure.unit} ({figure.date}, {figure.source})" for figure in figures)
    yield f"Core-seconds of networks, {STEPS_SOURCE}:"
    for what, known in (("a block of 128^3", NETWORKS), ("a panorama of 512 x 1024", BACKBONES)):
        steps = ", ".join(f"{name} {each.step_core_s:g}" for name, each in known.items())
        classes = ", ".join(f"{name} {each.classes_core_s:g}" for name, each in known.items())
        yield f"  a training step on {what}: {steps}"
        yield f"  the classes of {what}: {classes}"
    counted = ", ".join(f"{name} {value:g}" for name, value in FORWARD_TFLOP.items())
    yield f"Counted by torch, TFLOP of a block of 128^3, forward: {counted}"


def _published() -> Iterator[str]:
    yield "Published, on other code:"
    for figure in (PAPER_RENDER, PAPER_PRETRAIN, *VIT_IMAGES_PER_S.values()):
        yield f"  {figure.value:g} {figure.unit} on {figure.machine} ({figure.date}, {figure.source})"


def _sum(values: Iterable[float | None]) -> float | None:
    known = list(values)
    return None if None in known else sum(value or 0.0 for value in known)
