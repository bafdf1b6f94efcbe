"""A picture of a whole room from outside and above, near walls and ceiling cut away.

Orthographic rays march through the TSDF to its first zero crossing. The room was seen from inside only, so behind the
seen surface the volume soon turns "unseen" again, and a ray from outside meets that jump first. Walls, floor and
ceiling (the *shell*) are drawn only at true crossings, which face the inside; that opens the room towards the viewer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from roomseg.geometry.kernels import kernel

EMPTY = 127.0  # int8 TSDF that says empty or unseen
SUPERSAMPLING = 2
JUMP = 110.0  # TSDF steps a voxel: more is the edge of the unseen, a true surface has 127 / truncation_voxels
AMBIENT_REACH = (1.0, 2.0, 4.0)  # voxels along the normal at which nearness of other surfaces is looked for
SHADOW_REACH = 45.0  # voxels
MARGIN = 0.03  # of the picture, on each side


@dataclass(frozen=True)
class Camera:
    """Where the viewer stands: seen from the room's middle. 90 degrees of elevation is a map, +Y up at azimuth -90."""

    azimuth_deg: float = -58.0
    elevation_deg: float = 38.0

    @property
    def axes(self) -> np.ndarray:  # (3, 3): rows right, up, towards the viewer
        azimuth, elevation = math.radians(self.azimuth_deg), math.radians(self.elevation_deg)
        flat = math.cos(elevation)
        right = np.array([-math.sin(azimuth), math.cos(azimuth), 0.0])
        back = np.array([flat * math.cos(azimuth), flat * math.sin(azimuth), math.sin(elevation)])
        return np.stack([right, np.cross(back, right), back])


@dataclass(frozen=True)
class Traced:
    """What each sub-pixel shows; any number of colour volumes can be painted on it."""

    point: np.ndarray  # (h * S, w * S, 3) float32, voxel coordinates, -1 where the background shows
    shade: np.ndarray  # (h * S, w * S) float32, 0..1


def trace(
    tsdf: np.ndarray,  # (X, Y, Z) int8
    shell: np.ndarray,  # (X, Y, Z) bool: voxels of walls, floor and ceiling
    camera: Camera,
    size: tuple[int, int],  # height, width
) -> Traced:
    """The visible surface, framed to fill the picture."""
    axes = camera.axes
    height, width = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
    centre, voxels_per_pixel = _framing(tsdf, axes, (height, width))
    light = np.array([-0.55, 0.85, 0.85]) @ axes  # from the upper left, over the viewer's shoulder
    point = np.full((height, width, 3), -1, np.float32)
    shade = np.zeros((height, width), np.float32)
    reach = float(np.linalg.norm(tsdf.shape))
    _trace(tsdf, shell, axes, light / np.linalg.norm(light), centre, voxels_per_pixel, reach, point, shade)
    return Traced(point, shade)


def best_camera(tsdf: np.ndarray, shell: np.ndarray) -> Camera:
    """Of four corners, the one from which the most voxels of the furniture are in sight."""
    cameras = [Camera(Camera.azimuth_deg + 90.0 * quarter) for quarter in range(4)]
    return max(cameras, key=lambda camera: _furniture_in_sight(tsdf, shell, camera))


def _furniture_in_sight(tsdf: np.ndarray, shell: np.ndarray, camera: Camera) -> int:
    point = trace(tsdf, shell, camera, (60, 80)).point
    i, j, k = np.round(point[point[..., 0] >= 0]).astype(int).T
    true_front = (np.abs(tsdf[i, j, k]) < JUMP / 2) & ~shell[i, j, k]  # hollow backs do not count
    return len(np.unique(np.ravel_multi_index((i[true_front], j[true_front], k[true_front]), tsdf.shape)))


def paint(
    traced: Traced,
    tsdf: np.ndarray,  # (X, Y, Z) int8
    color: np.ndarray,  # (X, Y, Z, 3) uint8
    blend: bool,
) -> np.ndarray:  # (h, w, 4) uint8, transparent background
    """A colour volume on a traced surface; ``blend`` mixes neighbouring voxels, which suits colours but not classes."""
    height, width = traced.shade.shape
    fine = np.zeros((height, width, 4), np.float32)
    _paint(traced.point, traced.shade, tsdf, color, blend, fine)
    s = SUPERSAMPLING
    image = fine.reshape(height // s, s, width // s, s, 4).mean(axis=(1, 3))  # premultiplied by alpha
    alpha = image[..., 3:]
    image[..., :3] /= np.maximum(alpha, 1e-6)
    image[..., 3:] *= 255
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def _framing(tsdf: np.ndarray, axes: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """The middle of the surface as the viewer sees it, in voxels, and voxels a pixel so that all of it fits."""
    near = np.argwhere(np.abs(tsdf) <= 32)
    if len(near) == 0:
        near = np.array([[0, 0, 0], tsdf.shape])
    seen = near @ axes[:2].T  # (N, 2) right, up
    low, high = seen.min(axis=0), seen.max(axis=0)
    extent = np.maximum(high - low, 1.0) / (1 - 2 * MARGIN)
    middle = (low + high) / 2
    depth = near.mean(axis=0) @ axes[2]
    return np.array([middle[0], middle[1], depth]) @ axes, float(max(extent[0] / size[1], extent[1] / size[0]))


@kernel
def _sample(tsdf: np.ndarray, x: float, y: float, z: float) -> float:
    """Trilinear TSDF in int8 steps; empty outside."""
    nx, ny, nz = tsdf.shape
    if x < 0 or y < 0 or z < 0 or x >= nx - 1 or y >= ny - 1 or z >= nz - 1:
        return EMPTY
    i, j, k = int(x), int(y), int(z)
    fx, fy, fz = x - i, y - j, z - k
    near = tsdf[i, j, k] * (1 - fz) + tsdf[i, j, k + 1] * fz
    side = tsdf[i, j + 1, k] * (1 - fz) + tsdf[i, j + 1, k + 1] * fz
    low = near * (1 - fy) + side * fy
    near = tsdf[i + 1, j, k] * (1 - fz) + tsdf[i + 1, j, k + 1] * fz
    side = tsdf[i + 1, j + 1, k] * (1 - fz) + tsdf[i + 1, j + 1, k + 1] * fz
    return low * (1 - fx) + (near * (1 - fy) + side * fy) * fx


@kernel
def _nearest_filled(tsdf: np.ndarray, x: float, y: float, z: float) -> tuple[int, int, int]:
    """Of the eight voxels around a point, the filled one that is nearest, the surface's own before deeper ones."""
    i, j, k = int(x), int(y), int(z)
    best, bi, bj, bk = -1.0, i, j, k
    for corner in range(8):
        a, b, c = i + (corner >> 2), j + ((corner >> 1) & 1), k + (corner & 1)
        weight = (1 - abs(x - a)) * (1 - abs(y - b)) * (1 - abs(z - c))
        if tsdf[a, b, c] < EMPTY and weight > best:
            best, bi, bj, bk = weight, a, b, c
    return bi, bj, bk


@kernel
def _gradient(tsdf: np.ndarray, x: float, y: float, z: float, h: float) -> tuple[float, float, float]:
    """Central differences, TSDF steps a voxel."""
    gx = _sample(tsdf, x + h, y, z) - _sample(tsdf, x - h, y, z)
    gy = _sample(tsdf, x, y + h, z) - _sample(tsdf, x, y - h, z)
    gz = _sample(tsdf, x, y, z + h) - _sample(tsdf, x, y, z - h)
    return gx / (2 * h), gy / (2 * h), gz / (2 * h)


@kernel
def _march(
    tsdf: np.ndarray,
    start: np.ndarray,  # (3,)
    direction: np.ndarray,  # (3,)
    reach: float,
    inside: bool,  # the start lies in the room
    hit: np.ndarray,  # (3,) out
) -> int:
    """SURFACE: the first true crossing from free to solid once in the room; SKIN: only edges of the unseen; NOTHING."""
    t, before, t_before, found = 0.0, EMPTY, 0.0, NOTHING
    point = np.empty(3)
    while t < reach:
        value = _sample(tsdf, start[0] + t * direction[0], start[1] + t * direction[1], start[2] + t * direction[2])
        if value <= 0 < before:
            _bisect(tsdf, start, direction, t_before, t, point)
            gx, gy, gz = _gradient(tsdf, point[0], point[1], point[2], 0.5)
            if math.sqrt(gx * gx + gy * gy + gz * gz) >= JUMP:
                if found == NOTHING:
                    hit[:] = point
                found = SKIN
            elif inside or found == SKIN:
                hit[:] = point
                return SURFACE
        before, t_before = value, t
        t += max(0.5, STRIDE * value / EMPTY)
    return found


@kernel
def _bisect(
    tsdf: np.ndarray, start: np.ndarray, direction: np.ndarray, low: float, high: float, point: np.ndarray
) -> None:
    """The zero crossing between two distances along a ray."""
    for _ in range(7):
        middle = (low + high) / 2
        point[:] = start + middle * direction
        if _sample(tsdf, point[0], point[1], point[2]) > 0:
            low = middle
        else:
            high = middle


@kernel
def _open_sky(tsdf: np.ndarray, hit: np.ndarray, normal: np.ndarray, slope: float) -> float:
    """1 in the open, less in corners: how much nearer the next surface is than a lone plane would be."""
    shade = 1.0
    for reach in AMBIENT_REACH:
        free = _sample(tsdf, hit[0] + reach * normal[0], hit[1] + reach * normal[1], hit[2] + reach * normal[2])
        expected = min(slope * reach, EMPTY)
        shade -= 0.11 * min(1.0, max(0.0, 1 - free / expected))
    return shade


@kernel
def _shade(
    tsdf: np.ndarray, shell: np.ndarray, hit: np.ndarray, back: np.ndarray, light: np.ndarray, other: np.ndarray
) -> float:
    """Brightness of a surface point, 0..1: a key light with shadows of the furniture, sky light, corners darker."""
    gx, gy, gz = _gradient(tsdf, hit[0], hit[1], hit[2], 1.0)
    slope = math.sqrt(gx * gx + gy * gy + gz * gz) + 1e-6
    normal = np.array([gx, gy, gz]) / slope
    if np.dot(normal, back) < 0:
        normal = back
    lit = max(0.0, np.dot(normal, light))
    if lit > 0 and _march(tsdf, shell, hit + 2.0 * normal + 0.5 * back, light, SHADOW_REACH, False, other):
        lit *= 0.45
    sky = 0.5 + 0.5 * normal[2]
    return (0.56 + 0.12 * sky + 0.38 * lit) * _open_sky(tsdf, hit, normal, min(slope, 32.0))


@kernel
def _trace(
    tsdf: np.ndarray,
    shell: np.ndarray,
    axes: np.ndarray,  # (3, 3) right, up, towards the viewer
    light: np.ndarray,  # (3,) towards the light
    centre: np.ndarray,  # (3,) voxels
    voxels_per_pixel: float,
    reach: float,  # voxels
    point: np.ndarray,  # (h, w, 3) out
    shade: np.ndarray,  # (h, w) out
) -> None:
    height, width = shade.shape
    hit, other = np.empty(3), np.empty(3)
    for row in range(height):
        for column in range(width):
            right = (column + 0.5 - width / 2) * voxels_per_pixel
            up = (height / 2 - row - 0.5) * voxels_per_pixel
            start = centre + right * axes[0] + up * axes[1] + reach * axes[2]
            if _march(tsdf, shell, start, -axes[2], 2 * reach, True, hit):
                point[row, column] = hit
                shade[row, column] = min(1.0, _shade(tsdf, shell, hit, axes[2], light, other))


@kernel
def _paint(
    point: np.ndarray, shade: np.ndarray, tsdf: np.ndarray, color: np.ndarray, blend: bool, image: np.ndarray
) -> None:
    height, width = shade.shape
    for row in range(height):
        for column in range(width):
            x, y, z = point[row, column]
            if x < 0:
                continue
            i, j, k = _nearest_filled(tsdf, x, y, z)
            total = 1e-6
            if not blend:
                x, y, z = float(i), float(j), float(k)
            i, j, k = min(int(x), tsdf.shape[0] - 2), min(int(y), tsdf.shape[1] - 2), min(int(z), tsdf.shape[2] - 2)
            for corner in range(8):
                a, b, c = i + (corner >> 2), j + ((corner >> 1) & 1), k + (corner & 1)
                weight = (1 - abs(x - a)) * (1 - abs(y - b)) * (1 - abs(z - c))
                if tsdf[a, b, c] < EMPTY and weight > 0:
                    total += weight
                    for channel in range(3):
                        image[row, column, channel] += weight * color[a, b, c, channel]
            for channel in range(3):
                image[row, column, channel] *= shade[row, column] / total
            image[row, column, 3] = 1
