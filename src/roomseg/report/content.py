"""What a report tells: plain values, so that the page and its pictures know no model, no stage and no store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from roomseg.labels import LabelSet


@dataclass(frozen=True)
class RoomPicture:
    """One test room with its prediction. ``tsdf`` and ``rgb`` are as in ``data.rooms.Room``."""

    room_id: str
    room_type: str
    tsdf: np.ndarray  # (X, Y, Z) int8
    rgb: np.ndarray  # (X, Y, Z, 3) uint8
    truth: np.ndarray  # (X, Y, Z) uint8 class ids
    prediction: np.ndarray  # (X, Y, Z) uint8 class ids
    voxel_m: float
    miou: float


@dataclass(frozen=True)
class PanoramaPicture:
    """One view; ``student`` is the 3D prediction projected into it, 0 where the ray missed the surface."""

    room_id: str
    rgb: np.ndarray  # (H, 2H, 3) uint8
    truth: np.ndarray  # (H, 2H) uint8 class ids
    teacher: np.ndarray  # (H, 2H) uint8 class ids
    student: np.ndarray  # (H, 2H) uint8 class ids
    hit: np.ndarray  # (H, 2H) bool


@dataclass(frozen=True)
class ModelScores:
    """Scores on the test rooms, as fractions of 1."""

    name: str
    miou: float
    miou_interval: tuple[float, float]  # 95 % bootstrap over rooms
    miou_published: float
    macc: float
    aacc: float
    per_class_iou: Sequence[float | None]  # by class id; None where the class does not occur


@dataclass(frozen=True)
class Curve:
    """A training history; a point has ``step`` and any of ``loss``, ``val_miou`` and others."""

    stage: str
    points: Sequence[Mapping[str, float]]


@dataclass(frozen=True)
class ReportContent:
    """``models`` go from the weakest to the one reported: the last two are compared class by class."""

    title: str
    labels: LabelSet
    facts: Sequence[tuple[str, str]]
    teacher_2d: Mapping[str, float]  # miou, miou_published, macc, aacc on panoramas; any may be missing
    models: Sequence[ModelScores]
    confusion: np.ndarray  # (K, K) int64 of the last model; rows are the truth, columns the prediction
    rooms: Sequence[RoomPicture] = field(default=())
    panoramas: Sequence[PanoramaPicture] = field(default=())
    curves: Sequence[Curve] = field(default=())
    timings: Sequence[tuple[str, float]] = field(default=())  # stage, seconds
    credits: Sequence[str] = field(default=())
