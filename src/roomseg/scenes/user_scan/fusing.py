"""A mesh or a cloud as a TSDF volume, the way the training rooms became theirs: seen from inside, frame by frame.

Signed distances by the surface's own normals would be quicker, but they fill what no camera sees (the inside of
cupboards, the outside of walls), and they trust normals that scans often have wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roomseg.errors import UserError
from roomseg.geometry.cameras import Pinhole
from roomseg.geometry.mesh import TriangleMesh
from roomseg.geometry.raster import PackedMesh, pack_mesh, render_frame
from roomseg.geometry.tsdf import empty_volume, finish, integrate
from roomseg.ports import Progress
from roomseg.scenes.coverage import PROBES, open_coverage
from roomseg.scenes.user_scan.cameras import around_poses, inside_poses, standing_places
from roomseg.scenes.user_scan.placing import Placement
from roomseg.scenes.user_scan.read import UserScan
from roomseg.scenes.user_scan.samples import Samples
from roomseg.scenes.user_scan.surfels import surfels

CAMERA = Pinhole.from_fov(320, 240, 75.0)
FRAMES_PER_M2 = 4.0  # of the scan's footprint
FRAMES = (80, 800)  # fewest and most
MARGIN_VOXELS = 5
MAX_FACES = 20_000_000
MAX_VOXELS = 100_000_000  # about 5 GB while it is fused and labelled; 6,400 m3 at 4 cm


@dataclass(frozen=True)
class FusedScan:
    tsdf: np.ndarray  # (X, Y, Z) int8, steps of truncation / 127
    rgb: np.ndarray  # (X, Y, Z, 3) uint8
    origin_m: np.ndarray  # (3,) in the room's coordinates
    surface_seen: float  # share of the surface that the frames saw
    from_inside: bool


def fuse_scan(
    scan: UserScan,
    placement: Placement,
    samples: Samples,  # in the room's coordinates
    voxel_m: float,
    truncation_voxels: int,
    rng: np.random.Generator,
    progress: Progress,
) -> FusedScan:
    """Raises ``UserError`` for a scan that is too large."""
    check_size(placement.bounds, voxel_m)
    mesh = _lit_as_scanned(pack_mesh(_drawn(scan, placement)))
    places = standing_places(mesh, samples, rng)
    inside = len(places) > 0
    area_m2 = float(np.prod((placement.bounds[1] - placement.bounds[0])[:2]))
    n = int(np.clip(FRAMES_PER_M2 * area_m2, *FRAMES))
    poses = inside_poses(mesh, places, n, rng) if inside else around_poses(placement.bounds)
    probes = places[rng.integers(len(places), size=PROBES)] if inside else poses[:, :3, 3]
    coverage = open_coverage(mesh, np.ascontiguousarray(probes), rng)
    lower, upper = placement.bounds
    volume = empty_volume(lower, upper, voxel_m, truncation_voxels, MARGIN_VOXELS, classes=1)
    for k in progress.track(range(len(poses)), "look", total=len(poses), unit="frames"):
        pose = coverage.choose(k, poses[k], CAMERA) if inside else poses[k]
        frame = render_frame(mesh, CAMERA, pose)
        coverage.mark(frame.depth, CAMERA, pose)
        integrate(volume, frame, CAMERA, pose)
    tsdf, rgb, _ = finish(volume)
    return FusedScan(tsdf, rgb, np.asarray(volume.origin_m), coverage.surface_seen, inside)


def check_size(bounds: np.ndarray, voxel_m: float) -> None:  # (2, 3) metres
    """Raises ``UserError`` for bounds that are too large to be fused."""
    extent = bounds[1] - bounds[0]
    voxels = float(np.prod(extent / voxel_m + 1 + 2 * MARGIN_VOXELS))
    if voxels > MAX_VOXELS:
        size = " x ".join(f"{side:.0f}" for side in extent)
        raise UserError(
            f"got a scan of {size} m, {voxels:.2g} voxels of {voxel_m:g} m; expected at most {MAX_VOXELS:.2g}: "
            "cut it into parts, or, if its unit is wrong, say it by --units"
        )


def _drawn(scan: UserScan, placement: Placement) -> TriangleMesh:
    """The scan in the room's coordinates, as what the renderer takes."""
    if scan.mesh is None:
        points = placement.apply(scan.surface.points)
        with np.errstate(invalid="ignore"):
            kept = ((points >= placement.bounds[0]) & (points <= placement.bounds[1])).all(axis=1)
        return surfels(points[kept], scan.surface.color[kept])
    if len(scan.mesh) > MAX_FACES:
        raise UserError(f"got a mesh of {len(scan.mesh):,} faces; expected at most {MAX_FACES:,}: simplify it first")
    shifted = placement.to_room.copy()
    shifted[:3, 3] = placement.apply(scan.middle[None])[0]
    return scan.mesh.transformed(shifted)


def _lit_as_scanned(mesh: PackedMesh) -> PackedMesh:
    """Without the renderer's own light: the colours of a scan have the light of its room in them."""
    return mesh._replace(shade=np.ones_like(mesh.shade))
