"""Which voxel does each pixel of a panorama see? Ray casting through a trilinear TSDF (the paper, section 3.3).

Instead of sphere tracing, which may step over thin furniture since a fused distance is only projective, a ray visits
the cells on its way one after the other (Amanatides and Woo 1987). Only a cell with a corner behind a surface can hold
a crossing: there the ray is sampled finely, and the first change from + to - is refined by bisection.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from roomseg.errors import UserError
from roomseg.geometry.equirect import directions
from roomseg.geometry.kernels import inlined_kernel, kernel

Cell = tuple[int, int, int]  # its lowest voxel; also the shape of a volume
Vector = tuple[float, float, float]

SAMPLES_PER_CELL = 4
BISECTIONS = 12  # of a quarter of a cell: 1e-4 voxels
FAR = 1e30


@dataclass(frozen=True)
class HitMap:
    voxel: np.ndarray  # (H, 2H) int32, flat C-order index of the nearest voxel of the surface, -1 = none
    depth_voxels: np.ndarray  # (H, 2H) float32, distance from the camera to the surface, 0 = none

    @property
    def hit_rate(self) -> float:
        """The share of pixels that see a surface."""
        return float((self.voxel >= 0).mean())

    def positions(self, camera_voxel: np.ndarray) -> np.ndarray:  # (H, 2H, 3) float32, voxels
        """The points seen from the camera that the map was made for; the camera itself where there is none."""
        rays = directions(len(self.voxel)) * self.depth_voxels[..., None]
        return rays + np.asarray(camera_voxel, np.float32)


@inlined_kernel
def _trilinear(tsdf: np.ndarray, cell: Cell, camera: Vector, ray: Vector, t: float) -> float:
    """The TSDF at camera + t ray, which lies in ``cell`` but for rounding."""
    i, j, k = cell
    x = min(1.0, max(0.0, camera[0] + t * ray[0] - i))
    y = min(1.0, max(0.0, camera[1] + t * ray[1] - j))
    z = min(1.0, max(0.0, camera[2] + t * ray[2] - k))
    low = (tsdf[i, j, k] * (1 - z) + tsdf[i, j, k + 1] * z) * (1 - y)
    low += (tsdf[i, j + 1, k] * (1 - z) + tsdf[i, j + 1, k + 1] * z) * y
    high = (tsdf[i + 1, j, k] * (1 - z) + tsdf[i + 1, j, k + 1] * z) * (1 - y)
    high += (tsdf[i + 1, j + 1, k] * (1 - z) + tsdf[i + 1, j + 1, k + 1] * z) * y
    return low * (1 - x) + high * x


@kernel
def _crossing(
    tsdf: np.ndarray, cell: Cell, camera: Vector, ray: Vector, enter: float, leave: float, was_free: bool
) -> tuple[float, bool]:
    """(t of the first change from + to - in the cell, or -1; whether the ray leaves it in front of a surface)."""
    before = enter
    for n in range(SAMPLES_PER_CELL + 1):
        t = enter + (leave - enter) * n / SAMPLES_PER_CELL
        free = _trilinear(tsdf, cell, camera, ray, t) >= 0.0
        if was_free and not free:
            low, high = before, t
            for _ in range(BISECTIONS):
                middle = 0.5 * (low + high)
                if _trilinear(tsdf, cell, camera, ray, middle) >= 0.0:
                    low = middle
                else:
                    high = middle
            return high, False
        was_free, before = free, t
    return -1.0, was_free


@kernel
def _nearest_observed(tsdf: np.ndarray, cell: Cell, camera: Vector, ray: Vector, t: float) -> int:
    """Flat index of the nearest corner of the cell within the truncation band; a crossing has at least one."""
    best, best_square = -1, FAR
    for corner in range(8):
        i, j, k = cell[0] + (corner >> 2), cell[1] + (corner >> 1 & 1), cell[2] + (corner & 1)
        x, y, z = camera[0] + t * ray[0] - i, camera[1] + t * ray[1] - j, camera[2] + t * ray[2] - k
        square = x * x + y * y + z * z
        if tsdf[i, j, k] < 1.0 and square < best_square:
            best, best_square = (i * tsdf.shape[1] + j) * tsdf.shape[2] + k, square
    return best


@inlined_kernel
def _range_in(shape: Cell, camera: Vector, ray: Vector) -> tuple[float, float]:
    """The t >= 0 at which the ray enters and leaves the box of all cells; leave < enter where it misses it."""
    enter, leave = 0.0, FAR
    for axis in range(3):
        if ray[axis] == 0.0:
            if camera[axis] < 0.0 or camera[axis] > shape[axis] - 1:
                return 1.0, 0.0
            continue
        a, b = -camera[axis] / ray[axis], (shape[axis] - 1 - camera[axis]) / ray[axis]
        enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
    return enter, leave


@inlined_kernel
def _first_cell(shape: Cell, camera: Vector, ray: Vector, enter: float, axis: int) -> tuple[int, int, float, float]:
    """Along one axis: the first cell, the way to the next (-1, 0, 1), t at its far side and t between two sides."""
    cell = int(min(shape[axis] - 2.0, max(0.0, math.floor(camera[axis] + enter * ray[axis]))))
    if ray[axis] > 0.0:
        return cell, 1, (cell + 1 - camera[axis]) / ray[axis], 1.0 / ray[axis]
    if ray[axis] < 0.0:
        return cell, -1, (cell - camera[axis]) / ray[axis], -1.0 / ray[axis]
    return cell, 0, FAR, FAR


@kernel
def _cast(tsdf: np.ndarray, near_surface: np.ndarray, camera: Vector, ray: Vector) -> tuple[int, float]:
    """(flat voxel index, distance in voxels) of what the ray sees, (-1, 0) if nothing."""
    shape = tsdf.shape
    t, leave = _range_in(shape, camera, ray)
    if leave < t:
        return -1, 0.0
    i, di, next_i, across_i = _first_cell(shape, camera, ray, t, 0)
    j, dj, next_j, across_j = _first_cell(shape, camera, ray, t, 1)
    k, dk, next_k, across_k = _first_cell(shape, camera, ray, t, 2)
    was_free = _trilinear(tsdf, (i, j, k), camera, ray, t) >= 0.0
    while 0 <= i < shape[0] - 1 and 0 <= j < shape[1] - 1 and 0 <= k < shape[2] - 1:
        side = min(next_i, next_j, next_k)
        if near_surface[i, j, k]:
            hit, was_free = _crossing(tsdf, (i, j, k), camera, ray, t, side, was_free)
            if hit >= 0.0:
                return _nearest_observed(tsdf, (i, j, k), camera, ray, hit), hit
        else:
            was_free = True
        t = side
        if side == next_i:
            i, next_i = i + di, next_i + across_i
        elif side == next_j:
            j, next_j = j + dj, next_j + across_j
        else:
            k, next_k = k + dk, next_k + across_k
    return -1, 0.0


@kernel
def _cast_all(
    tsdf: np.ndarray,  # (X, Y, Z) float32
    near_surface: np.ndarray,  # (X-1, Y-1, Z-1) bool
    camera: Vector,
    rays: np.ndarray,  # (H, 2H, 3)
    voxel: np.ndarray,  # (H, 2H) out
    depth: np.ndarray,  # (H, 2H) out
) -> None:
    for row in range(rays.shape[0]):
        for col in range(rays.shape[1]):
            ray = (np.float64(rays[row, col, 0]), np.float64(rays[row, col, 1]), np.float64(rays[row, col, 2]))
            voxel[row, col], depth[row, col] = _cast(tsdf, near_surface, camera, ray)


def _cells_near_surface(tsdf: np.ndarray) -> np.ndarray:  # (X, Y, Z) -> (X-1, Y-1, Z-1) bool
    """Cells, between 8 neighbouring voxels, with a corner behind a surface."""
    cells = tsdf < 0
    for axis in range(3):
        n = cells.shape[axis]
        cells = cells.take(range(n - 1), axis) | cells.take(range(1, n), axis)
    return np.ascontiguousarray(cells)


def panorama_hits(
    tsdf: np.ndarray,  # (X, Y, Z) int8 in steps of 1/127, or floating in [-1, 1]; 127 or 1 = empty or unseen
    camera_voxel: np.ndarray,  # (3,) in voxels: (camera_m - origin_m) / voxel_m
    height: int,
) -> HitMap:
    """The map from the pixels of a panorama to the voxels of the first surface, + to -, that they see.

    The voxel is the nearest one to the crossing that is inside the truncation band, so that it has a label and a
    colour. Raises ``UserError`` for a volume that is no TSDF.
    """
    if tsdf.ndim != 3 or min(tsdf.shape) < 2 or not (tsdf.dtype == np.int8 or np.issubdtype(tsdf.dtype, np.floating)):
        got = f"{tsdf.dtype} of shape {tsdf.shape}"
        raise UserError(f"got a TSDF of {got}; expected (X, Y, Z) int8 or float32, 2 voxels or more along each axis")
    values = tsdf.astype(np.float32)
    if tsdf.dtype == np.int8:
        values /= np.float32(127)
    x, y, z = (float(c) for c in camera_voxel)
    hits = HitMap(np.empty((height, 2 * height), np.int32), np.empty((height, 2 * height), np.float32))
    _cast_all(values, _cells_near_surface(values), (x, y, z), directions(height), hits.voxel, hits.depth_voxels)
    return hits
