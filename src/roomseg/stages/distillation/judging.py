"""Is a panorama fit for its room? Its hit map, and what a wrong camera, a wrong room or a blocked view shows in it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from roomseg.config import DistillConfig, HitsWay
from roomseg.data.rooms import Panorama, Room
from roomseg.errors import UserError
from roomseg.geometry.cube import stitched_hits
from roomseg.geometry.projection import Caster, HitMap, cast_on_cpu, check_camera, panorama_hits
from roomseg.labels import VOID

NEAR_M = 0.4  # what is nearer than this blocks the view
MAX_NEAR_SHARE = 0.5  # of the rays that hit


def room_hits(room: Room, panorama: Panorama, way: HitsWay = "direct", caster: Caster = cast_on_cpu) -> HitMap:
    """What each pixel sees: along its own ray, or through the paper's cube, of faces half as high as the panorama."""
    camera, height = camera_voxel(room, panorama), len(panorama.label)
    if way == "cube":
        return stitched_hits(room.tsdf, camera, height, height // 2, caster)
    return panorama_hits(room.tsdf, camera, height, caster)


def camera_voxel(room: Room, panorama: Panorama) -> np.ndarray:  # (3,)
    return (panorama.camera_m - room.origin_m) / room.voxel_m


def examine(
    room: Room, panorama: Panorama, way: HitsWay, caster: Caster
) -> tuple[np.ndarray, dict[str, Any]]:  # (H, 2H) int32
    """The hit map, all -1 for a camera that is nowhere in the room, and what ``fault_of`` judges by, as JSON types."""
    misplaced = _misplaced(room, panorama)
    if misplaced is not None:
        return np.full(panorama.label.shape, -1, np.int32), {"misplaced": misplaced}
    hits = room_hits(room, panorama, way, caster)
    hit = hits.voxel >= 0
    near = hit & (hits.depth_voxels < NEAR_M / room.voxel_m)
    seen = np.where(hit, room.label.reshape(-1)[hits.voxel], VOID)
    judged = (seen != VOID) & (panorama.label != VOID)
    return hits.voxel, {
        "misplaced": None,
        "hit_rate": float(hit.mean()),
        "near_share": float(near.sum() / max(hit.sum(), 1)),
        "label_agreement": float((seen == panorama.label)[judged].mean()) if judged.any() else None,
    }


def fault_of(noted: dict[str, Any], config: DistillConfig) -> str | None:
    """Why a panorama cannot be learnt from, or None."""
    if noted["misplaced"] is not None:
        return noted["misplaced"]
    if noted["hit_rate"] == 0:  # whatever the configuration: no voxel could learn from it
        return "none of its rays hits the room"
    if noted["hit_rate"] < config.min_hit_rate:
        hit = _rounded_down(noted["hit_rate"])
        return f"{hit} of its rays hit the room, expected {config.min_hit_rate:.1%} (min_hit_rate)"
    if noted["near_share"] > MAX_NEAR_SHARE:
        return (
            f"{noted['near_share']:.1%} of its rays end within {NEAR_M:g} m, expected {MAX_NEAR_SHARE:.0%} at most: "
            "its camera is inside or right before furniture"
        )
    agreement = noted["label_agreement"]
    if agreement is not None and agreement < config.min_label_agreement:
        return (
            f"{_rounded_down(agreement)} of its pixels have the label of the voxel that they see, expected "
            f"{config.min_label_agreement:.1%} (min_label_agreement): it is of another room, or its camera is wrong"
        )
    return None


def _rounded_down(share: float) -> str:
    """As a percentage that does not read as the bound that it is just below."""
    return f"{math.floor(1000 * share) / 1000:.1%}"


def _misplaced(room: Room, panorama: Panorama) -> str | None:
    """Why nothing can be seen from the camera, or None."""
    try:
        check_camera(room.tsdf, camera_voxel(room, panorama))
    except UserError as error:
        return str(error).partition(";")[0]  # what to do about it is not the same here
    return None
