"""Fewer points, where a page would grow too large: those in one small cube become one (Rossignac and Borrel 1993)."""

from __future__ import annotations

import numpy as np

from roomseg.report.viewer.content import ViewerSurface

FIRST_CUBE_M = 0.012
GROWTH = 1.25


def reduced(surface: ViewerSurface, most_points: int) -> ViewerSurface:
    """The same, or its points merged in the smallest cubes that leave few enough."""
    cube_m = FIRST_CUBE_M
    while len(surface.points) > most_points:
        surface = _merged(surface, cube_m)
        cube_m *= GROWTH
    return surface


def _merged(surface: ViewerSurface, cube_m: float) -> ViewerSurface:
    """Means of all but the label, which is the commonest in the cube."""
    cube = np.unique(np.floor(surface.points / cube_m).astype(np.int64), axis=0, return_inverse=True)[1].ravel()
    n = int(cube.max()) + 1
    count = np.bincount(cube, minlength=n)

    def mean(values: np.ndarray) -> np.ndarray:  # (N,) or (N, c) -> (n,) or (n, c)
        columns = values.reshape(len(values), -1).astype(np.float64).T
        means = np.stack([np.bincount(cube, column, n) / count for column in columns], axis=1)
        return means.reshape(n, *values.shape[1:])

    normal = mean(surface.normal)
    faces = cube[surface.faces]
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    return ViewerSurface(
        points=mean(surface.points),
        faces=_without_twins(faces[whole]).astype(np.int32),
        color=np.rint(mean(surface.color)).astype(np.uint8),
        label=_commonest(cube, surface.label, n),
        confidence=None if surface.confidence is None else mean(surface.confidence).astype(np.float32),
        normal=(normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)).astype(np.float32),
        openness=mean(surface.openness).astype(np.float32),
    )


def _commonest(cube: np.ndarray, label: np.ndarray, n: int) -> np.ndarray:  # (n,) uint8
    pair, votes = np.unique(cube.astype(np.int64) * 256 + label, return_counts=True)
    order = np.argsort(votes, kind="stable")  # the last one written to a cube has the most votes
    best = np.zeros(n, np.uint8)
    best[pair[order] // 256] = pair[order] % 256
    return best


def _without_twins(faces: np.ndarray) -> np.ndarray:
    """Each face once, whichever corner it starts at; the order of the first is kept."""
    first = faces.argmin(axis=1)
    turned = np.take_along_axis(faces, (first[:, None] + np.arange(3)) % 3, axis=1)
    return turned[np.sort(np.unique(turned, axis=0, return_index=True)[1])]
