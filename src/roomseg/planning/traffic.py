"""What each stage leaves in the store, and how often it asks S3.

A model of what the code does; its constants are fitted to what a proxy counted of the demo, in
``tests/planning/test_traffic.py``. Checkpoints are removed at a stage's end, so they are told apart.
"""

from __future__ import annotations

import math

from roomseg.cluster import TRAINING
from roomseg.comparisons import comparisons, network_of
from roomseg.config import PipelineConfig
from roomseg.planning.measured import (
    BACKBONES,
    EVALUATION_FILES,
    MEASURED,
    MICRO_PARAMETERS,
    NETWORKS,
    PART_MB,
    RENEWAL_S,
    REQUESTS_A_FILE,
    REQUESTS_A_STAGE,
    SAVE_S,
)
from roomseg.planning.sizes import (
    panorama_share,
    room_voxels,
    rooms_gigabytes,
    shards,
    trained_with,
    validations,
    viewpoints,
)
from roomseg.profiles import demo

_BYTES = 4  # of a weight, and of each of the optimizer's figures for it
_KEPT = 2  # checkpoints
_NETWORK_FILES = 3  # weights, card and history; distill: the last weights and its views too
_DISTILLED_FILES = 5
_RENDER_FILES = 3  # index, audit, what was turned away
_MOMENTS = {"sgd": 1, "adam": 2, "adamw": 2}


def stored_gigabytes(stage: str, config: PipelineConfig, network: str) -> float | None:
    """What stays when the stage has ended; MLflow's own files are not counted. None: not known."""
    weights = _weights_mb(stage, config, network)
    match stage:
        case "render":
            return rooms_gigabytes(config.render)
        case "evaluate":
            return _pictured(config) * _picture_mb(config) / 1000
        case "register":
            return 0.0
        case "distill" if weights is not None:
            return (2 * weights + viewpoints(config.distill, config.render) * _view_mb(config)) / 1000  # best and last
        case _:
            return None if weights is None else weights / 1000


def checkpoint_gigabytes(stage: str, config: PipelineConfig, network: str) -> float | None:
    """While it trains: weights, the best weights and the optimizer's figures, in each of the checkpoints kept."""
    weights = _weights_mb(stage, config, network)
    return None if weights is None else _KEPT * _checkpoint_mb(weights, _moments(stage, config)) / 1000


def requests(stage: str, config: PipelineConfig, network: str, hours: float | None, pods: int) -> int | None:
    """To S3. ``hours``: how long it takes; None leaves out what goes by time. ``pods``: that share render, or nodes."""
    seconds = 0.0 if hours is None else hours * 3600
    files, reads = _files(stage, config), _reads(stage, config, network)
    total = REQUESTS_A_STAGE + files * REQUESTS_A_FILE + reads + seconds / RENEWAL_S
    if stage == "render" and pods > 1:
        total += pods * REQUESTS_A_STAGE
    if stage in TRAINING:
        total += (pods - 1) * reads  # each node has a cache of its own
        weights = _weights_mb(stage, config, network)
        if weights is None:
            return None
        total += _saves(stage, config, seconds) * _requests_a_save(_checkpoint_mb(weights, _moments(stage, config)))
    if stage == "distill":
        total += viewpoints(config.distill, config.render) * _kinds(config) * 2  # asked for, and put
    return round(total)


def _files(stage: str, config: PipelineConfig) -> int:
    """That the stage makes."""
    return {
        "render": 2 * shards(config.render) + _RENDER_FILES,
        "teacher": _NETWORK_FILES,
        "pretrain": _NETWORK_FILES,
        "distill": _DISTILLED_FILES,
        "evaluate": _pictured(config) + EVALUATION_FILES,
        "register": 1,
    }[stage]


def _reads(stage: str, config: PipelineConfig, network: str) -> int:
    """Requests for what the stage reads: a look at the size, then parts."""
    render = config.render
    room_mb = rooms_gigabytes(render) * 1000 / sum(render.rooms.values())
    a_shard, small = _reads_of(room_mb * render.rooms_per_shard), _reads_of(0)
    teacher, student = (_weights_mb(each, config, config.pretrain.network) or 0.0 for each in ("teacher", "pretrain"))
    a_teacher, a_student = (_reads_of(weights) + small for weights in (teacher, student))
    match stage:
        case "render":
            return shards(render) * small  # the summaries
        case "teacher" | "pretrain":
            return small + shards(render, "train", "val") * a_shard
        case "distill":
            return small + shards(render, "train", "val") * a_shard + a_teacher + a_student
        case "evaluate":
            networks = [network_of(section, config) for section in comparisons(config).values()]
            compared = sum(_reads_of(_network_mb(network)) + small for network in networks)
            return small + shards(render, "test") * a_shard + a_teacher + 2 * a_student + compared
        case _:
            return small + a_student


def _network_mb(network: str) -> float:
    return NETWORKS[network].parameters * _BYTES / 1e6


def _reads_of(megabytes: float) -> int:
    return 1 + max(1, math.ceil(megabytes / PART_MB))


def _requests_a_save(megabytes: float) -> int:
    """State and manifest, a listing, and two removals of an older one."""
    parts = math.ceil(megabytes / PART_MB)
    return (parts + 2 if parts > 1 else 1) + 4


def _saves(stage: str, config: PipelineConfig, seconds: float) -> float:
    """One at each validation, and between them where they are further apart than ``SAVE_S``."""
    validated = validations(trained_with(stage, config))
    return max(validated, seconds / SAVE_S + validated / 2)


def _weights_mb(stage: str, config: PipelineConfig, network: str) -> float | None:
    """Of what the stage trains."""
    if stage != "teacher":
        return _network_mb(network)
    backbone = config.teacher.backbone
    known = {name: each.parameters for name, each in BACKBONES.items()} | {demo().teacher.backbone: MICRO_PARAMETERS}
    return known[backbone] * _BYTES / 1e6 if backbone in known else None


def _checkpoint_mb(weights_mb: float, moments: int) -> float:
    return (2 + moments) * weights_mb


def _moments(stage: str, config: PipelineConfig) -> int:
    return _MOMENTS[config.teacher.optimizer if stage == "teacher" else "adam"]


def _kinds(config: PipelineConfig) -> int:
    """Of what the cache has for a viewpoint: hits, the teacher's logits, its features."""
    return 1 + bool(config.distill.weight) + bool(config.distill.feature_weight)


def _view_mb(config: PipelineConfig) -> float:
    share = panorama_share(config.render) / panorama_share(demo().render)
    return MEASURED["view_kb"].value / 1000 * share


def _pictured(config: PipelineConfig) -> int:
    return min(2 * config.evaluate.pictured_rooms, config.render.test_rooms)


def _picture_mb(config: PipelineConfig) -> float:
    return MEASURED["picture_mb"].value * room_voxels(config.render) / room_voxels(demo().render)
