"""A room whose signed distance is known exactly, as cameras inside it would see it, and a report about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from roomseg.data.rooms import TSDF_STEPS
from roomseg.labels import PANOROOMS3D, VOID
from roomseg.report.content import Curve, ModelScores, PanoramaPicture, ReportContent, RoomPicture, RoomScore

HOSTILE = '<script>alert("1")</script>'
VOXEL_M, TRUNCATION_VOXELS, MARGIN_VOXELS = 0.04, 5, 10


@dataclass(frozen=True)
class Box:
    label: str
    color: tuple[int, int, int]
    low_m: tuple[float, float, float]
    high_m: tuple[float, float, float]


FURNITURE = (  # reaching into floor and wall, so that no gap is left between
    Box("bed", (190, 70, 60), (0.3, 0.2, -0.3), (1.9, 2.3, 0.5)),
    Box("wardrobe", (120, 85, 60), (3.6, 0.5, -0.3), (4.5, 2.1, 2.1)),
    Box("table", (200, 160, 100), (2.2, 2.5, -0.3), (3.4, 3.1, 0.75)),
    Box("chair", (60, 90, 150), (2.5, 1.7, -0.3), (2.95, 2.15, 0.9)),
    Box("lamp", (250, 230, 140), (1.9, 1.5, 2.1), (2.2, 1.8, 2.4)),
)
SIZE_M = np.array([4.2, 3.4, 2.6])


def box_distance(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:  # (..., 3) -> (...)
    """Signed distance to a box, negative inside."""
    outside = np.maximum(low - points, points - high)
    return np.linalg.norm(np.maximum(outside, 0), axis=-1) + np.minimum(outside.max(axis=-1), 0)


def synthetic_room(room_id: str = "room-1") -> RoomPicture:
    shape = np.ceil(SIZE_M / VOXEL_M).astype(int) + 2 * MARGIN_VOXELS
    points = (np.indices(shape).transpose(1, 2, 3, 0) - MARGIN_VOXELS) * VOXEL_M  # (X, Y, Z, 3)
    walls = -box_distance(points, np.zeros(3), SIZE_M)
    solids = [box_distance(points, np.array(b.low_m), np.array(b.high_m)) for b in FURNITURE]
    nearest = np.argmin([walls, *solids], axis=0)
    distance = np.minimum.reduce([walls, *solids]) / (VOXEL_M * TRUNCATION_VOXELS)
    unseen = distance <= -1
    tsdf = np.where(unseen, TSDF_STEPS, np.round(np.clip(distance, -1, 1) * TSDF_STEPS)).astype(np.int8)
    filled = tsdf < TSDF_STEPS
    truth = np.zeros(shape, np.uint8)
    rgb = np.zeros((*shape, 3), np.uint8)
    shell_labels, shell_colors = _shell(points)
    labels = [shell_labels, *(np.full(shape, PANOROOMS3D.id(b.label)) for b in FURNITURE)]
    colors = [shell_colors, *(np.broadcast_to(b.color, (*shape, 3)) for b in FURNITURE)]
    for index, (label, color) in enumerate(zip(labels, colors, strict=True)):
        here = filled & (nearest == index)
        truth[here], rgb[here] = label[here], color[here]
    return RoomPicture(room_id, "bedroom", tsdf, rgb, truth, _prediction(truth), VOXEL_M, 0.4321)


def _shell(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and colours of the walls' voxels: the class of the nearest of the six sides."""
    gap = np.stack([points, SIZE_M - points], axis=-1)  # (X, Y, Z, 3, 2)
    vertical = gap[..., :2, :].min(axis=(-1, -2))
    floor = gap[..., 2, 0] <= np.minimum(vertical, gap[..., 2, 1])
    ceiling = gap[..., 2, 1] < np.minimum(vertical, gap[..., 2, 0])
    label = np.where(
        floor, PANOROOMS3D.id("floor"), np.where(ceiling, PANOROOMS3D.id("ceiling"), PANOROOMS3D.id("wall"))
    )
    plank = (0.85 + 0.15 * ((points[..., :1] / 0.2).astype(int) % 2)) * np.array([176, 135, 92])
    color = np.where(floor[..., None], plank, np.where(ceiling[..., None], (245, 245, 245), (214, 208, 196)))
    return label, color


def _prediction(truth: np.ndarray) -> np.ndarray:
    """The truth with one class confused and a corner of the room wrong."""
    prediction = truth.copy()
    prediction[truth == PANOROOMS3D.id("chair")] = PANOROOMS3D.id("stool")
    corner = prediction[:, :45, 40:]
    corner[corner == PANOROOMS3D.id("wall")] = PANOROOMS3D.id("wardrobe")
    return prediction


def synthetic_panorama(room_id: str) -> PanoramaPicture:
    """Four vertical quarters: all right, teacher wrong, all right, student missed."""
    shape = (32, 64)
    quarter = np.arange(64) // 16
    wall = np.full(shape, PANOROOMS3D.id("wall"), np.uint8)
    rgb = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None] * 3, (*shape, 3)).copy()
    teacher = np.where(quarter == 1, PANOROOMS3D.id("bed"), wall).astype(np.uint8)
    hit = np.broadcast_to(quarter != 3, shape).copy()
    return PanoramaPicture(room_id, rgb, wall, teacher, np.where(hit, wall, 0).astype(np.uint8), hit)


def synthetic_scores(
    name: str,
    miou: float,
    interval: tuple[float, float],
    published: float,
    macc: float,
    aacc: float,
    per_class: Sequence[float | None],
    parameters: int | None,
) -> ModelScores:
    around = (published - 0.03, published + 0.03)
    timed = None if parameters is None else 1.25
    figures = (miou, interval, published, around, macc, macc + 0.1, aacc, aacc + 0.1)
    return ModelScores(name, *figures, per_class, parameters, timed)


def synthetic_content() -> ReportContent:
    room = synthetic_room(HOSTILE)
    confusion = np.zeros((len(PANOROOMS3D), len(PANOROOMS3D)), np.int64)
    np.add.at(confusion, (room.truth.ravel(), room.prediction.ravel()), 1)
    classes: list[float | None] = [
        None if k in (VOID, PANOROOMS3D.id("flue")) else 0.5 for k in range(len(PANOROOMS3D))
    ]
    classes[PANOROOMS3D.id("bed")] = 0.7
    before = [None if iou is None else iou - 0.1 for iou in classes]
    return ReportContent(
        title="A <b>bold</b> title",
        labels=PANOROOMS3D,
        facts=[("profile", "demo"), ("digest", "9f86d081884c7d65")],
        teacher_2d={"miou": 0.447, "macc": 0.552},
        models=[
            synthetic_scores("constant", 0.021, (0.018, 0.025), 0.31, 0.05, 0.42, before, None),
            synthetic_scores("pretrained student", 0.385, (0.352, 0.421), 0.402, 0.513, 0.771, before, 375_036),
            synthetic_scores("distilled student", 0.412, (0.377, 0.448), 0.431, 0.538, 0.794, classes, 375_036),
        ],
        confusion=confusion,
        device="2 CPU threads",
        rooms=[replace(room, group="The best", view="views/room-1.html"), replace(room, group="The worst")],
        room_scores=[
            RoomScore("room-1", "bedroom", (4.0, 5.0, 2.6), 0.4321, 0.45, 0.4),
            RoomScore(HOSTILE, "living_room", (6.1, 5.0, 2.6), 0.8, 0.7, None),
        ],
        panoramas=[synthetic_panorama(HOSTILE)],
        curves=[
            Curve("pretrained", [{"step": n, "loss": 3.0 / n, "lr": 1e-3} for n in range(1, 500)]),
            Curve("distilled", [{"step": 1, "loss": float("nan")}, {"step": 50, "val_miou": 0.4}]),
        ],
        timings=[("teacher", 312.0), ("pretrained", 540.4)],
        credits=['Chair "><svg/onload=1> by <img/onerror=x>', "Bed by B"],
    )
