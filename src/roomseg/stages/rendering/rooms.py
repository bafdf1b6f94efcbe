"""What a source gives -> a finished room, one function for each of the three kinds.

A scene (mesh) is drawn frame by frame and fused, and its panoramas are ray-traced (paper, section 5). A scan (recorded
frames) is fused, and its panoramas are what the fused volume shows. A finished volume passes through.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from roomseg.config import RenderConfig
from roomseg.data.rooms import Panorama, Room
from roomseg.errors import UserError
from roomseg.geometry.cameras import Pinhole
from roomseg.geometry.panorama import render_panorama
from roomseg.geometry.projection import panorama_hits
from roomseg.geometry.raster import Frame, PackedMesh, pack_mesh, render_frame
from roomseg.geometry.sensor import noisy_depth
from roomseg.geometry.tsdf import TsdfVolume, empty_volume, finish, integrate
from roomseg.labels import PANOROOMS3D, label_set
from roomseg.ports import RoomKey
from roomseg.scenes.coverage import PROBES, Coverage, open_coverage
from roomseg.scenes.scans.bounds import scan_bounds
from roomseg.scenes.source import Scan, Scene
from roomseg.scenes.viewpoints import camera_poses, panorama_cameras, spread_positions
from roomseg.stages.rendering.volume_views import volume_panoramas

MAX_FACES = 20_000_000  # about 4 GB with all that drawing needs
MAX_VOXELS = 100_000_000  # about 5 GB while it is fused; 6,400 m3 at 4 cm


def make_room(config: RenderConfig, given: Scene | Scan | Room, key: RoomKey) -> Room:
    """The same room in every process: it depends on the configuration, on what was given and on the key alone.

    Raises ``UserError`` for what cannot be made a room of.
    """
    if isinstance(given, Room):
        return _passed_through(given, key)
    if isinstance(given, Scan):
        return _fuse_scan(config, given, key)
    return _fuse_scene(config, given, key, _room_rng(config.seed, key))


def _room_rng(seed: int, key: RoomKey) -> np.random.Generator:
    digest = hashlib.sha256(key.id.encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], np.uint32).tolist()])


def noise_seed(seed: int, key: RoomKey) -> int:
    """Of the room's first frame; apart from what else is drawn, so that noise changes nothing but depth."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{key.id}/depth noise".encode()).digest()[:8], "little")


# A mesh


def _fuse_scene(config: RenderConfig, scene: Scene, key: RoomKey, rng: np.random.Generator) -> Room:
    if len(scene.mesh) > MAX_FACES:
        raise UserError(f"room {key.id}: its mesh has {len(scene.mesh)} faces; expected at most {MAX_FACES}")
    mesh = pack_mesh(scene.mesh)
    volume = _open_volume(config, scene.mesh.bounds, len(PANOROOMS3D), key)
    probes = spread_positions(scene, PROBES, config.camera_height_m, rng)
    coverage = open_coverage(mesh, probes, rng)
    camera = Pinhole.from_fov(config.frame_width, config.frame_height, config.frame_fov_deg)
    for frame, pose in _frames(config, scene, mesh, camera, coverage, rng, noise_seed(config.seed, key)):
        integrate(volume, frame, camera, pose)
    positions = panorama_cameras(scene, config.panoramas_per_room, rng)
    meta = {
        "room_type": scene.room_type,
        "objects": list(scene.object_names),
        "credits": list(scene.credits),
        "surface_seen": round(coverage.surface_seen, 4),
    }
    room = _finished(config, volume, key, PANOROOMS3D.text, meta)
    return _with_panoramas(room, [_traced(config, mesh, position, rng) for position in positions])


def _frames(
    config: RenderConfig,
    scene: Scene,
    mesh: PackedMesh,
    camera: Pinhole,
    coverage: Coverage,
    rng: np.random.Generator,
    seed: int,  # of the sensor's noise
) -> Iterator[tuple[Frame, np.ndarray]]:
    """Frames and their (4, 4) poses, each chosen by what the ones before it have seen."""
    for k, spread_pose in enumerate(camera_poses(scene, config.frames_per_room, config.camera_height_m, rng)):
        pose = coverage.choose(k, spread_pose, camera)
        frame = render_frame(mesh, camera, pose)
        measured = noisy_depth(frame.depth, camera, seed + k) if config.depth_noise == "kinect" else frame.depth
        coverage.mark(np.where(measured > 0, frame.depth, 0), camera, pose)
        yield frame._replace(depth=measured), pose


def _traced(config: RenderConfig, mesh: PackedMesh, position: np.ndarray, rng: np.random.Generator) -> Panorama:
    view = render_panorama(mesh, position, config.panorama_height, seed=int(rng.integers(2**31)))
    return Panorama(np.asarray(position, np.float64), view.rgb, view.label)


# Recorded frames


def _fuse_scan(config: RenderConfig, scan: Scan, key: RoomKey) -> Room:
    volume = _open_volume(config, scan_bounds(scan, config.max_depth_m), len(label_set(scan.labels)), key)
    positions = []
    for posed in scan.frames():
        integrate(volume, posed.frame, posed.camera, posed.pose)
        positions.append(posed.pose[:3, 3])
    meta = {"objects": [], "surface_seen": None, **scan.meta, "credits": list(scan.credits)}
    room = _finished(config, volume, key, scan.labels, meta)
    views = volume_panoramas(room, np.array(positions), config.panoramas_per_room, config.panorama_height)
    return _with_panoramas(room, views)


# A finished volume


def _passed_through(room: Room, key: RoomKey) -> Room:
    known = {"room_type": "unknown", "objects": [], "credits": [], "surface_seen": None, **room.meta}
    room = replace(room, split=key.split, meta=known)
    return room if "hit_rate" in known else _with_panoramas(room, room.panoramas)


# What they have in common


def _open_volume(config: RenderConfig, bounds: np.ndarray, classes: int, key: RoomKey) -> TsdfVolume:
    """For bounds (2, 3) in metres; raises ``UserError`` for one too large to be fused."""
    lower, upper = bounds
    sides = (upper - lower) / config.voxel_m + 1 + 2 * config.margin_voxels
    if not np.prod(sides) <= MAX_VOXELS:  # also not a number
        size = " x ".join(f"{side:.1f}" for side in upper - lower)
        raise UserError(
            f"room {key.id}: {size} m is {np.prod(sides):.3g} voxels of {config.voxel_m:g} m, expected at most "
            f"{MAX_VOXELS:.3g}; set render.voxel_m higher"
        )
    return empty_volume(lower, upper, config.voxel_m, config.truncation_voxels, config.margin_voxels, classes)


def _finished(config: RenderConfig, volume: TsdfVolume, key: RoomKey, labels: str, meta: Mapping[str, Any]) -> Room:
    tsdf, rgb, label = finish(volume)
    return Room(
        id=key.id,
        house_id=key.house_id,
        split=key.split,
        origin_m=np.asarray(volume.origin_m, np.float64),
        voxel_m=config.voxel_m,
        tsdf=tsdf,
        rgb=rgb,
        label=label,
        labels=labels,
        meta={**meta, "truncation_voxels": config.truncation_voxels},
    )


def _with_panoramas(room: Room, panoramas: Sequence[Panorama]) -> Room:
    """The room with them, and with the share of the first one's rays that meet a surface of the volume."""
    hit_rate = None
    if panoramas:
        camera_voxel = (panoramas[0].camera_m - room.origin_m) / room.voxel_m
        hit_rate = round(panorama_hits(room.tsdf, camera_voxel, len(panoramas[0].label)).hit_rate, 4)
    return replace(room, panoramas=tuple(panoramas), meta={**room.meta, "hit_rate": hit_rate})
