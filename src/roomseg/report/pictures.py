"""Pictures of rooms and panoramas as arrays, and as the bytes of image files."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from roomseg.labels import CLASS_COLORS, VOID, class_id
from roomseg.report.content import PanoramaPicture, RoomPicture
from roomseg.report.dollhouse import Camera, best_camera, paint, trace

SHELL = tuple(
    class_id(name)
    for name in ("ceiling", "door/window", "baseboard", "wall", "floor", "art", "beam", "mirror", "wainscot")
)
RIGHT, WRONG, UNJUDGED = (196, 198, 202), (214, 40, 40), (232, 233, 236)
WHITE = (255, 255, 255)


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


def colorize(labels: np.ndarray) -> np.ndarray:  # (...) uint8 -> (..., 3) uint8
    """Class ids as the colours of ``labels.py``."""
    return np.asarray(CLASS_COLORS, np.uint8)[labels]


def furniture_of(labels: np.ndarray) -> np.ndarray:  # (X, Y, Z) uint8 -> (X, Y, Z) bool
    """The voxels of what stands in the room: not void, walls, floor, ceiling or what is fixed flat on them."""
    return ~np.isin(labels, (VOID, *SHELL))


def dollhouse(
    tsdf: np.ndarray,  # (X, Y, Z) int8
    color: np.ndarray,  # (X, Y, Z, 3) uint8
    furniture: np.ndarray | None = None,  # (X, Y, Z) bool: what casts shadows, see furniture_of
    camera: Camera | None = None,
    size: tuple[int, int] = (420, 560),  # height, width in pixels
    background: tuple[int, int, int] = WHITE,
    blend: bool = False,
) -> np.ndarray:  # (h, w, 3) uint8
    """The room from outside and above, without its ceiling and its near walls (see ``report.dollhouse``)."""
    furniture = np.zeros(tsdf.shape, bool) if furniture is None else furniture
    image = paint(trace(tsdf, furniture, camera or Camera(), size), tsdf, color, blend)
    return over(image, background)


def over(image: np.ndarray, background: tuple[int, int, int]) -> np.ndarray:  # (h, w, 4) -> (h, w, 3) uint8
    """A picture with transparency laid over a plain colour."""
    alpha = image[..., 3:].astype(np.float32) / 255
    return (image[..., :3] * alpha + np.array(background) * (1 - alpha) + 0.5).astype(np.uint8)


def room_views(room: RoomPicture, size: tuple[int, int]) -> RoomViews:
    """Input, truth, prediction and error from one viewpoint; the surface is traced once."""
    furniture = furniture_of(room.truth)
    traced = trace(room.tsdf, furniture, best_camera(room.tsdf, furniture), size)
    return RoomViews(
        input=paint(traced, room.tsdf, room.rgb, blend=True),
        truth=paint(traced, room.tsdf, colorize(room.truth), blend=False),
        prediction=paint(traced, room.tsdf, colorize(room.prediction), blend=False),
        error=paint(traced, room.tsdf, error_colors(room.truth, room.prediction), blend=False),
    )


def error_colors(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:  # (...) uint8 twice -> (..., 3) uint8
    """Wrong labels in red over grey; paler where the truth is void, which the scores leave out."""
    judged = truth != VOID
    colors = np.where(judged[..., None], np.uint8(RIGHT), np.uint8(UNJUDGED))
    colors[judged & (truth != prediction)] = WRONG
    return colors


def panorama_views(panorama: PanoramaPicture) -> PanoramaViews:
    """A panorama with its label maps; red where teacher and projected student disagree, over the faded picture."""
    grey = panorama.rgb.astype(np.float32).mean(axis=-1, keepdims=True)  # (H, 2H, 1)
    faded = np.repeat(150 + grey * 0.38, 3, axis=-1)
    differ = panorama.hit & (panorama.teacher != panorama.student)
    disagreement = np.where(differ[..., None], 0.25 * grey + 0.85 * np.array(WRONG), faded)
    return PanoramaViews(
        rgb=panorama.rgb,
        truth=colorize(panorama.truth),
        teacher=colorize(panorama.teacher),
        student=colorize(panorama.student),
        disagreement=np.clip(disagreement, 0, 255).astype(np.uint8),
        hit=np.where(panorama.hit[..., None], np.uint8((226, 232, 240)), np.uint8((30, 41, 59))),
    )


def png_bytes(image: np.ndarray) -> bytes:  # (h, w, 3 or 4) uint8
    """A PNG file."""
    return _encoded(image, format="PNG", optimize=True)


def photo_bytes(image: np.ndarray, quality: int = 86) -> bytes:  # (h, w, 3 or 4) uint8
    """A lossy WebP file, transparency kept: for what has many colours."""
    return _encoded(image, format="WEBP", quality=quality, method=6)


def flat_bytes(image: np.ndarray) -> bytes:  # (h, w, 3 or 4) uint8
    """A lossless WebP file: for label maps, whose few flat colours must not bleed."""
    return _encoded(image, format="WEBP", lossless=True, quality=90, method=4)


def resized(image: np.ndarray, width: int, smooth: bool) -> np.ndarray:  # (h, w, 3) -> (h', width, 3) uint8
    """The picture no wider than ``width``; label maps keep their colours with ``smooth`` False."""
    height = round(image.shape[0] * width / image.shape[1])
    if image.shape[1] <= width:
        return image
    how = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(image).resize((width, height), how))


def _encoded(image: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, **options)
    return buffer.getvalue()
