"""Augmentation of panoramas for training the teacher."""

from __future__ import annotations

import numpy as np

BRIGHTNESS = 0.3
CONTRAST = 0.3
COLOUR = 0.1  # each channel's own factor


def augment_panorama(
    rgb: np.ndarray,  # (H, W, 3) uint8
    label: np.ndarray,  # (H, W) uint8
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """A panorama that is as likely as the given one: turned about the vertical, mirrored, in other light.

    Turning is a roll of the columns (an equirectangular view wraps), so no pixel is lost or resampled.
    """
    turn = int(rng.integers(rgb.shape[1]))
    rgb, label = np.roll(rgb, turn, axis=1), np.roll(label, turn, axis=1)
    if rng.random() < 0.5:
        rgb, label = rgb[:, ::-1], label[:, ::-1]
    return _relight(rgb, rng), np.ascontiguousarray(label)


def _relight(rgb: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    brightness = 1 + rng.uniform(-BRIGHTNESS, BRIGHTNESS)
    contrast = 1 + rng.uniform(-CONTRAST, CONTRAST)
    colour = 1 + rng.uniform(-COLOUR, COLOUR, size=3)
    mean = rgb.mean(axis=(0, 1))
    factor = (brightness * contrast * colour).astype(np.float32)
    offset = (brightness * (1 - contrast) * colour * mean).astype(np.float32)
    return np.clip(np.rint(rgb * factor + offset), 0, 255).astype(np.uint8)
