"""A triangle mesh as the renderers want it: flat arrays, faces sorted into small clusters, textures with their levels.

Faces near one another and of similar size make a cluster, so that a renderer skips what is out of view or hidden in
one test, and what it reads lies together.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from roomseg.errors import UserError
from roomseg.geometry.kernels import kernel
from roomseg.geometry.mesh import TriangleMesh
from roomseg.geometry.texture import texture_levels

CLUSTER = 64  # faces
LIGHT = np.array([0.25, 0.35, 0.9]) / np.linalg.norm([0.25, 0.35, 0.9])  # towards a light at the ceiling
AMBIENT = 0.6
GRID_BITS = 10  # of each coordinate of a face's middle, in the order of the faces
SMALL_M = 0.25  # faces up to this size are sorted by place alone, larger ones by doublings of it first
STEEPEST_UV = 1e4  # repeats a metre; beyond it a face is a sliver, and takes the colour of its first corner


SURFACE = np.dtype(  # of a face; 64 bytes, so that looking one up reads one cache line
    [
        ("uv_of", np.float32, (2, 4)),  # from a point (x, y, z, 1) of the face to its u and v
        ("texels_per_m", np.float32),  # of the texture's level 0
        ("shade", np.float32),  # brightness in a frame, 0..1
        ("texture", np.int32),  # -1 = none
        ("color", np.int32),  # red + 256 green + 65536 blue
        ("normal", np.float32, (3,)),  # unit; 0 for a face without area
        ("label", np.uint8),
    ],
    align=True,
)


class PackedMesh(NamedTuple):
    """A ``TriangleMesh`` sorted into clusters of ``CLUSTER`` faces; ``order`` has the faces' places in the source."""

    vertices: np.ndarray  # (V, 3) float32, metres
    faces: np.ndarray  # (F, 3) int32
    order: np.ndarray  # (F,) int32
    corners: np.ndarray  # (C, 9, CLUSTER) float32, x y z of the three corners; the last cluster repeats its last face
    boxes: np.ndarray  # (6, C) float32, middle and half size of each cluster
    surfaces: np.ndarray  # (F,) SURFACE
    texels: np.ndarray  # (N,) int32, colours of all levels of all textures
    levels: np.ndarray  # (T, MAX_LEVELS, 3) int32, first texel, height and width


def pack_mesh(mesh: TriangleMesh) -> PackedMesh:
    """Arrays for the renderers; raises ``UserError`` for a mesh that is empty, not finite or has indices outside."""
    _check(mesh)
    vertices = np.ascontiguousarray(mesh.vertices, np.float32)
    order = np.argsort(_places(vertices, np.ascontiguousarray(mesh.faces, np.int32)), kind="stable").astype(np.int32)
    faces = np.ascontiguousarray(mesh.faces[order], np.int32)
    texels, levels = texture_levels(mesh.textures)
    surfaces = np.zeros(len(faces), SURFACE)
    surfaces["texture"] = mesh.face_texture[order]
    surfaces["color"] = mesh.face_color[order].astype(np.int32) @ np.array([1, 1 << 8, 1 << 16], np.int32)
    surfaces["label"] = mesh.face_label[order]
    _describe(vertices, faces, mesh.uv[order].astype(np.float32), levels, surfaces)
    corners, boxes = _clusters(vertices, faces)
    return PackedMesh(vertices, faces, order, corners, boxes, surfaces, texels, levels)


def _check(mesh: TriangleMesh) -> None:
    if len(mesh.faces) == 0:
        raise UserError("got a mesh without faces; expected at least one triangle: check the scene source")
    if not np.isfinite(mesh.vertices).all() or not np.isfinite(mesh.uv).all():
        raise UserError("got a mesh with NaN or infinite vertices or uv; expected finite numbers: repair the model")
    for name, index, low, end in (
        ("faces", mesh.faces, 0, len(mesh.vertices)),
        ("face_texture", mesh.face_texture, -1, len(mesh.textures)),
    ):
        if index.min() < low or index.max() >= end:
            got = f"{index.min()}..{index.max()}"
            raise UserError(f"got a mesh with {name} {got}; expected {low}..{end - 1}: repair the model")


@kernel
def _places(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:  # (F,) uint64
    """What faces are sorted by: size class, then the place on a Z-order curve (Morton 1966)."""
    low, high = np.empty(3, np.float32), np.empty(3, np.float32)
    for axis in range(3):
        low[axis], high[axis] = vertices[:, axis].min(), vertices[:, axis].max()
    cells = np.float32((1 << GRID_BITS) - 1) / max(high[0] - low[0], high[1] - low[1], high[2] - low[2], 1e-9)
    places = np.empty(len(faces), np.uint64)
    for f in range(len(faces)):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        place, size = 0, 0.0
        for axis in range(3):
            least, most = min(a[axis], b[axis], c[axis]), max(a[axis], b[axis], c[axis])
            size = max(size, most - least)
            cell = int((0.5 * (least + most) - low[axis]) * cells)
            for bit in range(GRID_BITS):
                place |= (cell >> bit & 1) << (3 * bit + axis)
        while size > SMALL_M:
            size, place = 0.5 * size, place + (1 << 3 * GRID_BITS)
        places[f] = np.uint64(place)
    return places


@kernel
def _clusters(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The arrays ``corners`` and ``boxes`` of a ``PackedMesh``."""
    n = (len(faces) + CLUSTER - 1) // CLUSTER
    corners, boxes = np.empty((n, 9, CLUSTER), np.float32), np.empty((6, n), np.float32)
    for c in range(n):
        for axis in range(3):
            low, high = np.inf, -np.inf
            for t in range(CLUSTER):
                face = min(c * CLUSTER + t, len(faces) - 1)
                for corner in range(3):
                    x = vertices[faces[face, corner], axis]
                    corners[c, 3 * corner + axis, t] = x
                    low, high = min(low, x), max(high, x)
            boxes[axis, c], boxes[3 + axis, c] = 0.5 * (low + high), 0.5 * (high - low) * 1.000001 + 1e-6
    return corners, boxes


@kernel
def _describe(
    vertices: np.ndarray,  # (V, 3)
    faces: np.ndarray,  # (F, 3)
    uv: np.ndarray,  # (F, 3, 2)
    levels: np.ndarray,  # (T, MAX_LEVELS, 3)
    surfaces: np.ndarray,  # (F,) SURFACE, in place
) -> None:
    """Normals and shades; of textured faces also the affine map from space to the texture, and its density."""
    u, v, n, along = np.empty(3), np.empty(3), np.empty(3), np.empty((2, 3))
    for f in range(len(faces)):
        surface = surfaces[f]
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        for axis in range(3):
            u[axis], v[axis] = np.float64(b[axis]) - a[axis], np.float64(c[axis]) - a[axis]
        for axis in range(3):
            j, k = (axis + 1) % 3, (axis + 2) % 3
            n[axis] = u[j] * v[k] - u[k] * v[j]
        area2 = np.sqrt(n[0] * n[0] + n[1] * n[1] + n[2] * n[2])
        facing = 0.0
        if area2 > 1e-30:
            for axis in range(3):
                surface.normal[axis] = n[axis] / area2
                facing += n[axis] / area2 * LIGHT[axis]
        surface.shade = AMBIENT + (1 - AMBIENT) * abs(facing)
        texture = surface.texture
        if texture < 0:
            continue
        if area2 > 1e-12:
            for axis in range(3):  # the dual basis of u and v: along[0] . u = 1, along[0] . v = 0
                j, k = (axis + 1) % 3, (axis + 2) % 3
                along[0, axis] = (v[j] * n[k] - v[k] * n[j]) / (area2 * area2)
                along[1, axis] = (n[j] * u[k] - n[k] * u[j]) / (area2 * area2)
        _uv_map(a, along, uv[f], area2 > 1e-12, surface.uv_of)
        d1, d2 = uv[f, 1] - uv[f, 0], uv[f, 2] - uv[f, 0]
        texels = abs(np.float64(d1[0]) * d2[1] - np.float64(d1[1]) * d2[0]) * levels[texture, 0, 1]
        surface.texels_per_m = np.sqrt(texels * levels[texture, 0, 2] / max(area2, 1e-12))


@kernel
def _uv_map(a: np.ndarray, along: np.ndarray, uv: np.ndarray, has_area: bool, out: np.ndarray) -> None:
    """Into ``out`` (2, 4) u and v as affine functions of a point: uv[0] at the corner a, uv[1] and uv[2] at b and c."""
    for k in range(2):
        d1, d2 = np.float64(uv[1, k]) - uv[0, k], np.float64(uv[2, k]) - uv[0, k]
        start, steepest = np.float64(uv[0, k]), 0.0
        for axis in range(3):
            slope = d1 * along[0, axis] + d2 * along[1, axis]
            steepest = max(steepest, abs(slope))
            out[k, axis] = slope
            start -= slope * a[axis]
        if not has_area or steepest > STEEPEST_UV:
            out[k, :3], start = 0.0, np.float64(uv[0, k])
        out[k, 3] = start - np.floor(start)  # textures repeat: the whole part would only cost precision
