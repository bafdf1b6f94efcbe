"""Augmentation of panoramas for training the teacher: Segmenter's, for views that wrap round.

A panorama is turned about the vertical, seen from nearer or farther, mirrored and put in other light. Its columns
wrap: a window of it may cross the seam, and where it is narrower than the window it goes on with its own columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

IGNORED = 255  # label of a window's pixels above and below the panorama: they do not count in the loss
PADDING = 127  # their grey, about 0 once normalised

BRIGHTNESS = 32.0  # added to 0..255, or taken from it, at most
CONTRAST = (0.5, 1.5)
SATURATION = (0.5, 1.5)
HUE_DEG = 36.0  # round the grey axis, to either side
LUMA = np.array([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Augmentation:
    scale_range: tuple[float, float] = (0.5, 2.0)  # of the resized panorama, to the given one
    crop: tuple[int, int] | None = None  # rows and columns of the window; None: the size of the panorama


def augment_panorama(
    rgb: np.ndarray,  # (H, 2H, 3) uint8
    label: np.ndarray,  # (H, 2H) uint8
    rng: np.random.Generator,
    settings: Augmentation,
) -> tuple[np.ndarray, np.ndarray]:  # (h, w, 3) uint8, (h, w) uint8 with IGNORED beyond the poles
    """A window of the panorama, colours and labels alike; all that is random in it comes from ``rng``."""
    rows, columns = settings.crop or label.shape
    resized = max(1, round(len(label) * rng.uniform(*settings.scale_range)))  # rows of the resized panorama
    spare = resized - rows
    window = _Window(
        rows=rows,
        columns=columns,
        top=int(rng.integers(min(spare, 0), max(spare, 0) + 1)),
        turn=int(rng.integers(label.shape[1])),
        step=len(label) / resized,
    )
    rgb, label = window.colours(rgb), window.labels(label)
    if rng.random() < 0.5:
        rgb, label = rgb[:, ::-1], label[:, ::-1]
    rgb = relight(rgb, rng)
    rgb[label == IGNORED] = PADDING
    return rgb, np.ascontiguousarray(label)


@dataclass(frozen=True)
class _Window:
    """Pixel (i, j) shows the panorama at row (top + i + 0.5) step, column turn + (j + 0.5) step, round the seam."""

    rows: int
    columns: int
    top: int  # in pixels of the window; negative: so many rows are above the panorama
    turn: int  # in columns of the panorama
    step: float  # pixels of the panorama to one of the window

    def labels(self, label: np.ndarray) -> np.ndarray:  # (H, W) -> (rows, columns)
        """The nearest pixel's."""
        i = np.floor((self.top + np.arange(self.rows) + 0.5) * self.step).astype(np.int64)
        j = np.floor(self.turn + (np.arange(self.columns) + 0.5) * self.step).astype(np.int64)
        inside = (i >= 0) & (i < len(label))
        out = np.full((self.rows, self.columns), IGNORED, np.uint8)
        out[inside] = label[i[inside]].take(j, axis=1, mode="wrap")
        return out

    def colours(self, rgb: np.ndarray) -> np.ndarray:  # (H, W, 3) -> (rows, columns, 3)
        """Bilinear; the mean over a pixel where the panorama shrinks."""
        first = max(self.top, 0)
        last = min(self.top + self.rows, round(len(rgb) / self.step))
        margin = 1 + math.ceil(self.step)  # what the filter needs beyond the window's sides
        width = self.columns * self.step
        columns = np.arange(self.turn - margin, self.turn + math.ceil(width) + margin)
        source = Image.fromarray(rgb.take(columns, axis=1, mode="wrap"))
        box = (margin, first * self.step, margin + width, min(last * self.step, len(rgb)))
        out = np.zeros((self.rows, self.columns, 3), np.uint8)
        resized = source.resize((self.columns, last - first), Image.Resampling.BILINEAR, box=box)
        out[first - self.top : last - self.top] = np.asarray(resized)
        return out


def relight(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:  # (..., 3) uint8, both; a new array
    """Other brightness, contrast, saturation and hue, each by a chance of one half: together one affine map."""
    matrix, offset = np.eye(3), 0.0
    if rng.random() < 0.5:
        offset = rng.uniform(-BRIGHTNESS, BRIGHTNESS)
    if rng.random() < 0.5:
        contrast = rng.uniform(*CONTRAST)
        matrix, offset = contrast * matrix, contrast * offset
    if rng.random() < 0.5:
        saturation = rng.uniform(*SATURATION)
        matrix = (saturation * np.eye(3) + (1 - saturation) * LUMA) @ matrix
    if rng.random() < 0.5:
        matrix = _about_grey(rng.uniform(-HUE_DEG, HUE_DEG)) @ matrix
    mapped = rgb.astype(np.float32) @ matrix.T.astype(np.float32)
    mapped += np.float32(offset + 0.5)
    return np.clip(mapped, 0, 255, out=mapped).astype(np.uint8)


def _about_grey(angle_deg: float) -> np.ndarray:  # (3, 3)
    """A rotation of colours about the axis of greys."""
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    return cos * np.eye(3) + (1 - cos) / 3 + sin * cross
