"""A z-buffer rasteriser for RGB-D and label frames.

Two passes. ``_draw`` finds the nearest face and its depth at each pixel: near-plane clipping, both sides of a face,
inverse depth linear on the screen. ``_shade`` looks the colour up there. Edge functions are evaluated in a form that
changes only its sign when the two end points are swapped, so no pixel falls between two faces with a common edge.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from roomseg.errors import UserError
from roomseg.geometry.cameras import Lens, Pinhole
from roomseg.geometry.kernels import inlined_kernel, kernel
from roomseg.geometry.mesh import TriangleMesh

NEAR_M = 0.02
LIGHT = np.array([0.25, 0.35, 0.9]) / np.linalg.norm([0.25, 0.35, 0.9])  # towards a light at the ceiling
AMBIENT = 0.6
MAX_LEVELS = 8
LEFT, RIGHT, ABOVE, BELOW, BEHIND = 1, 2, 4, 8, 16  # the planes of the view that a vertex is outside of


class Frame(NamedTuple):
    rgb: np.ndarray  # (H, W, 3) uint8
    depth: np.ndarray  # (H, W) float32, metres along the optical axis, 0 = none
    label: np.ndarray  # (H, W) uint8, class ids


class PackedMesh(NamedTuple):
    """A ``TriangleMesh`` as contiguous arrays, its textures halved again and again and laid into one row of texels."""

    vertices: np.ndarray  # (V, 3) float32, metres
    faces: np.ndarray  # (F, 3) int32
    normal: np.ndarray  # (F, 3) float32, unit; 0 for a face without area
    label: np.ndarray  # (F,) uint8
    color: np.ndarray  # (F, 3) float32, 0..255
    shade: np.ndarray  # (F,) float32, 0..1
    texture: np.ndarray  # (F,) int32, -1 = none
    uv: np.ndarray  # (F, 3, 2) float32
    texels_per_m: np.ndarray  # (F,) float32, of the texture's level 0
    texels: np.ndarray  # (N, 3) uint8
    level_start: np.ndarray  # (T, MAX_LEVELS) int64, index into texels
    level_size: np.ndarray  # (T, MAX_LEVELS, 2) int64, height and width


def pack_mesh(mesh: TriangleMesh) -> PackedMesh:
    """Arrays for the renderers; raises ``UserError`` for a mesh that is empty, not finite or has indices outside."""
    _check(mesh)
    vertices = np.ascontiguousarray(mesh.vertices, np.float32)
    corner = vertices[mesh.faces].astype(np.float64)  # (F, 3, 3)
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    double_area = np.linalg.norm(cross, axis=1)
    normal = cross / np.maximum(double_area, 1e-30)[:, None]
    texels, start, size = _pyramids(mesh.textures)
    return PackedMesh(
        vertices=vertices,
        faces=np.ascontiguousarray(mesh.faces, np.int32),
        normal=normal.astype(np.float32),
        label=np.ascontiguousarray(mesh.face_label, np.uint8),
        color=np.ascontiguousarray(mesh.face_color, np.float32),
        shade=(AMBIENT + (1 - AMBIENT) * np.abs(normal @ LIGHT)).astype(np.float32),
        texture=np.ascontiguousarray(mesh.face_texture, np.int32),
        uv=np.ascontiguousarray(mesh.uv, np.float32),
        texels_per_m=_texel_density(mesh, double_area, size),
        texels=texels,
        level_start=start,
        level_size=size,
    )


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


def _texel_density(mesh: TriangleMesh, double_area_m2: np.ndarray, size: np.ndarray) -> np.ndarray:  # (F,) float32
    density = np.zeros(len(mesh.faces), np.float32)
    textured = mesh.face_texture >= 0
    if textured.any():
        uv = mesh.uv[textured].astype(np.float64)
        (u1, v1), (u2, v2) = (uv[:, 1] - uv[:, 0]).T, (uv[:, 2] - uv[:, 0]).T
        texels = np.abs(u1 * v2 - u2 * v1) * size[mesh.face_texture[textured], 0].prod(axis=1)
        density[textured] = np.sqrt(texels / np.maximum(double_area_m2[textured], 1e-12))
    return density


def _pyramids(textures: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Texels, starts and sizes of all levels of all textures; a texture of few levels repeats its last."""
    start = np.zeros((len(textures), MAX_LEVELS), np.int64)
    size = np.ones((len(textures), MAX_LEVELS, 2), np.int64)
    rows, end = [np.zeros((0, 3), np.uint8)], 0
    for t, texture in enumerate(textures):
        level = texture.astype(np.float32)
        for k in range(MAX_LEVELS):
            start[t, k], size[t, k] = end, level.shape[:2]
            rows.append(np.rint(level).astype(np.uint8).reshape(-1, 3))
            end += len(rows[-1])
            level = _halved(_halved(level, 0), 1)
    return np.concatenate(rows), start, size


def _halved(image: np.ndarray, axis: int) -> np.ndarray:
    half = image.shape[axis] // 2
    if half == 0:
        return image
    even, odd = np.arange(half) * 2, np.arange(half) * 2 + 1
    return (image.take(even, axis) + image.take(odd, axis)) / 2


@inlined_kernel
def surface_color(mesh: PackedMesh, face: int, b1: float, b2: float, footprint_m: float, color: np.ndarray) -> None:
    """Into ``color`` (3,) the unlit colour, 0..255, of a face at the barycentric weights b1, b2 of its corners 1 and 2.

    ``footprint_m`` is the width of the pixel on the surface: it chooses the texture's level, bilinear within it.
    """
    t = mesh.texture[face]
    if t < 0:
        for channel in range(3):
            color[channel] = mesh.color[face, channel]
        return
    shrink = max(1.0, footprint_m * mesh.texels_per_m[face])
    level = min(int(math.log2(shrink) + 0.5), MAX_LEVELS - 1)
    start, h, w = mesh.level_start[t, level], mesh.level_size[t, level, 0], mesh.level_size[t, level, 1]
    b0 = 1.0 - b1 - b2
    u = b0 * mesh.uv[face, 0, 0] + b1 * mesh.uv[face, 1, 0] + b2 * mesh.uv[face, 2, 0]
    v = b0 * mesh.uv[face, 0, 1] + b1 * mesh.uv[face, 1, 1] + b2 * mesh.uv[face, 2, 1]
    x, y = (u - math.floor(u)) * w - 0.5, (math.ceil(v) - v) * h - 0.5  # row 0 is the top, at v = 1
    left, top = math.floor(x), math.floor(y)
    s, r = x - left, y - top
    col0, col1 = (left if left >= 0 else w - 1), (left + 1 if left + 1 < w else 0)
    row0, row1 = (top if top >= 0 else h - 1), (top + 1 if top + 1 < h else 0)
    upper, lower, texture = start + row0 * w, start + row1 * w, mesh.texels
    for channel in range(3):
        above = (1 - s) * texture[upper + col0, channel] + s * texture[upper + col1, channel]
        below = (1 - s) * texture[lower + col0, channel] + s * texture[lower + col1, channel]
        color[channel] = (1 - r) * above + r * below


@kernel
def _fill(
    corner: np.ndarray, i: int, j: int, k: int, face: int, inverse_depth: np.ndarray, face_of: np.ndarray
) -> None:
    """Draw the screen triangle of the rows i, j, k of ``corner`` (n, 3): x, y in image coordinates and 1 / depth."""
    ax, ay, bx, by, cx, cy = corner[i, 0], corner[i, 1], corner[j, 0], corner[j, 1], corner[k, 0], corner[k, 1]
    height, width = inverse_depth.shape
    col0 = int(max(0.0, math.ceil(min(ax, bx, cx) - 0.5)))
    col1 = int(min(width - 1.0, math.floor(max(ax, bx, cx) - 0.5)))
    row0 = int(max(0.0, math.ceil(min(ay, by, cy) - 0.5)))
    row1 = int(min(height - 1.0, math.floor(max(ay, by, cy) - 0.5)))
    area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    if col0 > col1 or row0 > row1 or area == 0.0:
        return
    sign = 1.0 if area > 0 else -1.0
    xa, ya, ca = sign * (by - cy), sign * (cx - bx), sign * (bx * cy - cx * by)  # edge b-c: xa x + ya y + ca >= 0
    xb, yb, cb = sign * (cy - ay), sign * (ax - cx), sign * (cx * ay - ax * cy)
    xc, yc, cc = sign * (ay - by), sign * (bx - ax), sign * (ax * by - bx * ay)
    wa, wb, wc = corner[i, 2] / abs(area), corner[j, 2] / abs(area), corner[k, 2] / abs(area)
    for row in range(row0, row1 + 1):
        y = row + 0.5
        base_a, base_b, base_c = ya * y + ca, yb * y + cb, yc * y + cc
        for col in range(col0, col1 + 1):
            x = col + 0.5
            ea, eb, ec = xa * x + base_a, xb * x + base_b, xc * x + base_c
            if ea >= 0.0 and eb >= 0.0 and ec >= 0.0:
                inverse = np.float32(ea * wa + eb * wb + ec * wc)
                if inverse > inverse_depth[row, col]:
                    inverse_depth[row, col] = inverse
                    face_of[row, col] = face


@kernel
def _clip(points: np.ndarray, lens: Lens, corner: np.ndarray) -> int:
    """Cut a camera-frame triangle at the near plane; its 0, 3 or 4 screen corners go to ``corner``. Returns how many.

    A cut is always computed from the corner in front to the one behind: faces with a common edge get the same point.
    """
    fx, fy, cx, cy = lens
    n = 0
    for i in range(3):
        a, b = points[i], points[(i + 1) % 3]
        a_seen, b_seen = a[2] >= NEAR_M, b[2] >= NEAR_M
        if a_seen:
            corner[n, 0], corner[n, 1], corner[n, 2] = fx * a[0] / a[2] + cx, fy * a[1] / a[2] + cy, 1.0 / a[2]
            n += 1
        if a_seen != b_seen:
            front, back = (a, b) if a_seen else (b, a)
            t = (front[2] - NEAR_M) / (front[2] - back[2])
            corner[n, 0] = fx * (front[0] + t * (back[0] - front[0])) / NEAR_M + cx
            corner[n, 1] = fy * (front[1] + t * (back[1] - front[1])) / NEAR_M + cy
            corner[n, 2] = 1.0 / NEAR_M
            n += 1
    return n


@kernel
def _to_camera(
    vertices: np.ndarray,  # (V, 3)
    rotation: np.ndarray,  # (3, 3)
    shift: np.ndarray,  # (3,)
    lens: Lens,
    size: tuple[int, int],  # height, width
    point: np.ndarray,  # (V, 3) out
    screen: np.ndarray,  # (V, 3) out
    outside: np.ndarray,  # (V,) out
) -> None:
    """Fill camera-frame points (V, 3), screen corners (V, 3) and, a bit a plane, what each vertex is outside of."""
    fx, fy, cx, cy = lens
    height, width = size
    for i in range(len(vertices)):
        vx, vy, vz = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        x = rotation[0, 0] * vx + rotation[0, 1] * vy + rotation[0, 2] * vz + shift[0]
        y = rotation[1, 0] * vx + rotation[1, 1] * vy + rotation[1, 2] * vz + shift[1]
        z = rotation[2, 0] * vx + rotation[2, 1] * vy + rotation[2, 2] * vz + shift[2]
        point[i, 0], point[i, 1], point[i, 2] = x, y, z
        across, down = fx * x + cx * z, fy * y + cy * z
        code = LEFT * (across < 0) | RIGHT * (across > width * z) | ABOVE * (down < 0) | BELOW * (down > height * z)
        if z < NEAR_M:
            code |= BEHIND
        else:
            screen[i, 0], screen[i, 1], screen[i, 2] = fx * x / z + cx, fy * y / z + cy, 1.0 / z
        outside[i] = code


@kernel
def _draw(
    vertices: np.ndarray,  # (V, 3)
    faces: np.ndarray,  # (F, 3)
    rotation: np.ndarray,  # (3, 3) world to camera
    shift: np.ndarray,  # (3,) world to camera
    lens: Lens,
    inverse_depth: np.ndarray,  # (H, W) out, 1 / metres
    face_of: np.ndarray,  # (H, W) out
) -> None:
    """Into ``inverse_depth`` (H, W), 0 = none, and ``face_of`` (H, W), -1 = none: the nearest face of each pixel."""
    point, screen = np.empty((len(vertices), 3)), np.empty((len(vertices), 3))
    outside = np.empty(len(vertices), np.uint8)
    _to_camera(vertices, rotation, shift, lens, inverse_depth.shape, point, screen, outside)
    corner, triangle = np.empty((4, 3)), np.empty((3, 3))
    for face in range(len(faces)):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        if outside[a] & outside[b] & outside[c]:
            continue
        if (outside[a] | outside[b] | outside[c]) & BEHIND:
            triangle[0], triangle[1], triangle[2] = point[a], point[b], point[c]
            for last in range(2, _clip(triangle, lens, corner)):
                _fill(corner, 0, last - 1, last, face, inverse_depth, face_of)
        else:
            _fill(screen, a, b, c, face, inverse_depth, face_of)


@kernel
def _shade(
    mesh: PackedMesh, pose: np.ndarray, lens: Lens, inverse_depth: np.ndarray, face_of: np.ndarray, frame: Frame
) -> None:
    fx, fy, cx, cy = lens
    height, width = face_of.shape
    color = np.empty(3, np.float32)
    for row in range(height):
        for col in range(width):
            face = face_of[row, col]
            if face < 0:
                continue
            z = 1.0 / inverse_depth[row, col]
            frame.depth[row, col], frame.label[row, col] = z, mesh.label[face]
            b1, b2 = 0.0, 0.0
            if mesh.texture[face] >= 0:
                b1, b2 = _barycentric(mesh, face, pose, (col + 0.5 - cx) / fx * z, (row + 0.5 - cy) / fy * z, z)
            surface_color(mesh, face, b1, b2, z / fx, color)
            for channel in range(3):
                frame.rgb[row, col, channel] = np.uint8(color[channel] * mesh.shade[face] + 0.5)


@inlined_kernel
def _barycentric(mesh: PackedMesh, face: int, pose: np.ndarray, x: float, y: float, z: float) -> tuple[float, float]:
    """Weights of the corners 1 and 2 of the face at a camera-frame point on it: exact, so perspective-correct."""
    a, b, c = mesh.faces[face, 0], mesh.faces[face, 1], mesh.faces[face, 2]
    uu, uv, vv, up, vp = 0.0, 0.0, 0.0, 0.0, 0.0
    for axis in range(3):
        origin = np.float64(mesh.vertices[a, axis])
        u, v = mesh.vertices[b, axis] - origin, mesh.vertices[c, axis] - origin
        p = pose[axis, 0] * x + pose[axis, 1] * y + pose[axis, 2] * z + pose[axis, 3] - origin
        uu, uv, vv, up, vp = uu + u * u, uv + u * v, vv + v * v, up + u * p, vp + v * p
    square = uu * vv - uv * uv
    if square <= 0.0:
        return 0.0, 0.0
    return (vv * up - uv * vp) / square, (uu * vp - uv * up) / square


def render_frame(mesh: PackedMesh, camera: Pinhole, pose: np.ndarray) -> Frame:
    """What a camera with the (4, 4) camera-to-world ``pose`` sees; nearer than ``NEAR_M`` along the axis is cut off."""
    size = (camera.height, camera.width)
    pose = np.ascontiguousarray(pose, np.float64)
    to_camera = np.linalg.inv(pose)
    rotation, shift = np.ascontiguousarray(to_camera[:3, :3]), np.ascontiguousarray(to_camera[:3, 3])
    inverse_depth, face_of = np.zeros(size, np.float32), np.full(size, -1, np.int32)
    _draw(mesh.vertices, mesh.faces, rotation, shift, camera.lens, inverse_depth, face_of)
    frame = Frame(np.zeros((*size, 3), np.uint8), np.zeros(size, np.float32), np.zeros(size, np.uint8))
    _shade(mesh, pose, camera.lens, inverse_depth, face_of, frame)
    return frame
