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
    group: str = ""  # a heading above the first room of each group
    view: str = ""  # a file beside the page with the room in 3D


@dataclass(frozen=True)
class RoomScore:
    """A line of the table of all test rooms; scores of the last model, and of the one before it."""

    room_id: str
    room_type: str
    size_m: tuple[float, float, float]
    miou: float
    miou_published: float
    before: float | None  # mIoU of the model before


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
    miou_published_interval: tuple[float, float]
    macc: float
    macc_published: float
    aacc: float
    aacc_published: float
    per_class_iou: Sequence[float | None]  # by class id; None where the class does not occur
    parameters: int | None = None  # None: no network
    seconds_per_room: float | None = None  # median, on ``ReportContent.device``


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
    ablations: Sequence[tuple[str, str]] = ()  # names of models: without a part of the method, and with it
    device: str = ""  # that the seconds were measured on, in words
    rooms: Sequence[RoomPicture] = field(default=())
    room_scores: Sequence[RoomScore] = field(default=())
    panoramas: Sequence[PanoramaPicture] = field(default=())
    curves: Sequence[Curve] = field(default=())
    timings: Sequence[tuple[str, float]] = field(default=())  # stage, seconds
    credits: Sequence[str] = field(default=())
