"""How large rooms are, and how many blocks, panoramas and shards a configuration has."""

from __future__ import annotations

import math
from collections.abc import Sequence

from roomseg.config import DistillConfig, PipelineConfig, PretrainConfig, RenderConfig, TeacherConfig
from roomseg.planning.measured import MEASURED, PANORAMA_HEIGHT, PATCH
from roomseg.profiles import paper

_ROOM_HEIGHT_M = 2.6

Training = TeacherConfig | PretrainConfig | DistillConfig


def blocks_of(render: RenderConfig, block: int) -> float:
    """Of a room, on average, where its sides are spread evenly between the shortest and the longest."""
    low, high = (_side(side, render.voxel_m, render.margin_voxels) / block for side in render.room_size_m)
    counts = range(math.ceil(high))  # one block more where the side is longer than so many
    along = math.ceil(high) if low == high else sum(min(max((high - n) / (high - low), 0.0), 1.0) for n in counts)
    return along**2 * math.ceil(_side(_ROOM_HEIGHT_M, render.voxel_m, render.margin_voxels) / block)


def trained_blocks(pretrain: PretrainConfig, render: RenderConfig) -> float:
    """In all epochs."""
    return render.train_rooms * blocks_of(render, pretrain.block_voxels) * pretrain.epochs


def trained_panoramas(teacher: TeacherConfig, render: RenderConfig) -> int:
    """In all epochs, each of one panorama a room."""
    return render.train_rooms * teacher.epochs


def trained_with(stage: str, config: PipelineConfig) -> Training:
    """The section of a stage of ``cluster.TRAINING``."""
    sections: dict[str, Training] = {
        "teacher": config.teacher,
        "pretrain": config.pretrain,
        "distill": config.distill,
    }
    return sections[stage]


def validations(section: Training) -> int:
    if isinstance(section, DistillConfig):
        return section.iterations // section.validate_every
    return section.epochs // section.validate_every_epochs


def viewpoints(distill: DistillConfig, render: RenderConfig) -> int:
    """Of all rooms, that take part in the distillation."""
    return render.train_rooms * min(distill.views, render.panoramas_per_room)


def panorama_patches(teacher: TeacherConfig, render: RenderConfig) -> float:
    """That the teacher sees of a panorama."""
    return 2 * render.panorama_height**2 / (teacher.patch or PATCH) ** 2


def window_patches(teacher: TeacherConfig, render: RenderConfig) -> float:
    """Of what it is trained on."""
    whole = panorama_patches(teacher, render)
    return whole if teacher.crop is None else whole * math.prod(teacher.crop) / (2 * render.panorama_height**2)


def panorama_share(render: RenderConfig) -> float:
    """Pixels of a panorama, of those that were measured."""
    return (render.panorama_height / PANORAMA_HEIGHT) ** 2


def room_voxels(render: RenderConfig) -> float:
    """Of a room whose sides are midway between the shortest and the longest."""
    side = sum(render.room_size_m) / 2
    return voxels((side, side, _ROOM_HEIGHT_M), render.voxel_m, render.margin_voxels)


def voxels(size_m: Sequence[float], voxel_m: float, margin: int) -> float:
    return math.prod(_side(side, voxel_m, margin) for side in size_m)


def rooms_gigabytes(render: RenderConfig, *splits: str) -> float:
    """Rooms with one panorama, of all splits unless some are named.

    Each voxel has the measured size; generated rooms go by their area, too.
    """
    finer = (paper().render.voxel_m / render.voxel_m) ** 3
    area = (sum(render.room_size_m) / sum(paper().render.room_size_m)) ** 2 if render.source == "generated" else 1.0
    rooms = sum(number for split, number in render.rooms.items() if split in (splits or render.rooms))
    return rooms * MEASURED["room_mb"].value * finer * area / 1000


def shards(render: RenderConfig, *splits: str) -> int:
    """Files of rooms, of all splits unless some are named."""
    rooms = [number for split, number in render.rooms.items() if split in (splits or render.rooms)]
    return sum(-(-number // render.rooms_per_shard) for number in rooms)


def _side(length_m: float, voxel_m: float, margin: int) -> float:
    return length_m / voxel_m + 2 * margin
