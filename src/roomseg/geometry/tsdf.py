"""TSDF fusion of RGB-D-label frames (Curless and Levoy 1996, with the unit weights and the projective distance along
the optical axis of common RGB-D fusion codes: distance = depth of the pixel - depth of the voxel, cut at +-truncation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from roomseg.errors import UserError
from roomseg.geometry.cameras import Lens, Pinhole
from roomseg.geometry.kernels import inlined_kernel, kernel
from roomseg.geometry.raster import Frame

Vector = tuple[float, float, float]

STEPS = 127  # of the int8 planes: 127 = +1 = empty or unseen, 0 = surface, -127 = behind by the truncation


@dataclass(frozen=True)
class TsdfVolume:
    """Running sums; voxel (i, j, k) is the sample at ``origin_m + voxel_m * (i, j, k)``. ``integrate`` adds in place.

    Votes are exact, one plane a class: neighbours mostly vote for the same class, so a frame writes along few planes,
    and the system gives memory only to pages that were written (30 classes of 1.5 M voxels: 90 MB at most).
    """

    origin_m: np.ndarray  # (3,) float64
    voxel_m: float
    truncation_m: float
    distance: np.ndarray  # (X, Y, Z) float32, sum of observed distances in truncations, -1..1
    weight: np.ndarray  # (X, Y, Z) float32, number of observations
    color: np.ndarray  # (X, Y, Z, 3) float32, sum of the colours seen where |distance| < 1
    votes: np.ndarray  # (K, X, Y, Z) uint16, observations with |distance| < 1 of each class


def empty_volume(
    lower_m: np.ndarray,  # (3,)
    upper_m: np.ndarray,  # (3,)
    voxel_m: float,
    truncation_voxels: int,
    margin_voxels: int,
    classes: int,
) -> TsdfVolume:
    """An unseen volume over the box, with ``margin_voxels`` more on each side; raises ``UserError`` for a bad box."""
    lower, upper = np.asarray(lower_m, np.float64), np.asarray(upper_m, np.float64)
    if not (np.isfinite(lower).all() and np.isfinite(upper).all() and (lower <= upper).all()):
        raise UserError(f"got bounds {lower} to {upper} m; expected finite ones with lower <= upper: check the scene")
    cells = np.ceil((upper - lower) / voxel_m - 1e-6).astype(int)
    x, y, z = (cells + 1 + 2 * margin_voxels).tolist()
    return TsdfVolume(
        origin_m=lower - margin_voxels * voxel_m,
        voxel_m=voxel_m,
        truncation_m=truncation_voxels * voxel_m,
        distance=np.zeros((x, y, z), np.float32),
        weight=np.zeros((x, y, z), np.float32),
        color=np.zeros((x, y, z, 3), np.float32),
        votes=np.zeros((classes, x, y, z), np.uint16),
    )


@inlined_kernel
def _cut(start: float, slope: float, low: float, high: float) -> tuple[float, float]:
    """The part of the interval [low, high] of k in which start + slope k >= 0."""
    if slope > 0.0:
        return max(low, -start / slope), high
    if slope < 0.0:
        return low, min(high, -start / slope)
    return (low, high) if start >= 0.0 else (1.0, 0.0)


@kernel
def _visible_part(
    p: Vector, d: Vector, lens: Lens, size: tuple[int, int], farthest_m: float, n: int
) -> tuple[int, int]:
    """First and last k, give or take one, at which the line p + k d of camera-frame points may fall into the image."""
    fx, fy, cx, cy = lens
    height, width = size
    low, high = _cut(p[2], d[2], 0.0, n - 1.0)
    low, high = _cut(farthest_m - p[2], -d[2], low, high)
    low, high = _cut(fx * p[0] + cx * p[2], fx * d[0] + cx * d[2], low, high)
    low, high = _cut((width - cx) * p[2] - fx * p[0], (width - cx) * d[2] - fx * d[0], low, high)
    low, high = _cut(fy * p[1] + cy * p[2], fy * d[1] + cy * d[2], low, high)
    low, high = _cut((height - cy) * p[2] - fy * p[1], (height - cy) * d[2] - fy * d[1], low, high)
    return max(0, math.floor(low) - 1), min(n - 1, math.ceil(high) + 1)


@kernel
def _integrate(
    distance: np.ndarray,  # (X, Y, Z) in place, as the next three
    weight: np.ndarray,  # (X, Y, Z)
    color: np.ndarray,  # (X, Y, Z, 3)
    votes: np.ndarray,  # (K, X, Y, Z)
    frame: Frame,
    lens: Lens,
    corner: np.ndarray,  # (3,) voxel (0, 0, 0) in the camera's frame
    steps: np.ndarray,  # (3, 3) the way to the next voxel along each axis
    truncation_m: float,
    farthest_m: float,
) -> None:
    fx, fy, cx, cy = lens
    height, width = frame.depth.shape
    line_step = (steps[2, 0], steps[2, 1], steps[2, 2])
    for i in range(distance.shape[0]):
        for j in range(distance.shape[1]):
            px = corner[0] + i * steps[0, 0] + j * steps[1, 0]
            py = corner[1] + i * steps[0, 1] + j * steps[1, 1]
            pz = corner[2] + i * steps[0, 2] + j * steps[1, 2]
            first, last = _visible_part((px, py, pz), line_step, lens, frame.depth.shape, farthest_m, distance.shape[2])
            for k in range(first, last + 1):
                z = pz + k * line_step[2]
                if z <= 0.0:
                    continue
                col = math.floor(fx * (px + k * line_step[0]) / z + cx)
                row = math.floor(fy * (py + k * line_step[1]) / z + cy)
                if col < 0 or col >= width or row < 0 or row >= height or frame.depth[row, col] <= 0.0:
                    continue
                d = (frame.depth[row, col] - z) / truncation_m
                if d < -1.0:
                    continue
                distance[i, j, k] += np.float32(min(1.0, d))
                weight[i, j, k] += np.float32(1.0)
                if abs(d) < 1.0:
                    for channel in range(3):
                        color[i, j, k, channel] += np.float32(frame.rgb[row, col, channel])
                    votes[frame.label[row, col], i, j, k] += np.uint16(1)


def integrate(volume: TsdfVolume, frame: Frame, camera: Pinhole, pose: np.ndarray) -> None:
    """Add a frame seen from the (4, 4) camera-to-world ``pose``, in place. A voxel takes the pixel it projects into.

    Raises ``UserError`` for a frame of another size than the camera's, unknown class ids or a pose that is not finite.
    """
    _check(frame, camera, pose, len(volume.votes))
    to_camera = np.linalg.inv(np.asarray(pose, np.float64))
    corner = to_camera[:3, :3] @ volume.origin_m + to_camera[:3, 3]
    steps = np.ascontiguousarray(volume.voxel_m * to_camera[:3, :3].T)
    sums = (volume.distance, volume.weight, volume.color, volume.votes)
    farthest_m = float(frame.depth.max()) + volume.truncation_m
    _integrate(*sums, frame, camera.lens, corner, steps, volume.truncation_m, farthest_m)


def _check(frame: Frame, camera: Pinhole, pose: np.ndarray, classes: int) -> None:
    if not np.isfinite(pose).all():
        raise UserError("got a camera pose with NaN or infinite entries; expected a rigid one: leave the frame out")
    expected = (camera.height, camera.width)
    for name, shape in (("rgb", frame.rgb.shape[:2]), ("depth", frame.depth.shape), ("label", frame.label.shape)):
        if shape != expected:
            raise UserError(f"got a frame with {name} of {shape}; expected the camera's {expected}: resize one of them")
    if frame.label.max() >= classes:
        raise UserError(f"got class id {frame.label.max()}; expected 0..{classes - 1}: map the labels first")


def finish(volume: TsdfVolume) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The planes of a room: tsdf (X, Y, Z) int8, rgb (X, Y, Z, 3) uint8 and label (X, Y, Z) uint8.

    tsdf is the mean distance in steps of truncation / 127; where it is 127, empty or unseen, rgb and label are 0.
    Of classes with the same number of votes the lowest id wins.
    """
    mean = np.divide(volume.distance, volume.weight, out=np.ones_like(volume.distance), where=volume.weight > 0)
    tsdf = np.rint(mean * STEPS).astype(np.int8)
    label, most = np.zeros(tsdf.shape, np.uint8), volume.votes[0].copy()
    count = volume.votes[0].astype(np.float32)
    for class_id in range(1, len(volume.votes)):
        votes = volume.votes[class_id]
        count += votes
        label[votes > most] = class_id
        np.maximum(most, votes, out=most)
    rgb = np.rint(volume.color / np.maximum(count, 1)[..., None]).astype(np.uint8)
    empty = tsdf == STEPS
    label[empty], rgb[empty] = 0, 0
    return tsdf, rgb, label
