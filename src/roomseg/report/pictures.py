"""Pictures of rooms and panoramas as arrays, and as the bytes of image files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from roomseg.errors import UserError
from roomseg.labels import VOID, LabelSet
from roomseg.report.content import PanoramaPicture, ReportContent, RoomPicture
from roomseg.report.dollhouse import best_camera, paint, trace

RIGHT, WRONG, UNJUDGED = (196, 198, 202), (214, 40, 40), (232, 233, 236)
HIT, MISS = (226, 232, 240), (30, 41, 59)
WHITE = (255, 255, 255)
HERO_WIDTH, HERO_GAP, HERO_ROOM = 1600, 16, (384, 512)  # pixels; of a room's picture height and width
HERO_BYTES = 600_000


@dataclass(frozen=True)
class RoomViews:
    """The four columns of a room's row, each (h, w, 4) uint8 with a transparent background."""

    input: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray
    error: np.ndarray


@dataclass(frozen=True)
class PanoramaViews:
    """The six panels of a panorama, each (H, 2H, 3) uint8."""

    rgb: np.ndarray
    truth: np.ndarray
    teacher: np.ndarray
    student: np.ndarray
    disagreement: np.ndarray
    hit: np.ndarray


def colorize(ids: np.ndarray, labels: LabelSet) -> np.ndarray:  # (...) uint8 -> (..., 3) uint8
    """Class ids as their colours."""
    return np.asarray(labels.colors, np.uint8)[ids]


def furniture_of(ids: np.ndarray, labels: LabelSet) -> np.ndarray:  # (X, Y, Z) uint8 -> (X, Y, Z) bool
    """The voxels of what stands in the room: not void, walls, floor, ceiling or what is fixed flat on them."""
    return ~np.isin(ids, [VOID, *map(labels.id, labels.shell)])


def over(image: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:  # (h, w, 4) -> (h, w, 3) uint8
    """A picture with transparency laid over a plain colour."""
    alpha = image[..., 3:].astype(np.float32) / 255
    return (image[..., :3] * alpha + np.array(background) * (1 - alpha) + 0.5).astype(np.uint8)


def room_views(room: RoomPicture, size: tuple[int, int], labels: LabelSet) -> RoomViews:
    """Input, truth, prediction and error from one viewpoint; the surface is traced once."""
    furniture = furniture_of(room.truth, labels)
    traced = trace(room.tsdf, furniture, best_camera(room.tsdf, furniture), size)
    return RoomViews(
        input=paint(traced, room.tsdf, room.rgb, blend=True),
        truth=paint(traced, room.tsdf, colorize(room.truth, labels), blend=False),
        prediction=paint(traced, room.tsdf, colorize(room.prediction, labels), blend=False),
        error=paint(traced, room.tsdf, error_colors(room.truth, room.prediction), blend=False),
    )


def error_colors(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:  # (...) uint8 twice -> (..., 3) uint8
    """Wrong labels in red over grey; paler where the truth is void, which the scores leave out."""
    judged = truth != VOID
    colors = np.where(judged[..., None], np.array(RIGHT, np.uint8), np.array(UNJUDGED, np.uint8))
    colors[judged & (truth != prediction)] = WRONG
    return colors


def panorama_views(panorama: PanoramaPicture, labels: LabelSet) -> PanoramaViews:
    """A panorama with its label maps; red where teacher and projected student disagree, over the faded picture."""
    grey = panorama.rgb.astype(np.float32).mean(axis=-1, keepdims=True)  # (H, 2H, 1)
    differ = panorama.hit & (panorama.teacher != panorama.student)
    disagreement = np.where(differ[..., None], 0.25 * grey + 0.85 * np.array(WRONG), over_grey(panorama.rgb))
    return PanoramaViews(
        rgb=panorama.rgb,
        truth=colorize(panorama.truth, labels),
        teacher=colorize(panorama.teacher, labels),
        student=colorize(panorama.student, labels),
        disagreement=np.clip(disagreement, 0, 255).astype(np.uint8),
        hit=np.where(panorama.hit[..., None], np.array(HIT, np.uint8), np.array(MISS, np.uint8)),
    )


def over_grey(rgb: np.ndarray) -> np.ndarray:  # (h, w, 3) uint8 -> float32
    """A picture faded to pale greys, to be painted on."""
    return np.repeat(150 + rgb.astype(np.float32).mean(axis=-1, keepdims=True) * 0.38, 3, axis=-1)


def png_bytes(image: np.ndarray) -> bytes:  # (h, w, 3 or 4) uint8
    """A PNG file."""
    return _encoded(image, format="PNG", optimize=True)


def photo_bytes(image: np.ndarray, quality: int = 86) -> bytes:  # (h, w, 3 or 4) uint8
    """A lossy WebP file, transparency kept: for what has many colours."""
    return _encoded(image, format="WEBP", quality=quality, method=4)


def flat_bytes(image: np.ndarray) -> bytes:  # (h, w, 3 or 4) uint8
    """A lossless WebP file: for label maps, whose few flat colours must not bleed."""
    return _encoded(image, format="WEBP", lossless=True, quality=60, method=3)


def resized(image: np.ndarray, width: int, smooth: bool) -> np.ndarray:  # (h, w, 3) -> (h', width, 3) uint8
    """The picture no wider than ``width``; label maps keep their colours with ``smooth`` False."""
    height = round(image.shape[0] * width / image.shape[1])
    if image.shape[1] <= width:
        return image
    how = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(image).resize((width, height), how))


def _encoded(image: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, **options)
    return buffer.getvalue()


def hero_picture(content: ReportContent, path: Path) -> None:
    """One PNG for a README: a room's input, truth and prediction above its panorama with the labels in it.

    Raises ``UserError`` where the content has no room.
    """
    if not content.rooms:
        raise UserError("the hero picture needs a pictured room, got none: set evaluate.pictured_rooms to 1 or more")
    room = content.rooms[0]
    views = room_views(room, HERO_ROOM, content.labels)
    rows = [[("input", views.input), ("truth", views.truth), ("student's prediction", views.prediction)]]
    panoramas = sorted(content.panoramas, key=lambda panorama: panorama.room_id != room.room_id)
    for view in (panorama_views(panorama, content.labels) for panorama in panoramas[:1]):
        flat = [("panorama", view.rgb), ("2D teacher", view.teacher), ("student, projected", view.student)]
        rows.append([(name, resized(picture, HERO_ROOM[1], smooth=True)) for name, picture in flat])
    path.write_bytes(_small_png(np.concatenate([_hero_row(row) for row in rows])))


def _hero_row(row: list[tuple[str, np.ndarray]]) -> np.ndarray:  # (h, HERO_WIDTH, 3) uint8
    """Pictures side by side, each with its name under it."""
    height = row[0][1].shape[0]
    sheet = Image.new("RGB", (HERO_WIDTH, height + 52), WHITE)
    draw = ImageDraw.Draw(sheet)
    for n, (name, picture) in enumerate(row):
        left = HERO_GAP + n * (HERO_ROOM[1] + HERO_GAP)
        sheet.paste(Image.fromarray(over(picture, WHITE) if picture.shape[-1] == 4 else picture), (left, 12))
        middle = left + HERO_ROOM[1] // 2
        draw.text((middle, height + 32), name, (90, 88, 84), font=ImageFont.load_default(20), anchor="mm")
    return np.asarray(sheet)


def _small_png(image: np.ndarray) -> bytes:
    """A PNG below ``HERO_BYTES``, with fewer colours where that takes it."""
    full = png_bytes(image)
    if len(full) <= HERO_BYTES:
        return full
    buffer = io.BytesIO()
    Image.fromarray(image).quantize(256, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
