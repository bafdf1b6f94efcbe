"""Panoramas of a fused volume, for rooms without a mesh: colour and label of the voxels that the rays hit."""

from __future__ import annotations

import math

import numpy as np

from roomseg.data.rooms import Panorama, Room
from roomseg.geometry.projection import panorama_hits
from roomseg.scenes.viewpoints import CLEARANCE_M


def volume_panoramas(
    room: Room,
    positions: np.ndarray,  # (N, 3) metres, of the cameras that saw the room: they were in free space
    n: int,
    height: int,
) -> list[Panorama]:
    """At most n panoramas of (height, 2 height), black and void where nothing is hit.

    The first is from the recorded position nearest the middle of them, the others from those farthest from the ones
    before. None where no position lies in the volume.
    """
    inside = positions[_in_volume(room, positions)]
    clear = inside[[_is_clear(room, position) for position in inside]] if len(inside) else inside
    return [_view(room, position, height) for position in _spread(clear if len(clear) else inside, n)]


def _in_volume(room: Room, positions: np.ndarray) -> np.ndarray:  # (N, 3) -> (N,) bool
    voxel = _voxels(room, positions)
    return np.all((voxel >= 0) & (voxel < np.array(room.shape) - 1), axis=1)


def _is_clear(room: Room, position: np.ndarray) -> bool:
    """Whether nothing was fused near the position: no voxel around it is on or behind a surface."""
    clearance = math.ceil(CLEARANCE_M / room.voxel_m)
    voxel = _voxels(room, position).astype(int)
    around = room.tsdf[tuple(slice(max(at - clearance, 0), at + clearance + 2) for at in voxel)]
    return bool((around > 0).all())


def _spread(positions: np.ndarray, n: int) -> np.ndarray:  # (N, 3) -> (min(n, N), 3)
    if not len(positions):
        return positions
    middle = (positions.min(axis=0) + positions.max(axis=0)) / 2
    chosen = [int(np.linalg.norm(positions - middle, axis=1).argmin())]
    gap = np.linalg.norm(positions - positions[chosen[0]], axis=1)
    while len(chosen) < n and gap.max() > 0:
        chosen.append(int(gap.argmax()))
        gap = np.minimum(gap, np.linalg.norm(positions - positions[chosen[-1]], axis=1))
    return positions[chosen]


def _view(room: Room, position: np.ndarray, height: int) -> Panorama:
    hits = panorama_hits(room.tsdf, _voxels(room, position), height)
    hit = hits.voxel >= 0
    rgb = np.where(hit[..., None], room.rgb.reshape(-1, 3)[hits.voxel], 0).astype(np.uint8)
    label = np.where(hit, room.label.reshape(-1)[hits.voxel], 0).astype(np.uint8)
    return Panorama(position.astype(np.float64), rgb, label)


def _voxels(room: Room, position: np.ndarray) -> np.ndarray:  # (..., 3) metres -> (..., 3) voxels
    return (position - room.origin_m) / room.voxel_m
