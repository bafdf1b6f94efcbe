"""The room seen from above on a grid of 5 cm: where its floor is, what stands on it, what hangs over it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roomseg.errors import UserError
from roomseg.geometry.kernels import kernel
from roomseg.geometry.mesh import TriangleMesh

CELL_M = 0.05
LONGEST_SIDE_M = 60.0  # of a floor
STANDS_M = 0.3  # what ends below it is no obstacle: baseboards, thresholds
OVERHEAD_M = 2.0  # what begins above it hangs over the floor: ceilings, beams, lintels


@dataclass(frozen=True)
class FloorGrid:
    """Cells (nx, ny) over the floor's bounds and a cell around; cell (i, j) begins at ``low_m + CELL_M * (i, j)``."""

    low_m: np.ndarray  # (2,)
    bounds: np.ndarray  # (2, 2) lowest and highest x, y of the floor, metres
    inside: np.ndarray  # (nx, ny) bool: over the floor
    blocked: np.ndarray  # (nx, ny) bool: outside, or something of the building stands there
    clear_m: np.ndarray  # (nx, ny) float32: from the cell's centre to the next blocked cell's, 0 there
    headroom_m: np.ndarray  # (nx, ny) float32: lowest thing overhead, inf = none

    @property
    def area_m2(self) -> float:
        return float(self.inside.sum()) * CELL_M**2

    @property
    def covered_share(self) -> float:
        """The part of the floor that has something overhead."""
        return float(np.isfinite(self.headroom_m[self.inside]).mean()) if self.inside.any() else 0.0

    def is_clear(self, points: np.ndarray, clearance_m: float) -> np.ndarray:  # (n, 3) -> (n,) bool
        """Over the floor, and at least the clearance away from what stands around, from the floor and from overhead."""
        cell, there = self._cells(points[:, :2])
        i, j = cell.T
        clear = self.clear_m[i, j] - CELL_M >= clearance_m  # a cell less: to be on the safe side
        below = points[:, 2] <= self.headroom_m[i, j] - clearance_m
        return there & clear & below & (points[:, 2] >= clearance_m)

    def ray_m(self, point: tuple[float, float], direction: tuple[float, float]) -> float:
        """The way along a unit direction to the first blocked cell; 0 for a point in one."""
        ways = np.arange(0, math.hypot(*(self.bounds[1] - self.bounds[0])) + CELL_M, CELL_M / 2)
        cell, there = self._cells(np.array(point) + ways[:, None] * np.array(direction))
        ends = ~there | self.blocked[cell[:, 0], cell[:, 1]]
        return float(ways[ends.argmax()])

    def distance_m(self, x_m: float, y_m: float) -> float:
        """From a point to the floor; 0 over it, inf where the floor is too small for a cell."""
        centers = self.low_m + (np.argwhere(self.inside) + 0.5) * CELL_M
        away = np.maximum(np.abs(centers - (x_m, y_m)) - CELL_M / 2, 0)
        return float(np.hypot(*away.T).min(initial=math.inf))

    def _cells(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # (n, 2) -> (n, 2) int, (n,) bool
        """The cell of each point, and whether the grid has it; others get the corner's, which is blocked."""
        cell = np.floor((points - self.low_m) / CELL_M)
        there = ((cell >= 0) & (cell < self.inside.shape)).all(axis=1)
        return np.where(there[:, None], cell, 0).astype(np.int64), there


def floor_grid(floors: Sequence[TriangleMesh], structure: Sequence[TriangleMesh]) -> FloorGrid:
    """From floor meshes and all others of the building (+Z up, floor at 0); raises ``UserError`` for an absurd size."""
    corners = np.concatenate([mesh.vertices[mesh.faces][..., :2] for mesh in floors]).astype(np.float64)  # (F, 3, 2)
    bounds = np.stack([corners.min(axis=(0, 1)), corners.max(axis=(0, 1))])
    sides = bounds[1] - bounds[0]
    if not sides.max() <= LONGEST_SIDE_M:  # also not a number
        raise UserError(f"its floor is {sides[0]:.0f} x {sides[1]:.0f} m; expected {LONGEST_SIDE_M:g} m a side at most")
    low = bounds[0] - CELL_M
    shape = tuple(int(n) for n in np.ceil(sides / CELL_M - 1e-6).astype(int) + 2)
    inside = np.zeros(shape, np.bool_)
    _cover((corners - low) / CELL_M, inside)
    blocked, headroom = ~inside, np.full(shape, np.inf, np.float32)
    for mesh in structure:
        lowest, highest = np.full(shape, np.inf, np.float32), np.full(shape, -np.inf, np.float32)
        scaled = mesh.vertices[mesh.faces].astype(np.float64) - (*low, 0.0)
        _extent(scaled / (CELL_M, CELL_M, 1.0), lowest, highest)
        blocked |= (highest > STANDS_M) & (lowest < OVERHEAD_M)
        headroom = np.where(lowest >= OVERHEAD_M, np.minimum(headroom, lowest), headroom)
    clear = np.empty(shape, np.float32)
    _distances(blocked, clear)
    return FloorGrid(low, bounds, inside, blocked, clear * np.float32(CELL_M), headroom)


@kernel
def _cover(triangles: np.ndarray, inside: np.ndarray) -> None:
    """Mark the cells whose centre is in a triangle, (F, 3, 2) in cells, or on its border."""
    for t in range(len(triangles)):
        (ax, ay), (bx, by), (cx, cy) = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        doubled = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if doubled == 0:
            continue
        first_i, last_i = int(min(ax, bx, cx)), min(int(max(ax, bx, cx)), inside.shape[0] - 1)
        first_j, last_j = int(min(ay, by, cy)), min(int(max(ay, by, cy)), inside.shape[1] - 1)
        for i in range(first_i, last_i + 1):
            for j in range(first_j, last_j + 1):
                x, y = i + 0.5, j + 0.5
                u = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / doubled
                v = ((cx - bx) * (y - by) - (cy - by) * (x - bx)) / doubled
                if u >= -1e-9 and v >= -1e-9 and u + v <= 1 + 1e-9:
                    inside[i, j] = True


@kernel
def _extent(triangles: np.ndarray, lowest: np.ndarray, highest: np.ndarray) -> None:
    """Lowest and highest z of triangles, (F, 3, 3) with x and y in cells, over each cell: points half a cell apart."""
    nx, ny = lowest.shape
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        longest = 0.0
        for p, q in ((a, b), (b, c), (c, a)):
            longest = max(longest, abs(p[0] - q[0]), abs(p[1] - q[1]))
        n = int(min(2 * longest, 8.0 * max(nx, ny))) + 1
        for k in range(n + 1):
            for m in range(n + 1 - k):
                u, v = k / n, m / n
                x = a[0] + u * (b[0] - a[0]) + v * (c[0] - a[0])
                y = a[1] + u * (b[1] - a[1]) + v * (c[1] - a[1])
                if 0 <= x < nx and 0 <= y < ny:
                    z = a[2] + u * (b[2] - a[2]) + v * (c[2] - a[2])
                    i, j = int(x), int(y)
                    lowest[i, j] = min(lowest[i, j], z)
                    highest[i, j] = max(highest[i, j], z)


@kernel
def _distances(blocked: np.ndarray, out: np.ndarray) -> None:
    """The distance, in cells, from each cell's centre to that of the next blocked one: exact, one axis at a time."""
    nx, ny = blocked.shape
    far = nx + ny
    along_y = np.empty((nx, ny), np.int64)
    for i in range(nx):
        gap = far
        for j in range(ny):
            gap = 0 if blocked[i, j] else gap + 1
            along_y[i, j] = gap
        for j in range(ny - 1, -1, -1):
            gap = 0 if blocked[i, j] else gap + 1
            along_y[i, j] = min(along_y[i, j], gap)
    for j in range(ny):
        for i in range(nx):
            best = along_y[i, j] ** 2
            for k in range(nx):
                best = min(best, (i - k) ** 2 + along_y[k, j] ** 2)
            out[i, j] = np.sqrt(best)
