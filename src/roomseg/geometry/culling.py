"""Which clusters of faces must be drawn: those in view, front to back, that what is drawn already does not hide."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from roomseg.geometry.kernels import inlined_kernel, kernel

TILE = 8  # pixels on a side; for each tile the farthest key is remembered
NEAR_M = 0.02
SLACK_M = np.float32(1e-4)  # of bounds in single precision
BUCKETS, BUCKET_M = 256, 0.05  # of distances, for the order
_NEAR = np.float32(NEAR_M)
_ONE = np.float32(1.0)
_FARTHEST_KEY = np.int64(2**63 - 1)


class View(NamedTuple):
    """A camera, in single precision: a point p of the world is at rotation @ p + shift of its frame."""

    rotation: np.ndarray  # (3, 3) float32
    shift: np.ndarray  # (3,) float32
    lens: tuple[np.float32, np.float32, np.float32, np.float32]  # fx, fy, cx, cy


class Window(NamedTuple):
    """The columns left..right - 1 of an image with its keys (see ``simd``): a row of them takes ``stride``."""

    left: int
    right: int
    height: int
    stride: int
    keys: np.ndarray  # (height * stride,) int64, 0 = nothing
    farthest: np.ndarray  # (rows, columns of tiles) int64: no key in the tile is smaller
    changed: np.ndarray  # (rows, columns of tiles) uint8: farthest may have grown


@kernel
def empty_window(left: int, right: int, height: int) -> Window:
    stride = right - left + 2 * TILE  # what is drawn eight at a time may stick out
    keys = np.zeros(height * stride, np.int64)
    tiles = ((height + TILE - 1) // TILE, (right - left + TILE - 1) // TILE)
    return Window(left, right, height, stride, keys, np.zeros(tiles, np.int64), np.zeros(tiles, np.uint8))


@inlined_kernel
def to_camera(view: View, x: np.float32, y: np.float32, z: np.float32) -> tuple[np.float32, np.float32, np.float32]:
    r, t = view.rotation, view.shift
    return (
        r[0, 0] * x + r[0, 1] * y + r[0, 2] * z + t[0],
        r[1, 0] * x + r[1, 1] * y + r[1, 2] * z + t[1],
        r[2, 0] * x + r[2, 1] * y + r[2, 2] * z + t[2],
    )


@kernel
def clusters_in_view(boxes: np.ndarray, view: View, window: Window) -> tuple[np.ndarray, np.ndarray]:
    """Clusters whose bounding spheres reach into the view, nearest first, and a lower bound of their depths."""
    n_clusters = boxes.shape[1]
    fx, fy, cx, cy = view.lens
    to_left, to_right = cx - np.float32(window.left), np.float32(window.right) - cx
    to_top, to_bottom = cy, np.float32(window.height) - cy
    ids, nearest = np.empty(n_clusters, np.int32), np.empty(n_clusters, np.float32)
    n = 0
    for c in range(n_clusters):
        half_x, half_y, half_z = boxes[3, c], boxes[4, c], boxes[5, c]
        x, y, z = to_camera(view, boxes[0, c], boxes[1, c], boxes[2, c])
        r = view.rotation
        reach = abs(r[2, 0]) * half_x + abs(r[2, 1]) * half_y + abs(r[2, 2]) * half_z + SLACK_M
        if z + reach < _NEAR:
            continue
        radius = math.sqrt(half_x * half_x + half_y * half_y + half_z * half_z) + SLACK_M
        if _beside(fx, to_left, x, z, radius) or _beside(-fx, to_right, x, z, radius):
            continue
        if _beside(fy, to_top, y, z, radius) or _beside(-fy, to_bottom, y, z, radius):
            continue
        ids[n], nearest[n] = c, z - reach
        n += 1
    return _front_to_back(ids[:n], nearest[:n])


@inlined_kernel
def _beside(focal: np.float32, border: np.float32, across: np.float32, z: np.float32, radius: np.float32) -> np.bool:
    """Whether a sphere lies outside the plane focal across + border z = 0 through the camera."""
    return focal * across + border * z < -radius * math.sqrt(focal * focal + border * border)


@kernel
def _front_to_back(ids: np.ndarray, nearest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both sorted by depth in steps of ``BUCKET_M``."""
    bucket, end = np.empty(len(ids), np.int32), np.zeros(BUCKETS + 1, np.int64)
    for i in range(len(ids)):
        bucket[i] = int(min(max(nearest[i], np.float32(0)) / BUCKET_M, BUCKETS - 1.0))
        end[bucket[i] + 1] += 1
    end = np.cumsum(end)
    sorted_ids, sorted_nearest = np.empty_like(ids), np.empty_like(nearest)
    for i in range(len(ids)):
        place = end[bucket[i]]
        sorted_ids[place], sorted_nearest[place] = ids[i], nearest[i]
        end[bucket[i]] += 1
    return sorted_ids, sorted_nearest


@kernel
def tiles_of(boxes: np.ndarray, c: int, nearest: np.float32, view: View, window: Window) -> tuple[int, int, int, int]:
    """First and last row and column of the tiles that a cluster may touch."""
    rows, cols = window.farthest.shape
    if nearest < _NEAR:
        return 0, rows - 1, 0, cols - 1
    fx, fy, cx, cy = view.lens
    low_x, high_x, low_y, high_y = np.float32(1e9), np.float32(-1e9), np.float32(1e9), np.float32(-1e9)
    for corner in range(8):
        x = boxes[0, c] + (boxes[3, c] if corner & 1 else -boxes[3, c])
        y = boxes[1, c] + (boxes[4, c] if corner & 2 else -boxes[4, c])
        z = boxes[2, c] + (boxes[5, c] if corner & 4 else -boxes[5, c])
        x, y, z = to_camera(view, x, y, z)
        inverse = _ONE / max(z, nearest)
        col, row = fx * x * inverse + cx, fy * y * inverse + cy
        low_x, high_x, low_y, high_y = min(low_x, col), max(high_x, col), min(low_y, row), max(high_y, row)
    first_row, last_row = max(int(low_y) - 1, 0) // TILE, min((int(high_y) + 1) // TILE, rows - 1)
    first_col = max(int(low_x) - 1 - window.left, 0) // TILE
    last_col = min((int(high_x) + 1 - window.left) // TILE, cols - 1)
    return first_row, last_row, first_col, last_col


@kernel
def is_hidden(tiles: tuple[int, int, int, int], nearest: np.float32, window: Window) -> bool:
    """Whether all that is drawn in the tiles is nearer than ``nearest``."""
    if nearest < _NEAR:
        return False
    key = np.int64(np.float32(_ONE / (nearest * np.float32(0.9999))).view(np.int32)) << 32
    for row in range(tiles[0], tiles[1] + 1):
        for col in range(tiles[2], tiles[3] + 1):
            if window.farthest[row, col] >= key:
                continue
            if not window.changed[row, col]:
                return False
            window.farthest[row, col], window.changed[row, col] = _farthest(window, row, col), 0
            if window.farthest[row, col] < key:
                return False
    return True


@inlined_kernel
def _farthest(window: Window, tile_row: int, tile_col: int) -> np.int64:
    least = _FARTHEST_KEY
    for row in range(tile_row * TILE, min((tile_row + 1) * TILE, window.height)):
        start = np.uint64(row * window.stride + tile_col * TILE)
        for k in range(TILE):
            least = min(least, window.keys[start + np.uint64(k)])
    return least


@kernel
def mark_changed(tiles: tuple[int, int, int, int], window: Window) -> None:
    for row in range(tiles[0], tiles[1] + 1):
        for col in range(tiles[2], tiles[3] + 1):
            window.changed[row, col] = 1
