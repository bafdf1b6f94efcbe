"""A picture of a whole room from outside and above, near walls and ceiling cut away.

Orthographic rays march through the TSDF. The room was seen from inside only, so behind the seen surface the volume
soon turns "unseen" again, and a ray from outside meets that *skin* first: a jump instead of a slope. It passes the
skin of walls and ceiling, and the first true surface after it, which faces the inside, is drawn: the near side of the
room opens by itself. Of furniture any side is drawn, so that what stands at a near wall has a back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from roomseg.geometry.cpu_math import run_tasks
from roomseg.geometry.kernels import kernel

EMPTY = 127.0  # int8 TSDF that says empty or unseen
SUPERSAMPLING = 2
NOTHING, SKIN, SURFACE = 0, 1, 2  # what a ray ends at
SKIN_GREY, SKIN_ALPHA = 128.0, 0.22  # of solids whose inside was never seen: a veil on any background
STRIDE = 3.0  # voxels that a ray goes on in empty space; a skin is thicker
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

    kind: np.ndarray  # (h * S, w * S) uint8: NOTHING, SKIN or SURFACE
    point: np.ndarray  # (h * S, w * S, 3) float32, voxel coordinates
    shade: np.ndarray  # (h * S, w * S) float32, 0..1


def trace(
    tsdf: np.ndarray,  # (X, Y, Z) int8
    furniture: np.ndarray,  # (X, Y, Z) bool: see the module's text; it alone casts shadows
    camera: Camera,
    size: tuple[int, int],  # height, width
) -> Traced:
    """The visible surface, framed to fill the picture."""
    axes = camera.axes
    height, width = size[0] * SUPERSAMPLING, size[1] * SUPERSAMPLING
    centre, voxels_per_pixel = _framing(tsdf, axes, (height, width))
    light = np.array([-0.55, 0.85, 0.85]) @ axes  # from the upper left, over the viewer's shoulder
    light /= np.linalg.norm(light)
    kind = np.zeros((height, width), np.uint8)
    point = np.zeros((height, width, 3), np.float32)
    shade = np.ones((height, width), np.float32)
    run_tasks(_trace, height, tsdf, furniture, axes, light, centre, voxels_per_pixel, kind, point, shade)
    return Traced(kind, point, shade)


def best_camera(tsdf: np.ndarray, furniture: np.ndarray) -> Camera:
    """Of four corners, the one from which the most voxels of the furniture are in sight."""
    cameras = [Camera(Camera.azimuth_deg + 90.0 * quarter) for quarter in range(4)]
    return max(cameras, key=lambda camera: _furniture_in_sight(tsdf, furniture, camera))


def _furniture_in_sight(tsdf: np.ndarray, furniture: np.ndarray, camera: Camera) -> int:
    traced = trace(tsdf, furniture, camera, (60, 80))
    i, j, k = np.round(traced.point[traced.kind == SURFACE]).astype(int).T
    seen = np.zeros(tsdf.shape, bool)
    seen[i, j, k] = True
    return int((seen & furniture & (np.abs(tsdf) < JUMP / 2)).sum())  # hollow backs do not count


def paint(
    traced: Traced,
    tsdf: np.ndarray,  # (X, Y, Z) int8
    color: np.ndarray,  # (X, Y, Z, 3) uint8
    blend: bool,
) -> np.ndarray:  # (h, w, 4) uint8, transparent background
    """A colour volume on a traced surface; ``blend`` mixes neighbouring voxels, which suits colours but not classes."""
    height, width = traced.shade.shape
    fine = np.zeros((height, width, 4), np.float32)
    shade = np.sqrt(traced.shade) if blend else traced.shade  # colours, unlike classes, hold light already
    _paint(traced.kind, traced.point, shade, tsdf, color, blend, fine)
    s = SUPERSAMPLING
    image = fine.reshape(height // s, s, width // s, s, 4).mean(axis=(1, 3))  # premultiplied by alpha
    alpha = image[..., 3:]
    image[..., :3] /= np.maximum(alpha, 1e-6)
    image[..., 3:] *= 255
    return np.clip(image + 0.5, 0, 255).astype(np.uint8)


def _framing(tsdf: np.ndarray, axes: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """The middle of the surface as the viewer sees it, in voxels, and voxels a pixel so that all of it fits."""
    filled = tsdf < EMPTY
    x, y = np.nonzero(filled.any(axis=2))
    if len(x) == 0:
        return np.array(tsdf.shape) / 2, 1.0
    columns = filled[x, y]  # (N, Z); only the ends of a column can lie at the edge of the picture
    bottom, top = columns.argmax(axis=1), tsdf.shape[2] - 1 - columns[:, ::-1].argmax(axis=1)
    ends = np.concatenate([np.stack([x, y, bottom], axis=1), np.stack([x, y, top], axis=1)])
    seen = ends @ axes[:2].T  # (2 N, 2) right, up
    low, high = seen.min(axis=0), seen.max(axis=0)
    extent = np.maximum(high - low, 1.0) / (1 - 2 * MARGIN)
    middle = (low + high) / 2
    depth = np.array(tsdf.shape) / 2 @ axes[2]
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
def _cell(tsdf: np.ndarray, x: float, y: float, z: float) -> tuple[int, int, int]:
    """The lowest of the eight voxels around a point, for one on the upper border too."""
    nx, ny, nz = tsdf.shape
    return min(int(x), nx - 2), min(int(y), ny - 2), min(int(z), nz - 2)


@kernel
def _nearest_filled(tsdf: np.ndarray, x: float, y: float, z: float) -> tuple[int, int, int]:
    """Of the eight voxels around a point, the filled one that is nearest."""
    i, j, k = _cell(tsdf, x, y, z)
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
def _is_furniture(tsdf: np.ndarray, furniture: np.ndarray, point: np.ndarray) -> bool:
    i, j, k = _nearest_filled(tsdf, point[0], point[1], point[2])
    return furniture[i, j, k]


@kernel
def _is_true_surface(tsdf: np.ndarray, point: np.ndarray) -> bool:
    """A slope, not the jump at the edge of the unseen."""
    gx, gy, gz = _gradient(tsdf, point[0], point[1], point[2], 0.5)
    return math.sqrt(gx * gx + gy * gy + gz * gz) < JUMP


@kernel
def _march(
    tsdf: np.ndarray,
    furniture: np.ndarray,
    start: np.ndarray,  # (3,)
    direction: np.ndarray,  # (3,)
    reach: float,
    inside: bool,  # the start lies in the room
    hit: np.ndarray,  # (3,) out
) -> int:
    """What is to be drawn first on a ray's way: SURFACE, with its place in ``hit``, only SKIN, or NOTHING."""
    enter, leave = _within(tsdf, start, direction)
    t, before, t_before, found = max(0.0, math.floor(enter / STRIDE) * STRIDE), EMPTY, 0.0, NOTHING
    point = np.empty(3)
    while t < min(reach, leave):
        value = _sample(tsdf, start[0] + t * direction[0], start[1] + t * direction[1], start[2] + t * direction[2])
        if value <= 0 < before:
            _bisect(tsdf, start, direction, t_before, t, point)
            opened = (inside or found == SKIN) and _is_true_surface(tsdf, point)
            if opened or _is_furniture(tsdf, furniture, point):
                hit[:] = point
                return SURFACE
            found = SKIN
        before, t_before = value, t
        t += max(0.5, STRIDE * value / EMPTY)
    return found


@kernel
def _within(tsdf: np.ndarray, start: np.ndarray, direction: np.ndarray) -> tuple[float, float]:
    """The distances at which a ray comes into the volume and leaves it; the first is the larger if it never does."""
    enter, leave = -math.inf, math.inf
    for axis in range(3):
        last = tsdf.shape[axis] - 1
        if direction[axis] == 0:
            if not 0 <= start[axis] < last:
                return math.inf, -math.inf
            continue
        low, high = -start[axis] / direction[axis], (last - start[axis]) / direction[axis]
        enter, leave = max(enter, min(low, high)), min(leave, max(low, high))
    return enter, leave


@kernel
def _along(start: np.ndarray, distance: float, direction: np.ndarray, point: np.ndarray) -> None:
    for axis in range(3):
        point[axis] = start[axis] + distance * direction[axis]


@kernel
def _bisect(
    tsdf: np.ndarray, start: np.ndarray, direction: np.ndarray, low: float, high: float, point: np.ndarray
) -> None:
    """The zero crossing between two distances along a ray, on its solid side, which lies in the volume."""
    for _ in range(7):
        middle = (low + high) / 2
        _along(start, middle, direction, point)
        if _sample(tsdf, point[0], point[1], point[2]) > 0:
            low = middle
        else:
            high = middle
    _along(start, high, direction, point)


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
    tsdf: np.ndarray, furniture: np.ndarray, hit: np.ndarray, back: np.ndarray, light: np.ndarray, other: np.ndarray
) -> float:
    """Brightness of a surface point, 0..1: a key light with shadows of the furniture, sky light, corners darker."""
    gx, gy, gz = _gradient(tsdf, hit[0], hit[1], hit[2], 1.0)
    slope = math.sqrt(gx * gx + gy * gy + gz * gz) + 1e-6
    normal = np.array([gx, gy, gz]) / slope
    if np.dot(normal, back) < 0:
        normal = back
    lit = max(0.0, np.dot(normal, light))
    start = hit + 2.0 * normal + 0.5 * back
    blocked = lit > 0 and _march(tsdf, furniture, start, light, SHADOW_REACH, True, other) == SURFACE
    if blocked and _is_furniture(tsdf, furniture, other):
        lit *= 0.45
    sky = 0.5 + 0.5 * normal[2]
    return (0.56 + 0.12 * sky + 0.40 * lit) * _open_sky(tsdf, hit, normal, min(slope, 32.0))


@kernel
def _trace(
    first: int,  # row
    end: int,  # one past the last
    tsdf: np.ndarray,
    furniture: np.ndarray,
    axes: np.ndarray,  # (3, 3) right, up, towards the viewer
    light: np.ndarray,  # (3,) towards the light
    centre: np.ndarray,  # (3,) voxels
    voxels_per_pixel: float,
    kind: np.ndarray,  # (h, w) out
    point: np.ndarray,  # (h, w, 3) out
    shade: np.ndarray,  # (h, w) out
) -> None:
    height, width = kind.shape
    reach = math.sqrt(tsdf.shape[0] ** 2 + tsdf.shape[1] ** 2 + tsdf.shape[2] ** 2)
    hit, other = np.empty(3), np.empty(3)
    for row in range(first, end):
        for column in range(width):
            right = (column + 0.5 - width / 2) * voxels_per_pixel
            up = (height / 2 - row - 0.5) * voxels_per_pixel
            start = centre + right * axes[0] + up * axes[1] + reach * axes[2]
            kind[row, column] = _march(tsdf, furniture, start, -axes[2], 2 * reach, False, hit)
            if kind[row, column] == SURFACE:
                point[row, column] = hit
                shade[row, column] = min(1.0, _shade(tsdf, furniture, hit, axes[2], light, other))


@kernel
def _mix(tsdf: np.ndarray, color: np.ndarray, point: np.ndarray, blend: bool, pixel: np.ndarray) -> None:
    """The colour at a point: of the nearest voxel, or of all filled ones around it."""
    x, y, z = point
    if not blend:
        i, j, k = _nearest_filled(tsdf, x, y, z)
        for channel in range(3):
            pixel[channel] = color[i, j, k, channel]
        return
    total = 1e-6
    i, j, k = _cell(tsdf, x, y, z)
    for corner in range(8):
        a, b, c = i + (corner >> 2), j + ((corner >> 1) & 1), k + (corner & 1)
        if tsdf[a, b, c] < EMPTY:
            weight = (1 - abs(x - a)) * (1 - abs(y - b)) * (1 - abs(z - c))
            total += weight
            for channel in range(3):
                pixel[channel] += weight * color[a, b, c, channel]
    pixel[:3] /= total


@kernel
def _paint(
    kind: np.ndarray,
    point: np.ndarray,
    shade: np.ndarray,
    tsdf: np.ndarray,
    color: np.ndarray,
    blend: bool,
    image: np.ndarray,  # (h, w, 4) out, zeros
) -> None:
    height, width = kind.shape
    for row in range(height):
        for column in range(width):
            pixel = image[row, column]
            if kind[row, column] == SKIN:
                pixel[:3] = SKIN_GREY * SKIN_ALPHA
                pixel[3] = SKIN_ALPHA
            elif kind[row, column] == SURFACE:
                _mix(tsdf, color, point[row, column], blend, pixel)
                pixel[:3] *= shade[row, column]
                pixel[3] = 1
