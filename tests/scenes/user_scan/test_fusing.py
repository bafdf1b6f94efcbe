from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from roomseg.geometry.surface import Surface, volume_surface
from roomseg.runtime.progress import LineProgress
from roomseg.scenes.user_scan.fusing import FusedScan, fuse_scan
from roomseg.scenes.user_scan.placing import Placement, place
from roomseg.scenes.user_scan.read import UserScan, _Part, _triangles
from roomseg.scenes.user_scan.samples import samples_of
from tests.scenes.user_scan.box import BED_M, COLORS, SIZE_M, as_cloud, box_room


def fused(surface: Surface) -> tuple[FusedScan, Placement]:
    middle = np.median(surface.points, axis=0)
    part = _Part(surface.points, surface.faces, surface.color)
    scan = UserScan(surface, None if surface.is_cloud else _triangles(part, middle), middle, ".ply")
    rng = np.random.default_rng(0)
    found = samples_of(surface, rng, n=20_000)
    placement = place(found, ".ply", "m", "+z")
    return fuse_scan(scan, placement, placement.inside(found), 0.04, 5, rng, LineProgress(None)), placement


def distance_to_box_room(points: np.ndarray) -> np.ndarray:
    to_wall = np.minimum(np.abs(points), np.abs(points - SIZE_M)).min(axis=1)
    low, high = np.array(BED_M)
    beyond = np.maximum(low - points, points - high)
    to_bed = np.where(beyond.max(axis=1) > 0, np.linalg.norm(np.maximum(beyond, 0), axis=1), -beyond.max(axis=1))
    return np.minimum(to_wall, to_bed)


@pytest.mark.parametrize("kind", ["mesh", "flipped mesh", "no ceiling", "cloud"])
def test_a_room_is_fused_where_it_is_and_only_from_inside(kind: str) -> None:
    surface = box_room(ceiling=kind != "no ceiling")
    if kind == "flipped mesh":
        surface = replace(surface, faces=surface.faces[:, ::-1])
    if kind == "cloud":
        surface = as_cloud(surface, 60_000, noise_m=0.002)
    scan, placement = fused(surface)
    assert scan.from_inside
    assert scan.surface_seen > 0.93
    found = volume_surface(scan.tsdf, scan.rgb, scan.origin_m, 0.04)
    back = found.points - placement.apply(np.zeros((1, 3)))
    distance = distance_to_box_room(back)
    assert np.percentile(distance, 90) < 0.02
    floor = (np.abs(back[:, 2]) < 0.02) & (back[:, 0] > 2.2)
    assert floor.sum() > 300
    assert np.abs(np.median(found.color[floor], axis=0) - COLORS["floor"]).max() <= 2  # not lit a second time
    seen = np.argwhere(scan.tsdf < 127) * 0.04 + scan.origin_m - placement.apply(np.zeros((1, 3)))
    outside = ((seen < -0.3) | (seen > np.array(SIZE_M) + 0.3)).any(axis=1)  # farther than the truncation, seen aslant
    assert outside.mean() < 1e-3


def test_a_thing_is_looked_at_from_around() -> None:
    bed = box_room()
    own = (bed.color == COLORS["bed"]).all(axis=1)
    thing = replace(bed, faces=bed.faces[own[bed.faces].all(axis=1)])
    scan, _ = fused(thing)
    assert not scan.from_inside
    assert scan.surface_seen > 0.9
