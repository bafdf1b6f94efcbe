"""What the page shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ViewerSurface:
    """A mesh, or a cloud where there are no faces. Metres, +Z up."""

    points: np.ndarray  # (N, 3) float
    faces: np.ndarray  # (F, 3) int32, counter-clockwise seen from the free side; (0, 3) for a cloud
    color: np.ndarray  # (N, 3) uint8, as scanned
    label: np.ndarray  # (N,) uint8
    confidence: np.ndarray | None  # (N,) float32 in 0..1
    normal: np.ndarray  # (N, 3) float32, unit, towards the free side
    openness: np.ndarray  # (N,) float32, 1 in the open, less in corners

    @property
    def is_cloud(self) -> bool:
        return len(self.faces) == 0


@dataclass(frozen=True)
class ViewedClass:
    id: int
    name: str
    color: tuple[int, int, int]
    area_m2: float
    share: float
    points: int


@dataclass(frozen=True)
class ViewerContent:
    title: str
    facts: tuple[tuple[str, str], ...]
    surface: ViewerSurface
    classes: tuple[ViewedClass, ...]  # those that occur, the largest first
    warnings: tuple[str, ...] = ()
