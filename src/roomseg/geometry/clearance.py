"""How much free space is around each cell of a TSDF: what lets a ray leap."""

from __future__ import annotations

import numpy as np

from roomseg.geometry.kernels import inlined_kernel, kernel

MAX_LEAP = 250  # cells: fits into a byte with room for + 1


@kernel
def clearance(tsdf: np.ndarray) -> np.ndarray:  # (X, Y, Z) -> (X-1, Y-1, Z-1) uint8
    """How far each cell is from the nearest cell with a corner behind a surface: 0 = it is one, at most MAX_LEAP.

    The distance is the number of king's moves, in two sweeps over the volume (Rosenfeld and Pfaltz 1968).
    """
    x, y, z = tsdf.shape[0] - 1, tsdf.shape[1] - 1, tsdf.shape[2] - 1
    cells = np.empty((x, y, z), np.uint8)
    least = np.empty(z + 2, np.uint8)
    for i in range(x):
        for j in range(y):
            _mark_near(tsdf, i, j, cells[i, j])
            _sweep_row(cells, i, j, -1, least)
    for i in range(x - 1, -1, -1):
        for j in range(y - 1, -1, -1):
            _sweep_row(cells, i, j, 1, least)
    return cells


@inlined_kernel
def _mark_near(tsdf: np.ndarray, i: int, j: int, row: np.ndarray) -> None:
    a, b, c, d = tsdf[i, j], tsdf[i, j + 1], tsdf[i + 1, j], tsdf[i + 1, j + 1]
    for k in range(len(row)):
        low = min(min(a[k], b[k]), min(c[k], d[k]))
        high = min(min(a[k + 1], b[k + 1]), min(c[k + 1], d[k + 1]))
        row[k] = np.uint8(0) if min(low, high) < 0 else np.uint8(MAX_LEAP)


@inlined_kernel
def _sweep_row(cells: np.ndarray, i: int, j: int, way: int, least: np.ndarray) -> None:
    """Distances of the row (i, j, :) by way of the rows swept before it and of its own cells before each."""
    row = cells[i, j]
    n = len(row)
    least[:] = MAX_LEAP
    for di, dj in ((way, -1), (way, 0), (way, 1), (0, way)):
        if 0 <= i + di < cells.shape[0] and 0 <= j + dj < cells.shape[1]:
            before = cells[i + di, j + dj]
            for k in range(n):
                least[k + 1] = min(least[k + 1], before[k])
    for k in range(n):
        row[k] = min(row[k], np.uint8(min(least[k], min(least[k + 1], least[k + 2])) + np.uint8(1)))
    if way < 0:
        for k in range(1, n):
            row[k] = min(row[k], np.uint8(row[k - 1] + np.uint8(1)))
    else:
        for k in range(n - 2, -1, -1):
            row[k] = min(row[k], np.uint8(row[k + 1] + np.uint8(1)))
