"""A phone's scan of a generated room: noisy depth fused at its own pitch, holes, drift; GLB, Y up, metres."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import trimesh

from roomseg.geometry.cameras import Pinhole, look_at
from roomseg.geometry.raster import pack_mesh, render_frame
from roomseg.geometry.surface import Surface, volume_surface
from roomseg.geometry.tsdf import empty_volume, finish, integrate
from roomseg.labels import PANOROOMS3D
from roomseg.scenes.generated import GeneratedSource
from roomseg.scenes.scene_room import SceneRoom
from roomseg.scenes.viewpoints import free_points

Z_TO_Y_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


def generated_room(seed: int = 5, furniture: Path | None = None, size_m: tuple[float, float] = (3.0, 4.2)) -> SceneRoom:
    source = GeneratedSource(seed, {"train": 0, "val": 0, "test": 1}, 1, ("bedroom",), size_m, furniture)
    return source.load(source.plan()[0][0])


def phone_surface(
    room: SceneRoom, pitch_m: float = 0.03, frames: int = 60, noise_m: float = 0.006, seed: int = 0
) -> tuple[Surface, np.ndarray]:
    """Metres, +Z up; and the true class of each point, 0 where none is known."""
    rng = np.random.default_rng(seed)
    mesh, camera = pack_mesh(room.mesh), Pinhole.from_fov(256, 192, 65.0)
    volume = empty_volume(*room.mesh.bounds, pitch_m, 4, 5, classes=len(PANOROOMS3D))
    eyes = free_points(room, frames, (1.2, 1.7), rng)
    for k, eye in enumerate(eyes):
        yaw, pitch = 2.4 * k, np.radians(-40 + 60 * ((k * 0.618) % 1))
        ahead = np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)])
        frame = render_frame(mesh, camera, look_at(eye, eye + ahead))
        depth = frame.depth * (1 + rng.normal(0, 0.004)) + rng.normal(0, noise_m, frame.depth.shape) * frame.depth / 2
        seen = (frame.depth > 0) & (rng.random(frame.depth.shape) > 0.05)
        integrate(
            volume, frame._replace(depth=np.where(seen, depth, 0).astype(np.float32)), camera, look_at(eye, eye + ahead)
        )
    tsdf, rgb, label = finish(volume)
    surface = volume_surface(tsdf, rgb, np.asarray(volume.origin_m), pitch_m)
    at = np.rint((surface.points - volume.origin_m) / pitch_m).astype(int)
    truth = label[tuple(np.clip(at, 0, np.array(label.shape) - 1).T)]
    jitter = rng.normal(0, 0.002, surface.points.shape)
    return replace(surface, points=surface.points + jitter), truth


def write_glb(surface: Surface, path: Path) -> None:
    """As phones write it: Y up, colours at the vertices."""
    mesh = trimesh.Trimesh(surface.points @ Z_TO_Y_UP.T, surface.faces, vertex_colors=surface.color, process=False)
    mesh.export(path)
