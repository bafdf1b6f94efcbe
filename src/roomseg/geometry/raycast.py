"""Where does a ray first pass from + to - in a trilinear TSDF? numba kernels; ``raycast_torch.py`` does the same.

A ray visits cells, the cubes between eight voxels. A cell with a corner behind a surface is *near*: only such a one can
hold a crossing, and there the TSDF along the ray is a cubic, sampled finely and refined. All other cells are skipped in
leaps: each knows its distance to the nearest near cell, so the cube of cells around it is known to be free (Cohen and
Sheffer 1994). Rays come in tiles: what is free for a whole cone of them is skipped once a tile.

No leap passes a near cell, whatever the TSDF is. Sphere tracing would: a fused distance is only projective, and too
long beside thin furniture.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numba
import numpy as np

from roomseg.geometry.clearance import clearance
from roomseg.geometry.kernels import inlined_kernel, kernel
from roomseg.geometry.trilinear import Cubic, Polynomial, Vector, along_ray, cell_polynomial, slope_at, value_at

Cell = tuple[int, int, int]  # its lowest voxel; also the shape of a volume

SAMPLES_PER_CELL = 4
NEWTON_STEPS = 3  # to 1e-6 voxels, but for grazing rays
GENTLEST = 0.25  # of the mean slope of a bracket: no step goes further than this slope would
TILE = 8  # rays
FAR = 1e30


@inlined_kernel
def _polynomial_of(tsdf: np.ndarray, cell: Cell) -> Polynomial:
    i, j, k = cell
    return cell_polynomial(
        np.float64(tsdf[i, j, k]),
        np.float64(tsdf[i, j, k + 1]),
        np.float64(tsdf[i, j + 1, k]),
        np.float64(tsdf[i, j + 1, k + 1]),
        np.float64(tsdf[i + 1, j, k]),
        np.float64(tsdf[i + 1, j, k + 1]),
        np.float64(tsdf[i + 1, j + 1, k]),
        np.float64(tsdf[i + 1, j + 1, k + 1]),
    )


@inlined_kernel
def _root(c: Cubic, low: float, high: float) -> float:
    """Where c changes from + at low to - at high: false position, then Newton's steps inside the bracket."""
    at_low, at_high = value_at(c, low), value_at(c, high)
    chord = (at_high - at_low) / (high - low)
    s = low - at_low / chord
    for _ in range(NEWTON_STEPS):
        s = max(low, min(high, s - value_at(c, s) / min(slope_at(c, s), GENTLEST * chord)))
    return s


@inlined_kernel
def _crossing(
    tsdf: np.ndarray, cell: Cell, camera: Vector, ray: Vector, inverse: Vector, was_free: bool
) -> tuple[float, bool]:
    """(t of the first change from + to - in the cell, or -1; whether the ray leaves it in front of a surface)."""
    enter, leave = 0.0, FAR
    for axis in range(3):
        if ray[axis] != 0.0:
            a, b = (cell[axis] - camera[axis]) * inverse[axis], (cell[axis] + 1 - camera[axis]) * inverse[axis]
            enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
    span = leave - enter
    start = (
        camera[0] + enter * ray[0] - cell[0],
        camera[1] + enter * ray[1] - cell[1],
        camera[2] + enter * ray[2] - cell[2],
    )
    c = along_ray(_polynomial_of(tsdf, cell), start, (span * ray[0], span * ray[1], span * ray[2]))
    for n in range(SAMPLES_PER_CELL + 1):
        s = n * (1.0 / SAMPLES_PER_CELL)
        free = value_at(c, s) >= 0.0
        if was_free and not free:
            low = max(0.0, s - 1.0 / SAMPLES_PER_CELL)
            return enter + span * (_root(c, low, s) if n else 0.0), False
        was_free = free
    return -1.0, was_free


@kernel
def _nearest_observed(tsdf: np.ndarray, empty: float, cell: Cell, camera: Vector, ray: Vector, t: float) -> int:
    """Flat index of the nearest corner of the cell within the truncation band; a crossing has at least one."""
    x, y, z = camera[0] + t * ray[0] - cell[0], camera[1] + t * ray[1] - cell[1], camera[2] + t * ray[2] - cell[2]
    i, j, k = cell[0] + int(x > 0.5), cell[1] + int(y > 0.5), cell[2] + int(z > 0.5)
    if tsdf[i, j, k] < empty:
        return (i * tsdf.shape[1] + j) * tsdf.shape[2] + k
    best, best_square = -1, FAR
    for corner in range(8):
        i, j, k = cell[0] + (corner >> 2), cell[1] + (corner >> 1 & 1), cell[2] + (corner & 1)
        x, y, z = camera[0] + t * ray[0] - i, camera[1] + t * ray[1] - j, camera[2] + t * ray[2] - k
        square = x * x + y * y + z * z
        if tsdf[i, j, k] < empty and square < best_square:
            best, best_square = (i * tsdf.shape[1] + j) * tsdf.shape[2] + k, square
    return best


@inlined_kernel
def _range_in(shape: Cell, camera: Vector, ray: Vector, inverse: Vector) -> tuple[float, float]:
    """The t >= 0 at which the ray enters and leaves the box of all cells; leave < enter where it misses it."""
    enter, leave = 0.0, FAR
    for axis in range(3):
        if ray[axis] == 0.0:
            if camera[axis] < 0.0 or camera[axis] > shape[axis] - 1:
                return 1.0, 0.0
            continue
        a, b = -camera[axis] * inverse[axis], (shape[axis] - 1 - camera[axis]) * inverse[axis]
        enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
    return enter, leave


@inlined_kernel
def _clamped_floor(x: float, low: int, high: int) -> int:
    return max(low, min(high, math.floor(x)))


@inlined_kernel
def _leap_end(cell: int, leap: int, camera: float, ray: float, inverse: float) -> float:
    """t at which the ray leaves the cells closer than ``leap`` to ``cell`` along one axis."""
    if ray > 0.0:
        return (cell + leap - camera) * inverse
    if ray < 0.0:
        return (cell + 1 - leap - camera) * inverse
    return FAR


@kernel
def _cast(
    tsdf: np.ndarray, cells: np.ndarray, empty: float, camera: Vector, ray: Vector, free_until: float
) -> tuple[int, float]:
    """(flat voxel index, distance in voxels) of what the ray sees, (-1, 0) if nothing."""
    inverse = (1.0 / ray[0], 1.0 / ray[1], 1.0 / ray[2])
    t = free_until
    if t == 0.0:
        t, leave = _range_in(tsdf.shape, camera, ray, inverse)
        if leave < t:
            return -1, 0.0
    x, y, z = cells.shape
    i = _clamped_floor(camera[0] + t * ray[0], 0, x - 1)
    j = _clamped_floor(camera[1] + t * ray[1], 0, y - 1)
    k = _clamped_floor(camera[2] + t * ray[2], 0, z - 1)
    was_free = free_until > 0.0
    if not was_free:
        start = (camera[0] + t * ray[0] - i, camera[1] + t * ray[1] - j, camera[2] + t * ray[2] - k)
        was_free = along_ray(_polynomial_of(tsdf, (i, j, k)), start, (0.0, 0.0, 0.0))[0] >= 0.0
    while 0 <= i < x and 0 <= j < y and 0 <= k < z:
        leap = int(cells[i, j, k])
        if leap == 0:
            hit, was_free = _crossing(tsdf, (i, j, k), camera, ray, inverse, was_free)
            if hit >= 0.0:
                return _nearest_observed(tsdf, empty, (i, j, k), camera, ray, hit), hit
            leap = 1
        else:
            was_free = True
        end_i = _leap_end(i, leap, camera[0], ray[0], inverse[0])
        end_j = _leap_end(j, leap, camera[1], ray[1], inverse[1])
        end_k = _leap_end(k, leap, camera[2], ray[2], inverse[2])
        t = min(end_i, min(end_j, end_k))
        way = leap - 1
        next_i = _clamped_floor(camera[0] + t * ray[0], i - way, i + way)
        next_j = _clamped_floor(camera[1] + t * ray[1], j - way, j + way)
        next_k = _clamped_floor(camera[2] + t * ray[2], k - way, k + way)
        if t == end_i:
            next_i = i + leap if ray[0] > 0.0 else i - leap
        elif t == end_j:
            next_j = j + leap if ray[1] > 0.0 else j - leap
        else:
            next_k = k + leap if ray[2] > 0.0 else k - leap
        i, j, k = next_i, next_j, next_k
    return -1, 0.0


@kernel
def _free_for_all(cells: np.ndarray, camera: Vector, middle: Vector, spread: float) -> float:
    """A t up to which every ray within ``spread`` of the unit vector ``middle`` meets free cells only."""
    t = 0.0
    while True:
        x, y, z = camera[0] + t * middle[0], camera[1] + t * middle[1], camera[2] + t * middle[2]
        i, j, k = math.floor(x), math.floor(y), math.floor(z)
        if not (0 <= i < cells.shape[0] and 0 <= j < cells.shape[1] and 0 <= k < cells.shape[2]):
            return t
        leap = int(cells[i, j, k])
        x, y, z = abs(x - i - 0.5), abs(y - j - 0.5), abs(z - k - 0.5)
        radius = leap - 0.5 - max(x, max(y, z)) - 1e-3  # of a ball of free cells around the point
        further = (t + radius) / (1.0 + spread)
        if leap == 0 or further - t < 0.5:
            return t
        t = further


@kernel
def _cast_tiles(
    tsdf: np.ndarray,  # (X, Y, Z) int8 or floating
    cells: np.ndarray,  # (X-1, Y-1, Z-1) uint8, clearance(tsdf)
    empty: float,  # the value of tsdf that means empty or unseen
    camera: Vector,
    rays: np.ndarray,  # (H, W, 3) float32 unit vectors
    middles: np.ndarray,  # (H / TILE, W / TILE, 3) unit vectors, rounded up
    spreads: np.ndarray,  # (H / TILE, W / TILE) greatest distance of a tile's rays to its middle
    voxel: np.ndarray,  # (H, W) int32, out
    depth: np.ndarray,  # (H, W) float32, out
    first: int,
    stride: int,
) -> None:
    """The hits of every ``stride``-th row of tiles from ``first`` on."""
    for tile_row in range(first, middles.shape[0], stride):
        for tile in range(middles.shape[1]):
            middle = (middles[tile_row, tile, 0], middles[tile_row, tile, 1], middles[tile_row, tile, 2])
            free_until = _free_for_all(cells, camera, middle, spreads[tile_row, tile])
            for row in range(tile_row * TILE, min(tile_row * TILE + TILE, rays.shape[0])):
                for col in range(tile * TILE, min(tile * TILE + TILE, rays.shape[1])):
                    ray = (np.float64(rays[row, col, 0]), np.float64(rays[row, col, 1]), np.float64(rays[row, col, 2]))
                    voxel[row, col], depth[row, col] = _cast(tsdf, cells, empty, camera, ray, free_until)


@dataclass(frozen=True)
class RayTiles:
    """Rays from one point, and the cones around their tiles of TILE x TILE."""

    rays: np.ndarray  # (H, W, 3) float32 unit vectors
    middles: np.ndarray  # (H / TILE, W / TILE, 3) float64 unit vectors; sizes rounded up
    spreads: np.ndarray  # (H / TILE, W / TILE) greatest distance of a ray of the tile to its middle


def tile_rays(rays: np.ndarray) -> RayTiles:  # (H, W, 3) float32 unit vectors
    """Their cones; worth keeping, as it takes longer than a cast."""
    height, width, _ = rays.shape
    padded = np.pad(rays.astype(np.float64), ((0, -height % TILE), (0, -width % TILE), (0, 0)), mode="edge")
    rows, columns = padded.shape[0] // TILE, padded.shape[1] // TILE
    tiles = padded.reshape(rows, TILE, columns, TILE, 3).swapaxes(1, 2).reshape(rows, columns, TILE * TILE, 3)
    middles = tiles.sum(axis=2)
    middles /= np.maximum(np.linalg.norm(middles, axis=-1, keepdims=True), 1e-9)
    spreads = np.linalg.norm(tiles - middles[:, :, None], axis=-1).max(axis=-1)
    return RayTiles(np.ascontiguousarray(rays), middles, spreads)


def cast(
    tsdf: np.ndarray,  # (X, Y, Z) int8 or floating
    empty: float,  # the value of tsdf that means empty or unseen
    camera: Vector,  # voxels
    tiles: RayTiles,
) -> tuple[np.ndarray, np.ndarray]:  # (H, W) int32, (H, W) float32
    """The flat index of the voxel that each ray sees, -1 = none, and its distance in voxels, 0 = none.

    Rows of tiles are shared out among numba's number of threads, which changes nothing in what comes out. They are
    Python's threads, because numba's own may not be used by two callers at a time everywhere.
    """
    tsdf, cells = np.ascontiguousarray(tsdf), clearance(np.ascontiguousarray(tsdf))
    voxel, depth = np.empty(tiles.rays.shape[:2], np.int32), np.empty(tiles.rays.shape[:2], np.float32)
    threads = min(numba.get_num_threads(), len(tiles.middles))
    given = (tsdf, cells, empty, camera, tiles.rays, tiles.middles, tiles.spreads, voxel, depth)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda first: _cast_tiles(*given, first, threads), range(threads)))
    return voxel, depth
