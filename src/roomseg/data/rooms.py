"""Rooms as they lie on disk and as the networks see them.

Axes (X, Y, Z), +Z up, right-handed, metres. Voxel (i, j, k) is the sample at ``origin_m + voxel_m * (i, j, k)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from roomseg.errors import UserError
from roomseg.labels import PANOROOMS3D, LabelSet, label_set
from roomseg.splits import SPLITS

TSDF_STEPS = 127  # int8 planes: 127 = +1 = empty or unseen, 0 = surface, -127 = behind by the truncation
EMPTY_TSDF = -3.0  # channel 0 of the network's input where nothing is
EMPTY_RGB = -1.0
MAX_VOXELS = 2**31 - 1  # flat voxel indices are int32


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
    labels: str = PANOROOMS3D.text  # text of the label set (labels.py) of label and of the panoramas
    panoramas: Sequence[Panorama] = ()  # from the disk: each is decoded when it is asked for
    meta: Mapping[str, Any] = field(default_factory=dict)  # JSON types: room type, credits, seconds, ...

    @property
    def shape(self) -> tuple[int, int, int]:
        x, y, z = self.tsdf.shape
        return x, y, z


def network_input(room: Room) -> np.ndarray:  # (4, X, Y, Z) float32
    """Channel 0 is -3 x TSDF (-3 empty, 0 surface, + behind), channels 1-3 are RGB in [-1, 1], -1 where empty."""
    return input_of(room.tsdf, room.rgb)


def input_of(tsdf: np.ndarray, rgb: np.ndarray) -> np.ndarray:  # (X, Y, Z), (X, Y, Z, 3) -> (4, X, Y, Z) float32
    """``network_input`` of planes, or of parts of them."""
    volume = np.empty((4, *tsdf.shape), np.float32)
    np.multiply(tsdf, EMPTY_TSDF / TSDF_STEPS, out=volume[0], dtype=np.float32)
    empty = tsdf >= TSDF_STEPS
    volume[0][empty] = EMPTY_TSDF
    for channel in range(3):
        np.multiply(rgb[..., channel], 2 / 255, out=volume[1 + channel], dtype=np.float32)
        volume[1 + channel] -= 1
        volume[1 + channel][empty] = EMPTY_RGB
    return volume


def check_room(room: Room) -> None:
    """Raises ``UserError`` that names the field for a room that could not be stored or trained on."""
    if not room.id or not room.house_id:
        raise UserError(f"room {room.id!r} of house {room.house_id!r}: expected an id and a house id")
    if room.split not in SPLITS:
        raise UserError(f"room {room.id}: got the split {room.split!r}, expected one of {', '.join(SPLITS)}")
    if not (np.isfinite(room.origin_m).all() and room.voxel_m > 0):
        raise UserError(f"room {room.id}: got origin_m {room.origin_m}, voxel_m {room.voxel_m}; expected finite ones")
    _check_planes(room)
    labels = label_set(room.labels)
    _check_ids(room.label, labels, f"room {room.id}: label")
    for n, panorama in enumerate(room.panoramas):
        _check_panorama(panorama, labels, f"room {room.id}: panoramas[{n}]")


def _check_planes(room: Room) -> None:
    if room.tsdf.ndim != 3 or not 0 < room.tsdf.size <= MAX_VOXELS:
        raise UserError(
            f"room {room.id}: got tsdf of shape {room.tsdf.shape}, expected X, Y, Z of 1 to 2^31 - 1 voxels"
        )
    expected = {"tsdf": (room.shape, np.int8), "rgb": ((*room.shape, 3), np.uint8), "label": (room.shape, np.uint8)}
    for name, (shape, dtype) in expected.items():
        plane = getattr(room, name)
        if plane.shape != shape or plane.dtype != dtype:
            raise UserError(
                f"room {room.id}: got {name} of {plane.dtype} {plane.shape}, expected {np.dtype(dtype)} {shape}"
            )
    empty = -(room.tsdf == TSDF_STEPS).astype(np.uint8)  # 255 or 0
    if any((plane & empty).any() for plane in (room.label, *np.moveaxis(room.rgb, -1, 0))):
        raise UserError(f"room {room.id}: has colour or labels in empty voxels; expected 0 where tsdf is {TSDF_STEPS}")


def _check_panorama(panorama: Panorama, labels: LabelSet, what: str) -> None:
    height, width = panorama.label.shape
    if width != 2 * height or panorama.rgb.shape != (height, width, 3):
        raise UserError(
            f"{what}: got rgb {panorama.rgb.shape} and label {panorama.label.shape}, expected H x 2H, alike"
        )
    if not np.isfinite(panorama.camera_m).all():
        raise UserError(f"{what}.camera_m: got {panorama.camera_m}, expected a finite position")
    _check_ids(panorama.label, labels, f"{what}.label")


def _check_ids(ids: np.ndarray, labels: LabelSet, what: str) -> None:
    if ids.max() >= len(labels):
        raise UserError(f"{what}: got class id {ids.max()}, expected 0..{len(labels) - 1} of {labels.name}")
