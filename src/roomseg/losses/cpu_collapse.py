"""The collapse of a panorama's teacher on CPUs, without the (P, K) volume of its pixels.

Between two coarse cells of a row the logits are linear in the column, so their exponentials are a geometric
progression: one multiplication a pixel and class takes the place of the resize and of the exponential.
"""

from __future__ import annotations

import numba
import numpy as np

MOST_RISE = 25.0  # between two cells, of logits over tau: a share too small for float32 at one cell stays small
_LANES = 16  # classes are padded to a multiple, for whole vectors


def collapse(
    coarse: np.ndarray,  # (K, h, w) float32, coarse logits
    hit_voxel: np.ndarray,  # (H, W) integer, -1 = nothing is hit
    tau: float,
    weights: np.ndarray,  # (H, W) float32, summing to 1 where something is hit
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """The voxels (V,) int64, T_v (V, K) float32 and the constant of ``CollapsedTeacher``; None for too steep logits."""
    height, width = hit_voxel.shape
    classes = len(coarse)
    cells = np.zeros((*coarse.shape[1:], -classes % _LANES + classes), np.float32)  # (h, w, K')
    cells[..., :classes] = np.moveaxis(coarse, 0, -1) / np.float32(tau)
    low, high, share = _taps(height, cells.shape[0])
    lines = cells[low] + share[:, None, None] * (cells[high] - cells[low])  # (H, w, K')
    first, at_first = _runs(width, cells.shape[1])
    ends = np.pad(lines, ((0, 0), (1, 1), (0, 0)), mode="edge")  # (H, w + 2, K')
    rise = ends[:, 1:] - ends[:, :-1]  # (H, w + 1, K')
    if np.abs(rise).max() > MOST_RISE:
        return None
    logit = ends[:, :-1] + at_first[:, None] * rise
    rise *= np.float32(cells.shape[1] / width)
    logit -= logit[..., :classes].max(axis=2, keepdims=True)
    logit[..., classes:] = 0  # of no class: not so far above the others that it has no exponential
    start, ratio = np.exp(logit), np.exp(rise)
    start[..., classes:] = 0
    voxels, place = _seen(hit_voxel.reshape(-1), int(hit_voxel.max()) + 1)
    target = np.zeros((len(voxels), cells.shape[2]), np.float32)
    constant = _sum(logit, rise, start, ratio, first, place.reshape(height, width), weights, target)
    return voxels, np.ascontiguousarray(target[:, :classes]), constant


def _taps(pixels: int, cells: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The cells below and above each pixel's centre and the upper one's share; at the ends both are the same cell."""
    position = (np.arange(pixels) + 0.5) * cells / pixels - 0.5
    low = np.floor(position).astype(np.int64)
    return low.clip(0), (low + 1).clip(max=cells - 1), (position - low).astype(np.float32)


def _runs(pixels: int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """(cells + 2,) the first pixel after each cell's centre, and (cells + 1,) how far from that cell it is."""
    low = np.floor((np.arange(pixels) + 0.5) * cells / pixels - 0.5).astype(np.int64)
    first = np.searchsorted(low, np.arange(-1, cells + 1))
    position = (first[:-1] + 0.5) * cells / pixels - 0.5
    return first, (position - np.arange(-1, cells)).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _seen(hit_voxel, voxels):  # type: ignore[no-untyped-def]
    """The voxels that are hit, ascending, and the place among them of each pixel's, -1 = none."""
    place_of = np.full(voxels, -1, np.int32)
    for voxel in hit_voxel:
        if voxel >= 0:
            place_of[voxel] = 0
    count = 0
    for voxel in range(voxels):
        if place_of[voxel] == 0:
            place_of[voxel] = count
            count += 1
    seen = np.empty(count, np.int64)
    place = np.full(len(hit_voxel), -1, np.int32)
    for pixel in range(len(hit_voxel)):
        if hit_voxel[pixel] >= 0:
            place[pixel] = place_of[hit_voxel[pixel]]
            seen[place[pixel]] = hit_voxel[pixel]
    return seen, place


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
def _sum(logit, rise, start, ratio, first, place, weights, target):  # type: ignore[no-untyped-def]
    """Adds each pixel's weighted shares to its voxel's row of ``target``; returns sum_p w_p <t_p, log t_p>."""
    rows, runs, classes = start.shape
    constant = 0.0
    for row in range(rows):
        for run in range(runs):
            share, line = start[row, run].copy(), logit[row, run].copy()
            growth, step = ratio[row, run], rise[row, run]
            for column in range(first[run], first[run + 1]):
                at = place[row, column]
                if at >= 0 and weights[row, column] > 0:
                    total, mean = np.float32(0), np.float32(0)
                    for k in range(classes):
                        total += share[k]
                        mean += share[k] * line[k]
                    scale = weights[row, column] / total
                    for k in range(classes):
                        target[at, k] += scale * share[k]
                    constant += weights[row, column] * (np.float64(mean) / total - np.log(np.float64(total)))
                for k in range(classes):
                    share[k] *= growth[k]
                    line[k] += step[k]
    return constant
