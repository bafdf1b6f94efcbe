"""RGB-D and label frames of a mesh: ``visibility`` finds the face that each pixel sees, here it gets its colour.

Nothing is reordered or fused in the arithmetic, so that a frame is the same on every machine and with any number of
threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from roomseg.geometry.cameras import Pinhole
from roomseg.geometry.culling import NEAR_M, View, empty_window
from roomseg.geometry.kernels import in_parts, inlined_kernel, kernel
from roomseg.geometry.packed import PackedMesh, pack_mesh
from roomseg.geometry.simd import LANES
from roomseg.geometry.texture import level_at, shaded, texture_lanes
from roomseg.geometry.visibility import draw, face_of, inverse_depth_of, same_face

__all__ = ["NEAR_M", "Frame", "PackedMesh", "pack_mesh", "render_frame"]

BLOCK = 64  # columns; where colours are found together, and where parts of an image may begin
_ONE = np.float32(1.0)


class Frame(NamedTuple):
    rgb: np.ndarray  # (H, W, 3) uint8
    depth: np.ndarray  # (H, W) float32, metres along the optical axis, 0 = none
    label: np.ndarray  # (H, W) uint8, class ids


@inlined_kernel
def _along(uv_of: np.ndarray, k: int, pose: np.ndarray, axis: int) -> np.float32:
    """Change of u (k = 0) or v along an axis of the camera's frame; axis 3: its value at the camera."""
    return uv_of[k, 0] * pose[0, axis] + uv_of[k, 1] * pose[1, axis] + uv_of[k, 2] * pose[2, axis]


@kernel
def _shade_row(
    mesh: PackedMesh,
    pose: np.ndarray,  # (4, 4) float32
    lens: tuple[np.float32, np.float32, np.float32, np.float32],
    keys: np.ndarray,  # (n,) int64 of the pixels (row, left) to (row, left + n - 1)
    row: int,
    left: int,
    label: np.ndarray,  # (n,) out
    depth: np.ndarray,  # (n + LANES,) out
    color: np.ndarray,  # (n + LANES,) int32 out
) -> None:
    fx, fy, cx, cy = lens
    x, y, per_col = (np.float32(0.5) - cx) / fx, (np.float32(row + 0.5) - cy) / fy, _ONE / fx
    for k in range(len(keys)):
        depth[k] = _ONE / inverse_depth_of(keys[k]) if keys[k] else np.float32(0.0)
    k = 0
    while k < len(keys):
        key, first = keys[k], k
        k += 1
        while k < len(keys) and same_face(keys[k], key) and (left + k) % BLOCK > 0:
            k += 1
        if key == 0:
            label[first:k], color[first:k] = 0, 0
            continue
        face = face_of(key)
        surface = mesh.surfaces[face]
        label[first:k] = surface.label
        if surface.texture < 0:
            color[first:k] = shaded(surface.color, surface.shade)
            continue
        uv = surface.uv_of
        ux, uy, uz, u_0 = _along(uv, 0, pose, 0), _along(uv, 0, pose, 1), _along(uv, 0, pose, 2), _along(uv, 0, pose, 3)
        vx, vy, vz, v_0 = _along(uv, 1, pose, 0), _along(uv, 1, pose, 1), _along(uv, 1, pose, 2), _along(uv, 1, pose, 3)
        u = (ux * x + uy * y + uz, ux * per_col, u_0 + uv[0, 3])
        v = (vx * x + vy * y + vz, vx * per_col, v_0 + uv[1, 3])
        per_z, shade, texture = surface.texels_per_m * per_col, surface.shade, surface.texture
        while first < k:
            level = level_at(mesh.levels, texture, depth[first] * per_z)
            texture_lanes(mesh.texels, level, u, v, shade, depth, left, first, color)
            first += LANES


@kernel
def _render_part(mesh: PackedMesh, view: View, pose: np.ndarray, left: int, right: int, frame: Frame) -> None:
    """The columns left..right - 1 of a frame."""
    height = frame.depth.shape[0]
    window = empty_window(left, right, height)
    draw(mesh.corners, mesh.boxes, view, window)
    color, depth = np.empty(window.stride, np.int32), np.zeros(window.stride, np.float32)
    for row in range(height):
        keys = window.keys[row * window.stride : row * window.stride + right - left]
        _shade_row(mesh, pose, view.lens, keys, row, left, frame.label[row, left:right], depth, color)
        frame.depth[row, left:right] = depth[: right - left]
        rgb = frame.rgb[row, left:right].reshape(-1)
        for k in range(right - left):
            rgb[3 * k], rgb[3 * k + 1], rgb[3 * k + 2] = color[k] & 255, color[k] >> 8 & 255, color[k] >> 16 & 255


def render_frame(mesh: PackedMesh, camera: Pinhole, pose: np.ndarray, threads: int = 1) -> Frame:
    """What a camera with the (4, 4) camera-to-world ``pose`` sees; nearer than ``NEAR_M`` along the axis is cut off."""
    size = (camera.height, camera.width)
    pose = np.ascontiguousarray(pose, np.float64)
    to_camera = np.linalg.inv(pose).astype(np.float32)
    pose_32 = pose.astype(np.float32)
    fx, fy, cx, cy = (np.float32(value) for value in camera.lens)
    view = View(np.ascontiguousarray(to_camera[:3, :3]), np.ascontiguousarray(to_camera[:3, 3]), (fx, fy, cx, cy))
    frame = Frame(np.empty((*size, 3), np.uint8), np.empty(size, np.float32), np.empty(size, np.uint8))
    in_parts(lambda left, right: _render_part(mesh, view, pose_32, left, right, frame), camera.width, threads, BLOCK)
    return frame
