"""A volume in bricks of 4 x 4 x 8 voxels, and what a depth image can say of each of them.

Blocks of bricks are tested from coarse to fine against the image's border and against the least and greatest depth in
the pixels that they cover. So a frame looks at single voxels only around surfaces and at the border of what it sees.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from roomseg.geometry.cameras import Pinhole
from roomseg.geometry.kernels import inlined_kernel, kernel

BRICK = (4, 4, 8)  # voxels along x, y and z
VOXELS = BRICK[0] * BRICK[1] * BRICK[2]
COARSEST = 4  # bricks on a side of the blocks that are tested first
TILE_BITS = 3  # the finest tiles of a depth image are 8 pixels on a side, those of each further level twice as large
LEVELS = 5
TILES_TESTED = 4  # on a side, at most: a block that covers more is tested on a coarser level
HIDDEN, FREE, MIXED = 0, 1, 2  # not seen, or wholly behind what is seen; wholly in front of it; to be looked at
NEAREST_M = 1e-3  # blocks that reach so near to the camera's plane are not bounded
SLACK_M, SLACK_PIXELS = 1e-4, 1.0  # of bounds, so that rounding never decides what is skipped

Vector = tuple[float, float, float]


class Rays(NamedTuple):
    """A camera as the volume sees it: voxel (i, j, k) is at ``corner + i a + j b + k c`` with ``steps`` = (a, b, c).

    Such a place (x, y, z) is in the image at column x / z and row y / z; z is its depth in metres.
    """

    corner: Vector
    steps: tuple[Vector, Vector, Vector]
    height: int
    width: int


class DepthRanges(NamedTuple):
    """The least and the greatest depth of each tile of an image, on levels of ever larger tiles."""

    least: np.ndarray  # (LEVELS, rows, columns) float32; a pixel without depth counts as 0
    greatest: np.ndarray  # (LEVELS, rows, columns) float32


def brick_grid(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """How many bricks along each axis cover (X, Y, Z) voxels."""
    x, y, z = (-(-side // brick) for side, brick in zip(shape, BRICK, strict=True))
    return x, y, z


def dense(plane: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:  # (bricks, VOXELS, ...) -> (X, Y, Z, ...)
    """A plane of bricks as an array over the voxels of the volume."""
    grid, rest = brick_grid(shape), plane.shape[2:]
    parts = plane.reshape(*grid, *BRICK, *rest)
    whole = parts.transpose(0, 3, 1, 4, 2, 5, *range(6, parts.ndim))
    return whole.reshape(*(n * side for n, side in zip(grid, BRICK, strict=True)), *rest)[
        : shape[0], : shape[1], : shape[2]
    ]


def rays_of(camera: Pinhole, pose: np.ndarray, origin_m: np.ndarray, voxel_m: float) -> Rays:
    """For a (4, 4) camera-to-world pose and a volume whose voxel (0, 0, 0) is at ``origin_m`` (3,)."""
    to_camera = np.linalg.inv(np.asarray(pose, np.float64))
    lens = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1.0]])
    corner = (lens @ (to_camera[:3, :3] @ origin_m + to_camera[:3, 3])).tolist()
    a, b, c = (voxel_m * (lens @ to_camera[:3, :3]).T).tolist()
    return Rays(tuple(corner), (tuple(a), tuple(b), tuple(c)), camera.height, camera.width)


@inlined_kernel
def place_of(rays: Rays, i: int, j: int, k: int) -> Vector:
    """Of voxel (i, j, k): see ``Rays``."""
    p, (a, b, c) = rays.corner, rays.steps
    return (
        p[0] + i * a[0] + j * b[0] + k * c[0],
        p[1] + i * a[1] + j * b[1] + k * c[1],
        p[2] + i * a[2] + j * b[2] + k * c[2],
    )


# Least and greatest depths


@kernel
def depth_ranges(depth: np.ndarray) -> DepthRanges:  # (H, W) float32, 0 = none
    height, width = depth.shape
    size = 1 << TILE_BITS
    rows, cols = (height + size - 1) // size, (width + size - 1) // size
    least, greatest = np.empty((LEVELS, rows, cols), np.float32), np.empty((LEVELS, rows, cols), np.float32)
    low, high = np.empty(cols * size, np.float32), np.empty(cols * size, np.float32)
    for row in range(rows):
        low[:], high[:] = np.float32(np.inf), np.float32(0)
        for r in range(row * size, min((row + 1) * size, height)):
            line = depth[r]
            for col in range(width):
                low[col], high[col] = min(low[col], line[col]), max(high[col], line[col])
        for col in range(cols):
            near, far = low[col * size], high[col * size]
            for c in range(col * size + 1, (col + 1) * size):
                near, far = min(near, low[c]), max(far, high[c])
            least[0, row, col], greatest[0, row, col] = near, far
    for level in range(1, LEVELS):
        rows, cols = _merge_tiles(least[level - 1], greatest[level - 1], rows, cols, least[level], greatest[level])
    return DepthRanges(least, greatest)


@kernel
def _merge_tiles(
    fine_least: np.ndarray,  # (rows, columns), of which those below ``rows`` and ``cols`` are set
    fine_greatest: np.ndarray,
    rows: int,
    cols: int,
    least: np.ndarray,  # the next level, out
    greatest: np.ndarray,
) -> tuple[int, int]:
    """Each 2 x 2 tiles as one; returns how many rows and columns there are then."""
    for row in range(0, rows, 2):
        for col in range(0, cols, 2):
            low, high = np.float32(np.inf), np.float32(0)
            for r in range(row, min(row + 2, rows)):
                for c in range(col, min(col + 2, cols)):
                    low, high = min(low, fine_least[r, c]), max(high, fine_greatest[r, c])
            least[row // 2, col // 2], greatest[row // 2, col // 2] = low, high
    return (rows + 1) // 2, (cols + 1) // 2


@inlined_kernel
def _range_within(ranges: DepthRanges, top: int, bottom: int, left: int, right: int) -> tuple[np.float32, np.float32]:
    """Bounds of the depths in the pixels of rows top..bottom and columns left..right."""
    level, shift = 0, TILE_BITS
    while (
        level < LEVELS - 1
        and max((bottom >> shift) - (top >> shift), (right >> shift) - (left >> shift)) >= TILES_TESTED
    ):
        level, shift = level + 1, shift + 1
    near, far = np.float32(np.inf), np.float32(0)
    for row in range(top >> shift, (bottom >> shift) + 1):
        for col in range(left >> shift, (right >> shift) + 1):
            near = min(near, ranges.least[level, row, col])
            far = max(far, ranges.greatest[level, row, col])
    return near, far


# From blocks to bricks


@inlined_kernel
def _state(rays: Rays, ranges: DepthRanges, first: Vector, last: Vector, truncation_m: float) -> int:
    """HIDDEN, FREE or MIXED: what the image says of the box of voxels between the indices ``first`` and ``last``."""
    low_z, high_z = np.inf, -np.inf
    low_u, high_u, low_v, high_v = np.inf, -np.inf, np.inf, -np.inf
    for corner in range(8):
        i = last[0] if corner & 1 else first[0]
        j = last[1] if corner & 2 else first[1]
        k = last[2] if corner & 4 else first[2]
        x, y, z = place_of(rays, i, j, k)
        low_z, high_z = min(low_z, z), max(high_z, z)
        inverse = 1.0 / max(z, NEAREST_M)
        u, v = x * inverse, y * inverse
        low_u, high_u, low_v, high_v = min(low_u, u), max(high_u, u), min(low_v, v), max(high_v, v)
    if high_z <= 0.0:
        return HIDDEN
    if low_z < NEAREST_M:
        return MIXED
    low_u, high_u, low_v, high_v = (
        low_u - SLACK_PIXELS,
        high_u + SLACK_PIXELS,
        low_v - SLACK_PIXELS,
        high_v + SLACK_PIXELS,
    )
    if high_u < 0.0 or high_v < 0.0 or low_u > rays.width or low_v > rays.height:
        return HIDDEN
    top, bottom = int(max(low_v, 0.0)), int(min(high_v, rays.height - 1.0))
    left, right = int(max(low_u, 0.0)), int(min(high_u, rays.width - 1.0))
    near, far = _range_within(ranges, top, bottom, left, right)
    if low_z - far > truncation_m + SLACK_M:
        return HIDDEN
    inside = low_u > 0.0 and low_v > 0.0 and high_u < rays.width and high_v < rays.height
    return FREE if inside and near - high_z > truncation_m + SLACK_M else MIXED


@kernel
def bricks_to_look_at(
    free: np.ndarray,  # (bricks along x, y, z) int32, in place: one more where a brick is wholly in free space
    rays: Rays,
    ranges: DepthRanges,
    truncation_m: float,
    first: int,
    end: int,
) -> np.ndarray:  # (n, 3) int32
    """The bricks, of those with first <= x < end, of which the frame may say different things in different voxels."""
    blocks = _coarsest_blocks(first, end, free.shape[1], free.shape[2])
    size = COARSEST
    while True:
        mixed = 0
        for x, y, z in blocks:
            x1, y1, z1 = min(x + size, end), min(y + size, free.shape[1]), min(z + size, free.shape[2])
            low = (float(x * BRICK[0]), float(y * BRICK[1]), float(z * BRICK[2]))
            high = (x1 * BRICK[0] - 1.0, y1 * BRICK[1] - 1.0, z1 * BRICK[2] - 1.0)
            state = _state(rays, ranges, low, high, truncation_m)
            if state == FREE:
                free[x:x1, y:y1, z:z1] += 1
            elif state == MIXED:
                blocks[mixed, 0], blocks[mixed, 1], blocks[mixed, 2] = x, y, z
                mixed += 1
        if size == 1:
            return blocks[:mixed]
        size //= 2
        blocks = _halved_blocks(blocks[:mixed], size, end, free.shape[1], free.shape[2])


@kernel
def _coarsest_blocks(first: int, end: int, n_y: int, n_z: int) -> np.ndarray:  # (n, 3) int32
    n = (
        ((end - first + COARSEST - 1) // COARSEST)
        * ((n_y + COARSEST - 1) // COARSEST)
        * ((n_z + COARSEST - 1) // COARSEST)
    )
    blocks, at = np.empty((n, 3), np.int32), 0
    for x in range(first, end, COARSEST):
        for y in range(0, n_y, COARSEST):
            for z in range(0, n_z, COARSEST):
                blocks[at, 0], blocks[at, 1], blocks[at, 2] = x, y, z
                at += 1
    return blocks


@kernel
def _halved_blocks(blocks: np.ndarray, size: int, end: int, n_y: int, n_z: int) -> np.ndarray:  # (n, 3) -> (m, 3)
    """The parts of half the side, ``size``, that begin within the volume."""
    parts, at = np.empty((8 * len(blocks), 3), np.int32), 0
    for x0, y0, z0 in blocks:
        for corner in range(8):
            x, y, z = x0 + size * (corner >> 2), y0 + size * (corner >> 1 & 1), z0 + size * (corner & 1)
            if x < end and y < n_y and z < n_z:
                parts[at, 0], parts[at, 1], parts[at, 2] = x, y, z
                at += 1
    return parts[:at]
