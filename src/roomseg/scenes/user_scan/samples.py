"""A surface as points with normals, evenly spread: what units, up, bounds and camera places are found from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from roomseg.geometry.mesh import face_normals
from roomseg.geometry.surface import Surface

SAMPLES = 200_000
NEIGHBOURS = 16  # of a point, that its normal is fitted to


class Samples(NamedTuple):
    points: np.ndarray  # (M, 3) float64
    normals: np.ndarray  # (M, 3) float64 unit, of either sign


def samples_of(surface: Surface, rng: np.random.Generator, n: int = SAMPLES) -> Samples:
    """About n points; of a mesh as many on each unit of area, of a cloud a draw of its points."""
    if surface.is_cloud:
        finite = surface.points[np.isfinite(surface.points).all(axis=1)]
        chosen = finite if len(finite) <= n else finite[np.sort(rng.choice(len(finite), n, replace=False))]
        return Samples(chosen, fitted_normals(chosen, chosen))
    corner = surface.points[surface.faces]  # (F, 3, 3)
    a, ab, ac = corner[:, 0], corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    cross = face_normals(corner)
    double_area = np.linalg.norm(cross, axis=1)
    if not double_area.sum() > 0:
        return Samples(np.zeros((0, 3)), np.zeros((0, 3)))
    total = double_area.cumsum()
    place = (np.arange(n) + rng.random(n)) * (total[-1] / n)
    face = np.minimum(np.searchsorted(total, place, side="right"), len(total) - 1)
    s, t = rng.random((2, n, 1))
    s, t = np.where(s + t > 1, 1 - s, s), np.where(s + t > 1, 1 - t, t)
    return Samples(a[face] + s * ab[face] + t * ac[face], cross[face] / np.maximum(double_area[face], 1e-300)[:, None])


def fitted_normals(at: np.ndarray, cloud: np.ndarray) -> np.ndarray:  # (M, 3), (N, 3) -> (M, 3) unit
    """Normals of the planes through each point's nearest neighbours in the cloud; +Z where there are too few."""
    k = min(NEIGHBOURS, len(cloud))
    if k < 3:
        return np.tile([0.0, 0.0, 1.0], (len(at), 1))
    near = cKDTree(cloud).query(at, k, workers=-1)[1]  # (M, k)
    normals = np.empty((len(at), 3))
    for start in range(0, len(at), 100_000):  # bounds the memory of the neighbourhoods
        part = cloud[near[start : start + 100_000]]
        part = part - part.mean(axis=1, keepdims=True)
        normals[start : start + 100_000] = np.linalg.eigh(np.einsum("nki,nkj->nij", part, part))[1][..., 0]
    return normals
