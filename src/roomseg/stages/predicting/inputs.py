"""What a person gives to ``predict`` -> a volume that a network takes, and the points that want labels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roomseg.data.panorooms3d import VOXEL_M, read_room
from roomseg.data.rooms import Room
from roomseg.geometry.surface import Surface, volume_surface
from roomseg.geometry.tsdf import empty_volume, finish, integrate
from roomseg.ports import Progress
from roomseg.scenes.scans.bounds import scan_bounds
from roomseg.scenes.scans.gravity import Up
from roomseg.scenes.scans.rgbd import RgbdSource
from roomseg.scenes.source import Scan
from roomseg.scenes.user_scan.fusing import MARGIN_VOXELS, check_size, fuse_scan
from roomseg.scenes.user_scan.placing import METRES, Unit, UpAxis, place
from roomseg.scenes.user_scan.read import UserScan, read_user_scan
from roomseg.scenes.user_scan.samples import samples_of

ROUNDED = 0.25  # of a voxel: points are moved by half of it
LITTLE_SEEN = 0.5  # of the surface: said as a warning


@dataclass(frozen=True)
class PredictInput:
    """A volume, and a surface of which each point wants a label."""

    name: str
    kind: str  # mesh, point cloud, RGB-D frames, room
    surface: Surface  # the input's own points, in their own units and axes; of a volume its zero crossings, in metres
    to_room: np.ndarray  # (4, 4) float64: its coordinates to metres, +Z up
    tsdf: np.ndarray  # (X, Y, Z) int8
    rgb: np.ndarray  # (X, Y, Z, 3) uint8
    origin_m: np.ndarray  # (3,)
    voxel_m: float
    facts: tuple[tuple[str, str], ...] = ()  # what was found out, for people
    warnings: tuple[str, ...] = ()

    def places(self, points: np.ndarray) -> np.ndarray:  # (N, 3) -> (N, 3) voxel coordinates
        return (points @ self.to_room[:3, :3].T + self.to_room[:3, 3] - self.origin_m) / self.voxel_m

    @property
    def as_room(self) -> Room:
        """For ``data.rooms.network_input``."""
        label = np.zeros(self.tsdf.shape, np.uint8)
        return Room(self.name, self.name, "test", self.origin_m, self.voxel_m, self.tsdf, self.rgb, label)

    @property
    def fused_surface(self) -> Surface:
        """The volume's zero crossings, in metres."""
        return volume_surface(self.tsdf, self.rgb, self.origin_m, self.voxel_m)


@dataclass(frozen=True)
class Grid:
    """The volumes that a network was trained on."""

    voxel_m: float
    truncation_voxels: int


def open_scan_file(
    path: Path, units: Unit | None, up: UpAxis | None, grid: Grid, seed: int, progress: Progress
) -> PredictInput:
    """A mesh or a cloud, looked at from inside; raises ``UserError`` that says what is wrong with the file."""
    scan = read_user_scan(path)
    rng = np.random.default_rng([seed, 0])
    found = samples_of(scan.surface, rng)
    placement = place(found, scan.suffix, units, up)
    fused = fuse_scan(scan, placement, placement.inside(found), grid.voxel_m, grid.truncation_voxels, rng, progress)
    warnings = [*placement.warnings, *_rounding(scan, METRES[placement.units], grid.voxel_m)]
    if not fused.from_inside:
        warnings.append(
            "nowhere inside it could a camera stand, so it was looked at from outside; expected a room: "
            "are units and up right?"
        )
    elif fused.surface_seen < LITTLE_SEEN:
        warnings.append(f"only {fused.surface_seen:.0%} of its surface was seen from inside; are units and up right?")
    return PredictInput(
        name=path.stem,
        kind="point cloud" if scan.surface.is_cloud else "mesh",
        surface=scan.surface,
        to_room=placement.to_room,
        tsdf=fused.tsdf,
        rgb=fused.rgb,
        origin_m=fused.origin_m,
        voxel_m=grid.voxel_m,
        facts=(
            ("units", f"{placement.units} ({placement.reasons[0]})"),
            ("up", f"{placement.up.upper()} ({placement.reasons[1]})"),
            ("seen from inside" if fused.from_inside else "seen from outside", f"{fused.surface_seen:.0%}"),
        ),
        warnings=tuple(warnings),
    )


def _rounding(scan: UserScan, unit_m: float, voxel_m: float) -> Iterator[str]:
    """Says where single precision has moved points that lie far from the origin, as those of map coordinates do."""
    step_m = float(np.spacing(np.float32(np.abs(scan.middle).max()))) * unit_m
    points = scan.surface.points
    if step_m > ROUNDED * voxel_m and np.array_equal(points, points.astype(np.float32), equal_nan=True):
        yield (
            f"it lies so far from the origin that its coordinates are rounded to {step_m:.2g} m, which is seen in the "
            "labels; export it with double precision, or moved to the origin"
        )


def open_recording(
    folder: Path,
    up: Up,
    depth_units_per_m: float | None,
    frame_stride: int,
    max_depth_m: float,
    grid: Grid,
    progress: Progress,
) -> PredictInput:
    """A posed RGB-D folder, fused; of several recordings below it the first. Labels in it are not read.

    Raises ``UserError``.
    """
    source = RgbdSource(
        folder,
        frame_stride=frame_stride,
        labels=None,
        up=up,
        depth_units_per_m=depth_units_per_m,
        max_depth_m=max_depth_m,
    )
    keys = source.plan()[0]
    scan = source.load(keys[0])
    assert isinstance(scan, Scan)
    bounds = scan_bounds(scan, max_depth_m)
    check_size(bounds, grid.voxel_m)
    volume = empty_volume(bounds[0], bounds[1], grid.voxel_m, grid.truncation_voxels, MARGIN_VOXELS, classes=1)
    total = int(scan.meta["frames"])
    for posed in progress.track(scan.frames(), "fuse", total=total, unit="frames"):
        integrate(volume, posed.frame, posed.camera, posed.pose)
    tsdf, rgb, _ = finish(volume)
    others = f"; {len(keys) - 1} more recordings lie in the folder" if len(keys) > 1 else ""
    return _of_volume(
        scan.id,
        f"RGB-D frames ({scan.meta['layout']})",
        (tsdf, rgb, np.asarray(volume.origin_m)),
        grid.voxel_m,
        (("frames", f"{total:,}{others}"), ("up", str(scan.meta["up"]))),
    )


def open_room(room: Room) -> PredictInput:
    """A finished volume."""
    return _of_volume(room.id, "room", (room.tsdf, room.rgb, np.asarray(room.origin_m)), room.voxel_m, ())


def open_published(path: Path) -> PredictInput:
    """A room of the PanoRooms3D release; raises ``UserError`` for another file."""
    tsdf, rgb, _ = read_room(path)
    return _of_volume(path.stem, "published room", (tsdf, rgb, np.zeros(3)), VOXEL_M, ())


def _of_volume(
    name: str,
    kind: str,
    volume: tuple[np.ndarray, np.ndarray, np.ndarray],  # tsdf, rgb, origin_m
    voxel_m: float,
    facts: tuple[tuple[str, str], ...],
) -> PredictInput:
    tsdf, rgb, origin_m = volume
    surface = volume_surface(tsdf, rgb, origin_m, voxel_m)
    return PredictInput(name, kind, surface, np.eye(4), tsdf, rgb, origin_m, voxel_m, facts)
