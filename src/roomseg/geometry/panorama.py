"""Panoramas of a room, ray-traced with Embree and lit so that a 2D teacher sees pictures and not flat colours.

Light: one lamp under the ceiling in the middle of what the camera sees, with soft shadows, and ambient light that
corners keep out (ambient occlusion). Both are sampled at a quarter of the pixels and spread along smooth surfaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh as EmbreeMesh

from roomseg.geometry.equirect import directions
from roomseg.geometry.kernels import inlined_kernel, kernel
from roomseg.geometry.mesh import TriangleMesh
from roomseg.geometry.packed import PackedMesh, pack_mesh
from roomseg.geometry.texture import surface_color

AMBIENT = 0.3  # linear light where nothing occludes
LAMP = 1.2  # linear light at the lamp, facing it
EXPOSURE = 1.8  # of the film: 1 - exp(-exposure x light), so that nothing is burnt out
LAMP_HALF_M = 2.5  # distance at which the lamp's light has fallen to a half
LAMP_RADIUS_M = 0.15  # gives shadows a soft border
LAMP_BELOW_CEILING_M = 0.3
OCCLUSION_RAYS = 6
OCCLUSION_REACH_M = 1.2
SPREAD = 3  # samples to each side that are averaged
GAMMA = 1 / 2.2


@dataclass(frozen=True)
class PanoramaView:
    rgb: np.ndarray  # (H, 2H, 3) uint8, 0 where nothing is
    label: np.ndarray  # (H, 2H) uint8, 0 where nothing is
    depth: np.ndarray  # (H, 2H) float32, metres along the ray, 0 = none


@dataclass(frozen=True)
class _Surface:
    """What each primary ray meets; rows and columns are the panorama's."""

    face: np.ndarray  # (H, 2H) int32, -1 = none
    depth: np.ndarray  # (H, 2H) float32
    point: np.ndarray  # (H, 2H, 3) float32
    normal: np.ndarray  # (H, 2H, 3) float32, towards the camera


def _scene(mesh: PackedMesh) -> rtcore_scene.EmbreeScene:
    scene = rtcore_scene.EmbreeScene(robust=True)  # robust: no ray slips between two faces
    EmbreeMesh(scene, mesh.vertices, mesh.faces)
    return scene


def _free(
    scene: rtcore_scene.EmbreeScene,
    origin: np.ndarray,  # (N, 3)
    direction: np.ndarray,  # (N, 3), unit
    reach_m: np.ndarray,  # (N,)
) -> np.ndarray:  # (N,) bool
    """Whether nothing lies on the first ``reach_m`` of each ray."""
    arrays = [np.ascontiguousarray(a, np.float32) for a in (origin, direction, reach_m)]
    return scene.run(arrays[0], arrays[1], dists=arrays[2], query="OCCLUDED") < 0


def _primary(scene: rtcore_scene.EmbreeScene, mesh: PackedMesh, camera_m: np.ndarray, height: int) -> _Surface:
    ray = directions(height)
    size = ray.shape[:2]
    flat = ray.reshape(-1, 3)
    hit = scene.run(np.tile(camera_m.astype(np.float32), (len(flat), 1)), flat, output=1)
    face = hit["primID"].reshape(size)
    depth = np.where(face >= 0, hit["tfar"].reshape(size), np.float32(0))
    normal = np.where(face[..., None] >= 0, mesh.surfaces["normal"][face], np.float32(0))
    away = np.einsum("hwc,hwc->hw", normal, ray) > 0
    normal[away] *= -1
    return _Surface(
        face=face,
        depth=depth,
        point=camera_m.astype(np.float32) + ray * depth[..., None],
        normal=normal,
    )


def _lamp_position(scene: rtcore_scene.EmbreeScene, surface: _Surface, camera_m: np.ndarray) -> np.ndarray:  # (3,)
    """Under the ceiling, over the middle of what the camera sees at its own height, or else over the camera."""
    horizon = len(surface.face) // 2
    ring = surface.point[horizon][surface.face[horizon] >= 0]
    lamps = [camera_m]
    if len(ring):
        middle = (np.percentile(ring, 5, axis=0) + np.percentile(ring, 95, axis=0)) / 2
        lamps.insert(0, np.array([middle[0], middle[1], camera_m[2]]))
    below = np.array(lamps, np.float32)
    up = np.tile(np.array([0, 0, 1], np.float32), (len(lamps), 1))
    hit = scene.run(below, up, output=1)
    ceiling = np.where(hit["primID"] >= 0, hit["tfar"], 1.0)
    below[:, 2] += np.maximum(ceiling - LAMP_BELOW_CEILING_M, 0.5 * ceiling)
    way = below - camera_m.astype(np.float32)
    distance = np.linalg.norm(way, axis=1)
    seen = _free(scene, np.tile(camera_m, (len(lamps), 1)), way / np.maximum(distance, 1e-6)[:, None], distance)
    return below[0] if seen[0] else below[-1]


def _on_sphere(rng: np.random.Generator, n: int) -> np.ndarray:  # (n, 3) float32, uniform unit vectors
    z, angle = 2 * rng.random(n, np.float32) - 1, np.float32(2 * np.pi) * rng.random(n, np.float32)
    ring = np.sqrt(np.maximum(1 - z * z, 0))
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=-1)


def _sampled_light(
    scene: rtcore_scene.EmbreeScene,
    start: np.ndarray,  # (N, 3), a little off the surface
    normal: np.ndarray,  # (N, 3)
    lamp: np.ndarray,  # (3,)
    rng: np.random.Generator,
) -> np.ndarray:  # (N, 2) float32: share of free ambient rays, 1 where a point of the lamp is seen
    n = len(start)
    toward = np.repeat(normal, OCCLUSION_RAYS, axis=0) * 1.001 + _on_sphere(rng, n * OCCLUSION_RAYS)  # cosine-weighted
    toward /= np.linalg.norm(toward, axis=1, keepdims=True)
    reach = np.full(len(toward), OCCLUSION_REACH_M, np.float32)
    ambient = _free(scene, np.repeat(start, OCCLUSION_RAYS, axis=0), toward, reach)
    way = lamp + np.float32(LAMP_RADIUS_M) * _on_sphere(rng, n) - start
    distance = np.maximum(np.linalg.norm(way, axis=1), 1e-6)
    lit = _free(scene, start, way / distance[:, None], distance)
    return np.stack([ambient.reshape(n, OCCLUSION_RAYS).mean(axis=1), lit], axis=-1).astype(np.float32)


class _Places(NamedTuple):
    """Where pixels lie, to tell which of them are of one smooth surface."""

    depth: np.ndarray  # (H, W) float32, 0 = nothing is there
    point: np.ndarray  # (H, W, 3) float32
    normal: np.ndarray  # (H, W, 3) float32


@inlined_kernel
def _continues(places: _Places, row: int, col: int, others: _Places, a: int, b: int) -> np.bool:
    """Whether the place (a, b) of the others is on the surface of (row, col): a similar normal, near its plane."""
    n, p, m, q = places.normal[row, col], places.point[row, col], others.normal[a, b], others.point[a, b]
    near = np.float32(0.01) + np.float32(0.01) * places.depth[row, col]
    off_plane = n[0] * (q[0] - p[0]) + n[1] * (q[1] - p[1]) + n[2] * (q[2] - p[2])
    return (abs(off_plane) < near) & (n[0] * m[0] + n[1] * m[1] + n[2] * m[2] > np.float32(0.9))


@kernel
def _sums_along(sums: np.ndarray, places: _Places, down: int, right: int) -> np.ndarray:  # (h, w, 3) -> (h, w, 3)
    """Of each place and its neighbours to both sides, those of one surface added up; columns wrap around."""
    height, width = places.depth.shape
    out = np.zeros_like(sums)
    for row in range(height):
        for col in range(width):
            if places.depth[row, col] == 0:
                continue
            for shift in range(-SPREAD, SPREAD + 1):
                a, b = row + shift * down, (col + shift * right + width) % width
                if 0 <= a < height and _continues(places, row, col, places, a, b):
                    for k in range(3):
                        out[row, col, k] += sums[a, b, k]
    return out


@kernel
def _means(
    sums: np.ndarray,  # (H/2, H, 3) count and two sums
    sample: np.ndarray,  # (H/2, H, 2)
    coarse: _Places,
    fine: _Places,
) -> np.ndarray:  # (H, 2H, 2)
    """For each pixel the means of the four samples nearest to it, as far as they are of its surface."""
    height, width = fine.depth.shape
    out = np.zeros((height, width, 2), np.float32)
    for row in range(height):
        for col in range(width):
            if fine.depth[row, col] == 0:
                continue
            count, first, second = np.float32(0), np.float32(0), np.float32(0)
            for down in range(2):
                for right in range(2):
                    a, b = min((row + down) // 2, height // 2 - 1), ((col + right) // 2) % (width // 2)
                    if _continues(fine, row, col, coarse, a, b):
                        count, first, second = count + sums[a, b, 0], first + sums[a, b, 1], second + sums[a, b, 2]
            if count == 0:  # a thin thing between the samples
                count, first, second = np.float32(1), sample[row // 2, col // 2, 0], sample[row // 2, col // 2, 1]
            out[row, col, 0], out[row, col, 1] = first / count, second / count
    return out


def _spread(sample: np.ndarray, surface: _Surface) -> np.ndarray:  # (H/2, H, 2), every second pixel -> (H, 2H, 2)
    """Means of the samples around each pixel that lie on its surface: first along rows, then along columns."""
    planes = (surface.depth, surface.point, surface.normal)
    fine, coarse = _Places(*planes), _Places(*(np.ascontiguousarray(plane[::2, ::2]) for plane in planes))
    counted = np.concatenate([np.ones_like(sample[..., :1]), sample], axis=-1)
    sums = _sums_along(_sums_along(counted, coarse, 0, 1), coarse, 1, 0)
    return _means(sums, sample, coarse, fine)


def _light(
    scene: rtcore_scene.EmbreeScene, surface: _Surface, camera_m: np.ndarray, seed: int
) -> np.ndarray:  # (H, 2H)
    """Linear light on each pixel's surface, about 0..1."""
    lamp = _lamp_position(scene, surface, camera_m)
    lift = (0.001 + 1e-4 * surface.depth)[::2, ::2, None]  # single precision: off the surface, to the viewer's side
    start = surface.point[::2, ::2] + surface.normal[::2, ::2] * lift  # (H/2, H, 3)
    rng = np.random.default_rng(seed)
    sample = _sampled_light(scene, start.reshape(-1, 3), surface.normal[::2, ::2].reshape(-1, 3), lamp, rng)
    free = _spread(sample.reshape(*start.shape[:2], 2), surface)
    way = lamp - surface.point
    square = np.maximum(np.einsum("hwc,hwc->hw", way, way), 1e-6)
    facing = np.maximum(np.einsum("hwc,hwc->hw", way, surface.normal), 0) / np.sqrt(square)
    return AMBIENT * free[..., 0] + LAMP * free[..., 1] * facing / (1 + square / LAMP_HALF_M**2)


@kernel
def _paint(
    mesh: PackedMesh,
    face: np.ndarray,  # (H, 2H), as the next three
    point: np.ndarray,
    footprint_m: np.ndarray,
    brightness: np.ndarray,
    rgb: np.ndarray,  # (H, 2H, 3) out
) -> None:
    for row in range(face.shape[0]):
        for col in range(face.shape[1]):
            if face[row, col] >= 0:
                surface, footprint = mesh.surfaces[face[row, col]], footprint_m[row, col]
                color = surface_color(mesh.texels, mesh.levels, surface, point[row, col], footprint)
                for channel in range(3):
                    rgb[row, col, channel] = np.uint8(color[channel] * brightness[row, col] + np.float32(0.5))


def render_panorama(mesh: TriangleMesh | PackedMesh, camera_m: np.ndarray, height: int, seed: int) -> PanoramaView:
    """The (H, 2H) panorama seen from ``camera_m`` (3,); ``height`` is even. The seed decides the grain of the shadows.

    Light adds up linearly and colours are sRGB: what multiplies a colour is the exposed light to the gamma power.
    """
    assert height % 2 == 0, f"panorama height is {height}; expected an even number"
    packed = mesh if isinstance(mesh, PackedMesh) else pack_mesh(mesh)
    camera = np.asarray(camera_m, np.float64)
    scene = _scene(packed)
    surface = _primary(scene, packed, camera, height)
    light = _light(scene, surface, camera, seed)
    brightness = np.power(1 - np.exp(-EXPOSURE * light), GAMMA, dtype=np.float32)
    facing = np.abs(np.einsum("hwc,hwc->hw", surface.normal, directions(height)))
    footprint_m = surface.depth * np.float32(np.pi / height) / np.sqrt(np.maximum(facing, 0.05))
    rgb = np.zeros((*surface.face.shape, 3), np.uint8)
    _paint(packed, surface.face, surface.point, footprint_m, brightness, rgb)
    label = np.where(surface.face >= 0, packed.surfaces["label"][surface.face], 0).astype(np.uint8)
    return PanoramaView(rgb, label, surface.depth)
