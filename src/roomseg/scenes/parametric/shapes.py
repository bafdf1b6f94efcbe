"""The shapes that parametric furniture is made of: boxes, turned profiles, rods and cushions, labelled 0."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.textures import Texture

Vec = tuple[float, float, float]

# A box's six faces: outward axis, side, and the axes that u and v run along, such that u x v points outward.
_BOX_FACES = ((0, 1, 1, 2), (0, 0, 2, 1), (1, 1, 2, 0), (1, 0, 0, 2), (2, 1, 0, 1), (2, 0, 1, 0))


@dataclass(frozen=True)
class Paint:
    color: tuple[int, int, int]
    texture: Texture | None = None


def box(low: Vec, high: Vec, paint: Paint) -> TriangleMesh:
    """An upright box; a texture's u runs along each face's longer side."""
    corner = np.array([low, high], np.float64)
    vertices, uvs = [], []
    for axis, side, u, v in _BOX_FACES:
        face = np.empty((4, 3))
        face[:, axis] = corner[side, axis]
        face[:, u] = corner[[0, 1, 1, 0], u]
        face[:, v] = corner[[0, 0, 1, 1], v]
        along = (u, v) if corner[1, u] - corner[0, u] >= corner[1, v] - corner[0, v] else (v, u)
        vertices.append(face)
        uvs.append(face[:, along])
    return quads(np.concatenate(vertices), np.concatenate(uvs), paint)


def tapered(low: Vec, high: Vec, top: float, paint: Paint) -> TriangleMesh:
    """A box whose upper face is shrunk about its middle to ``top`` of its size."""
    body = box(low, high, paint)
    middle = (np.array(low)[:2] + np.array(high)[:2]) / 2
    share = (body.vertices[:, 2:] - low[2]) / (high[2] - low[2])
    vertices = body.vertices.copy()
    vertices[:, :2] = middle + (body.vertices[:, :2] - middle) * (1 + (top - 1) * share)
    return replace(body, vertices=vertices.astype(np.float32))


def picture(low: Vec, high: Vec, image: np.ndarray) -> TriangleMesh:
    """A quadrilateral that shows an image (h, w, 3) to -Y; ``low`` and ``high`` have the same y."""
    (x0, y, z0), (x1, _, z1) = low, high
    corners = np.array([(x0, y, z0), (x1, y, z0), (x1, y, z1), (x0, y, z1)])
    uv = np.array([(0.0, 0), (1, 0), (1, 1), (0, 1)])
    return quads(corners, uv, Paint((200, 200, 200), Texture("", image, (1.0, 1.0))))


def quads(corners: np.ndarray, uv_m: np.ndarray, paint: Paint) -> TriangleMesh:  # (4n, 3), (4n, 2)
    first = np.arange(0, len(corners), 4)[:, None, None]
    faces = (first + np.array([[0, 1, 2], [0, 2, 3]])).reshape(-1, 3)
    return painted(corners, faces, uv_m[faces], paint)


def painted(vertices: np.ndarray, faces: np.ndarray, uv_m: np.ndarray, paint: Paint) -> TriangleMesh:
    """Triangles of one paint; ``uv_m`` (F, 3, 2) is in metres."""
    n = len(faces)
    tile_m = paint.texture.tile_m if paint.texture else (1.0, 1.0)
    return TriangleMesh(
        vertices=np.asarray(vertices, np.float32),
        faces=np.asarray(faces, np.int32),
        face_label=np.zeros(n, np.uint8),
        face_color=np.tile(np.array(paint.color, np.uint8), (n, 1)),
        face_texture=np.full(n, 0 if paint.texture else -1, np.int32),
        uv=(uv_m / np.array(tile_m)).astype(np.float32),
        textures=(paint.texture.image,) if paint.texture else (),
    )


def turned(
    profile: Sequence[tuple[float, float]],  # (radius, z) from the bottom up
    paint: Paint,
    at: tuple[float, float] = (0.0, 0.0),
    squeeze: tuple[float, float] = (1.0, 1.0),
    sides: int = 16,
) -> TriangleMesh:
    """A profile turned about +Z, closed at both ends, its rings made ellipses by ``squeeze``."""
    (first_r, first_z), (last_r, last_z) = profile[0], profile[-1]
    rings = [(0.0, first_z), *profile, (0.0, last_z)] if first_r or last_r else list(profile)
    radius, z = np.array(rings).T
    angle = 2 * np.pi * np.arange(sides) / sides
    x = radius[:, None] * np.cos(angle) * squeeze[0] + at[0]
    y = radius[:, None] * np.sin(angle) * squeeze[1] + at[1]
    grid = np.stack([x, y, np.broadcast_to(z[:, None], x.shape)], axis=-1)  # (rings, sides, 3)
    length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(radius), np.diff(z)))])
    return _grid_mesh(grid, 2 * np.pi * max(radius.max(), 1e-3), length, paint)


def cylinder(
    radius: float,
    low: float,
    high: float,
    paint: Paint,
    at: tuple[float, float] = (0.0, 0.0),
    top_radius: float | None = None,
    sides: int = 16,
) -> TriangleMesh:
    top = radius if top_radius is None else top_radius
    return turned([(radius, low), (top, high)], paint, at, sides=sides)


def rod(start: Vec, end: Vec, radius: float, paint: Paint, sides: int = 8) -> TriangleMesh:
    """A round bar between two points."""
    axis = np.subtract(end, start)
    length = float(np.linalg.norm(axis))
    matrix = np.eye(4)
    matrix[:3, 2] = axis / length
    side = np.array([1.0, 0, 0]) if abs(axis[0]) < 0.9 * length else np.array([0.0, 1, 0])
    matrix[:3, 0] = np.cross(side, matrix[:3, 2])
    matrix[:3, 0] /= np.linalg.norm(matrix[:3, 0])
    matrix[:3, 1] = np.cross(matrix[:3, 2], matrix[:3, 0])
    matrix[:3, 3] = start
    return cylinder(radius, 0.0, length, paint, sides=sides).transformed(matrix)


def cushion(low: Vec, high: Vec, paint: Paint, roundness: float = 0.35, sides: int = 16) -> TriangleMesh:
    """A superellipsoid that fills the box: ``roundness`` 1 is an ellipsoid, towards 0 a box."""
    centre, half = (np.array(low) + high) / 2, (np.array(high) - low) / 2
    latitude = np.linspace(-np.pi / 2, np.pi / 2, sides // 2 + 1)
    longitude = 2 * np.pi * (np.arange(sides) + 0.5) / sides

    def power(value: np.ndarray) -> np.ndarray:
        return np.sign(value) * np.abs(value) ** roundness

    ring = power(np.cos(latitude))[:, None]
    x, y = ring * power(np.cos(longitude)), ring * power(np.sin(longitude))
    z = np.broadcast_to(power(np.sin(latitude))[:, None], x.shape)
    grid = np.stack([x, y, z], axis=-1)
    grid = centre + grid / np.abs(grid).max(axis=(0, 1)) * half
    height = np.linspace(0, 2 * half[2] + half[1], len(latitude))
    return _grid_mesh(grid, float(4 * half[:2].sum()), height, paint)


def _grid_mesh(grid: np.ndarray, around_m: float, along_m: np.ndarray, paint: Paint) -> TriangleMesh:
    """A tube of rings (R, S, 3); the texture goes around and along it."""
    rings, sides = grid.shape[:2]
    ring, side = (index.ravel() for index in np.meshgrid(np.arange(rings - 1), np.arange(sides), indexing="ij"))
    after = (side + 1) % sides
    corners = np.stack([ring * sides + side, ring * sides + after, (ring + 1) * sides + after], axis=1)
    others = np.stack([ring * sides + side, (ring + 1) * sides + after, (ring + 1) * sides + side], axis=1)
    u0, u1 = side * around_m / sides, (side + 1) * around_m / sides
    v0, v1 = along_m[ring], along_m[ring + 1]
    uv_corners = np.stack([u0, v0, u1, v0, u1, v1], axis=1)
    uv_others = np.stack([u0, v0, u1, v1, u0, v1], axis=1)
    uv = np.concatenate([uv_corners, uv_others]).reshape(-1, 3, 2)
    return painted(grid.reshape(-1, 3), np.concatenate([corners, others]), uv, paint)
