"""Rooms as they lie on disk and as the networks see them.

Axes (X, Y, Z), +Z up, right-handed, metres. Voxel (i, j, k) is the sample at ``origin_m + voxel_m * (i, j, k)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from roomseg.labels import PANOROOMS3D

TSDF_STEPS = 127  # int8 planes: 127 = +1 = empty or unseen, 0 = surface, -127 = behind by the truncation
EMPTY_TSDF = -3.0  # channel 0 of the network's input where nothing is
EMPTY_RGB = -1.0


@dataclass(frozen=True)
class Panorama:
    """An equirectangular view with its labels (see ``geometry.equirect`` for the pixels' directions)."""

    camera_m: np.ndarray  # (3,) float64, in the frame of the room's origin_m
    rgb: np.ndarray  # (H, 2H, 3) uint8
    label: np.ndarray  # (H, 2H) uint8


@dataclass(frozen=True)
class Room:
    id: str
    house_id: str
    split: str  # train, val or test
    origin_m: np.ndarray  # (3,) float64
    voxel_m: float
    tsdf: np.ndarray  # (X, Y, Z) int8, steps of truncation / 127
    rgb: np.ndarray  # (X, Y, Z, 3) uint8, 0 where empty
    label: np.ndarray  # (X, Y, Z) uint8, 0 where empty
    labels: str = PANOROOMS3D.name  # name of the label set of label and of the panoramas
    panoramas: tuple[Panorama, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)  # JSON types: room type, credits, seconds, ...

    @property
    def shape(self) -> tuple[int, int, int]:
        x, y, z = self.tsdf.shape
        return x, y, z


def network_input(room: Room) -> np.ndarray:  # (4, X, Y, Z) float32
    """Channel 0 is -3 x TSDF (-3 empty, 0 surface, + behind), channels 1-3 are RGB in [-1, 1], -1 where empty."""
    volume = np.empty((4, *room.shape), np.float32)
    np.multiply(room.tsdf, EMPTY_TSDF / TSDF_STEPS, out=volume[0], dtype=np.float32)
    empty = room.tsdf >= TSDF_STEPS
    volume[0][empty] = EMPTY_TSDF
    for channel in range(3):
        np.multiply(room.rgb[..., channel], 2 / 255, out=volume[1 + channel], dtype=np.float32)
        volume[1 + channel] -= 1
        volume[1 + channel][empty] = EMPTY_RGB
    return volume
