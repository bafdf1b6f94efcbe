"""Normals towards the free side, and how open the space before a surface is: both read from the TSDF."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import map_coordinates

EMPTY = 127.0
REACH = (1.0, 2.0, 4.0)  # voxels along the normal at which nearness of other surfaces is looked for
DARKEST = 0.62  # in a deep corner
SLOPE = 0.5  # TSDF steps a voxel: less is no direction


def free_normals(
    tsdf: np.ndarray,  # (X, Y, Z) int8
    places: np.ndarray,  # (N, 3) voxels
) -> np.ndarray:  # (N, 3) float32, unit; 0 where the volume knows none
    """The way in which the distance grows, over a voxel to each side."""
    steps = np.eye(3)
    slope = np.stack([_sampled(tsdf, places + step) - _sampled(tsdf, places - step) for step in steps], axis=1)
    length = np.linalg.norm(slope, axis=1, keepdims=True)
    return np.where(length > SLOPE, slope / np.maximum(length, 1e-9), 0).astype(np.float32)


def openness(tsdf: np.ndarray, places: np.ndarray, normals: np.ndarray, truncation_voxels: int) -> np.ndarray:
    """(N,) float32: 1 where the distance grows along the normal as before a lone plane, less where it grows slower."""
    total = np.zeros(len(places))
    for reach in REACH:
        free = _sampled(tsdf, places + reach * normals)
        expected = min(EMPTY * reach / truncation_voxels, EMPTY)
        total += np.clip(1 - free / expected, 0, 1)
    dark = np.where(np.abs(normals).sum(axis=1) > 0, total / len(REACH), 0)
    return (1 - (1 - DARKEST) * np.clip(1.6 * dark - 0.15, 0, 1)).astype(np.float32)


def _sampled(tsdf: np.ndarray, places: np.ndarray) -> np.ndarray:  # (N,) trilinear, empty outside
    return map_coordinates(tsdf, places.T, output=np.float32, order=1, mode="constant", cval=EMPTY)
