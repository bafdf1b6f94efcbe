"""A room as a box with a bed-sized box in it, finely meshed: metres, +Z up, the floor at z = 0."""

from __future__ import annotations

import numpy as np

from roomseg.geometry.surface import Surface

SIZE_M = (3.6, 3.0, 2.5)
BED_M = ((0.0, 0.4, 0.0), (1.9, 1.6, 0.5))  # lowest and highest corner
COLORS = {"floor": (150, 110, 70), "ceiling": (235, 235, 235), "wall": (190, 200, 180), "bed": (90, 90, 190)}


def _sheet(corner: tuple, u: tuple, v: tuple, pitch_m: float) -> tuple[np.ndarray, np.ndarray]:
    """A grid over the parallelogram at ``corner`` with the sides u and v."""
    n, m = (max(1, round(float(np.linalg.norm(side)) / pitch_m)) for side in (u, v))
    s, t = np.meshgrid(np.linspace(0, 1, n + 1), np.linspace(0, 1, m + 1), indexing="ij")
    points = np.array(corner) + s[..., None] * np.array(u) + t[..., None] * np.array(v)
    a = (np.arange(n)[:, None] * (m + 1) + np.arange(m)).ravel()
    quad = np.stack([a, a + m + 1, a + m + 2, a + 1], axis=1)
    return points.reshape(-1, 3), np.concatenate([quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]])


def _box(low: np.ndarray, high: np.ndarray, inward: bool) -> list[tuple[tuple, tuple, tuple]]:
    """Corner and two sides of each of the six faces: bottom, top, then the walls."""
    (x, y, z), (dx, dy, dz) = low, high - low
    faces = [
        ((x, y, z), (dx, 0, 0), (0, dy, 0)),
        ((x, y, z + dz), (0, dy, 0), (dx, 0, 0)),
        ((x, y, z), (0, 0, dz), (dx, 0, 0)),
        ((x, y + dy, z), (dx, 0, 0), (0, 0, dz)),
        ((x, y, z), (0, dy, 0), (0, 0, dz)),
        ((x + dx, y, z), (0, 0, dz), (0, dy, 0)),
    ]
    return faces if inward else [(corner, v, u) for corner, u, v in faces]


def box_room(pitch_m: float = 0.1, ceiling: bool = True) -> Surface:
    """Faces are counter-clockwise seen from the inside of the room."""
    room = _box(np.zeros(3), np.array(SIZE_M), inward=True)
    bed = _box(np.array(BED_M[0]), np.array(BED_M[1]), inward=False)[1:]
    names = ["floor", "ceiling", *["wall"] * 4, *["bed"] * 5]
    points, faces, color, first = [], [], [], 0
    for name, face in zip(names, [*room, *bed], strict=True):
        if name == "ceiling" and not ceiling:
            continue
        grid, triangles = _sheet(*face, pitch_m)
        points.append(grid)
        faces.append(triangles + first)
        color.append(np.tile(np.array(COLORS[name], np.uint8), (len(grid), 1)))
        first += len(grid)
    return Surface(np.concatenate(points), np.concatenate(faces).astype(np.int32), np.concatenate(color))


def as_cloud(surface: Surface, n: int, noise_m: float = 0.004, seed: int = 0) -> Surface:
    """n points spread over the surface."""
    rng = np.random.default_rng(seed)
    corner = surface.points[surface.faces]
    area = np.linalg.norm(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]), axis=1)
    face = rng.choice(len(area), n, p=area / area.sum())
    weight = rng.dirichlet((1, 1, 1), n)
    points = np.einsum("nk,nkc->nc", weight, corner[face]) + rng.normal(0, noise_m, (n, 3))
    return Surface(points, np.zeros((0, 3), np.int32), surface.color[surface.faces[face, 0]])
