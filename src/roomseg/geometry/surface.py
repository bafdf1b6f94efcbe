"""Surfaces: points with colours and, for a mesh, faces between them; and the surface of a fused volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

JUMP = 110  # TSDF steps a voxel: more is the edge of the unseen, a true surface has 127 / truncation_voxels


@dataclass(frozen=True)
class Surface:
    """A mesh, or a cloud of points where there are no faces."""

    points: np.ndarray  # (N, 3) float64; NaN where the file has no number
    faces: np.ndarray  # (F, 3) int32, indices into points; (0, 3) for a cloud
    color: np.ndarray  # (N, 3) uint8, sRGB

    @property
    def is_cloud(self) -> bool:
        return len(self.faces) == 0


def volume_surface(
    tsdf: np.ndarray,  # (X, Y, Z) int8, steps of truncation / 127
    rgb: np.ndarray,  # (X, Y, Z, 3) uint8
    origin_m: np.ndarray,  # (3,)
    voxel_m: float,
) -> Surface:
    """The zero crossings as a mesh, by naive surface nets (Gibson 1998): a vertex a cell, a quad a crossed edge.

    Where a value jumps to 127, the edge of what was seen, there is no surface. Faces are counter-clockwise seen from
    the free side.
    """
    edges = [_crossed(tsdf, axis) for axis in range(3)]
    cell_of = _cells(tsdf.shape, edges)
    flat = np.flatnonzero(cell_of.ravel() >= 0)
    place = _vertex_places(tsdf, edges, cell_of, len(flat))  # (N, 3) voxels
    faces = np.concatenate([_quads(tsdf, edges[axis], cell_of, axis) for axis in range(3)])
    nearest = tuple(np.minimum(np.rint(place).astype(int), np.array(tsdf.shape) - 1).T)
    color = _solid_color(tsdf, rgb, place, nearest)
    return Surface(np.asarray(origin_m, np.float64) + voxel_m * place, faces.astype(np.int32), color)


def _crossed(tsdf: np.ndarray, axis: int) -> np.ndarray:  # (n, 3) int64: lower voxels of the crossed edges
    low = np.moveaxis(tsdf, axis, 0)[:-1].astype(np.int16)
    high = np.moveaxis(tsdf, axis, 0)[1:].astype(np.int16)
    crossed = ((low <= 0) != (high <= 0)) & (np.abs(low - high) < JUMP)
    place = np.argwhere(crossed)
    return np.insert(place[:, 1:], axis, place[:, 0], axis=1)


def _around(edge: np.ndarray, axis: int) -> np.ndarray:  # (n, 4, 3): the cells around each edge, in a ring
    b, c = (axis + 1) % 3, (axis + 2) % 3
    step = np.zeros((4, 3), np.int64)
    step[1, b] = step[2, b] = step[2, c] = step[3, c] = -1
    return edge[:, None] + step


def _inside(cells: np.ndarray) -> np.ndarray:  # (n,) bool: the four cells are there
    return np.all(cells >= 0, axis=(1, 2))  # at the high ends a cell without its far corners does no harm


def _cells(shape: tuple[int, ...], edges: list[np.ndarray]) -> np.ndarray:  # (X, Y, Z) int32: vertex of each cell or -1
    used = np.zeros(shape, bool)
    for axis, edge in enumerate(edges):
        ring = _around(edge, axis)
        used[tuple(ring[_inside(ring)].reshape(-1, 3).T)] = True
    cell_of = np.full(shape, -1, np.int32)
    cell_of[used] = np.arange(used.sum(), dtype=np.int32)
    return cell_of


def _vertex_places(tsdf: np.ndarray, edges: list[np.ndarray], cell_of: np.ndarray, n: int) -> np.ndarray:  # (n, 3)
    """The mean of the crossings on the edges of each cell."""
    total, count = np.zeros((n, 3)), np.zeros(n)
    for axis, edge in enumerate(edges):
        ring = _around(edge, axis)
        kept = _inside(ring)
        edge, ring = edge[kept], ring[kept]
        low = tsdf[tuple(edge.T)].astype(np.float64)
        high = tsdf[tuple((edge + np.eye(3, dtype=np.int64)[axis]).T)].astype(np.float64)
        point = edge.astype(np.float64)
        point[:, axis] += low / (low - high)
        vertex = cell_of[tuple(np.moveaxis(ring, -1, 0))]  # (n, 4)
        for k in range(4):
            count += np.bincount(vertex[:, k], minlength=n)
            for coordinate in range(3):
                total[:, coordinate] += np.bincount(vertex[:, k], point[:, coordinate], minlength=n)
    return total / np.maximum(count, 1)[:, None]


def _quads(tsdf: np.ndarray, edge: np.ndarray, cell_of: np.ndarray, axis: int) -> np.ndarray:  # (2 n, 3)
    ring = _around(edge, axis)
    kept = _inside(ring)
    a, b, c, d = cell_of[tuple(np.moveaxis(ring[kept], -1, 0))].T
    free_above = (tsdf[tuple(edge[kept].T)] <= 0)[:, None]  # the free side is at the edge's high end
    first, second = np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)
    return np.concatenate([np.where(free_above, t, t[:, ::-1]) for t in (first, second)])


def _solid_color(
    tsdf: np.ndarray, rgb: np.ndarray, place: np.ndarray, nearest: tuple[np.ndarray, ...]
) -> np.ndarray:  # (N, 3) uint8
    """The mean colour of the voxels around each vertex that are not empty."""
    total, count = np.zeros((len(place), 3)), np.zeros(len(place))
    low = np.floor(place).astype(int)
    top = np.array(tsdf.shape) - 1
    for corner in np.ndindex(2, 2, 2):
        at = tuple(np.minimum(low + corner, top).T)
        full = tsdf[at] < 127
        total += np.where(full[:, None], rgb[at], 0)
        count += full
    mean = total / np.maximum(count, 1)[:, None]
    return np.where((count > 0)[:, None], np.rint(mean), rgb[nearest]).astype(np.uint8)
