"""TSDF fusion of RGB-D-label frames (Curless and Levoy 1996, with the unit weights and the projective distance along
the optical axis of common RGB-D fusion codes: distance = depth of the pixel - depth of the voxel, cut at +-truncation).

The sums are kept brick by brick (see ``bricks``): voxels of a brick lie together, and a brick that is wholly in free
space takes one addition.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roomseg.errors import UserError
from roomseg.geometry.bricks import (
    BRICK,
    VOXELS,
    DepthRanges,
    Rays,
    brick_grid,
    bricks_to_look_at,
    depth_ranges,
    place_of,
    rays_of,
)
from roomseg.geometry.cameras import Pinhole
from roomseg.geometry.kernels import in_parts, kernel
from roomseg.geometry.raster import Frame
from roomseg.geometry.simd_fusion import LANES, add_colors, add_distances, add_votes, first_of, pack_pixels

STEPS = 127  # of the int8 planes: 127 = +1 = empty or unseen, 0 = surface, -127 = behind by the truncation


@dataclass(frozen=True)
class TsdfVolume:
    """Running sums; voxel (i, j, k) is the sample at ``origin_m + voxel_m * (i, j, k)``. ``integrate`` adds in place.

    B bricks cover the volume; ``bricks.dense`` gives a plane of them as an array over voxels. Votes are exact, one
    plane a class: neighbours mostly vote for the same class, so a frame writes along few planes, and the system gives
    memory only to pages that were written (30 classes of 1.5 M voxels: 90 MB at most).
    """

    origin_m: np.ndarray  # (3,) float64
    voxel_m: float
    truncation_m: float
    shape: tuple[int, int, int]  # X, Y, Z in voxels
    free: np.ndarray  # (bricks along x, y, z) int32, frames that saw nothing but free space in the whole brick: such a
    # frame counts in neither of the next two, where it would add 1 to each of the brick's voxels
    distance: np.ndarray  # (B, VOXELS) float32, sum of observed distances in truncations, -1..1
    weight: np.ndarray  # (B, VOXELS) float32, number of observations
    color: np.ndarray  # (B, 3, VOXELS) uint32, sum of the colours seen where |distance| < 1
    votes: np.ndarray  # (K, B, VOXELS) uint16, observations with |distance| < 1 of each class
    voted: np.ndarray  # (B, K) bool, whether a brick has any vote for a class


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
    grid = brick_grid((x, y, z))
    bricks = grid[0] * grid[1] * grid[2]
    return TsdfVolume(
        origin_m=lower - margin_voxels * voxel_m,
        voxel_m=voxel_m,
        truncation_m=truncation_voxels * voxel_m,
        shape=(x, y, z),
        free=np.zeros(grid, np.int32),
        distance=np.zeros((bricks, VOXELS), np.float32),
        weight=np.zeros((bricks, VOXELS), np.float32),
        color=np.zeros((bricks, 3, VOXELS), np.uint32),
        votes=np.zeros((classes, bricks, VOXELS), np.uint16),
        voted=np.zeros((bricks, classes), bool),
    )


def integrate(volume: TsdfVolume, frame: Frame, camera: Pinhole, pose: np.ndarray, threads: int = 1) -> None:
    """Add a frame seen from the (4, 4) camera-to-world ``pose``, in place. A voxel takes the pixel it projects into.

    Raises ``UserError`` for a frame of another size than the camera's, unknown class ids or a pose that is not finite.
    """
    _check(frame, camera, pose, len(volume.votes))
    rays = rays_of(camera, pose, volume.origin_m, volume.voxel_m)
    depth, rgb, label = (np.ascontiguousarray(plane) for plane in (frame.depth, frame.rgb, frame.label))
    ranges, packed = depth_ranges(depth), _packed(rgb.reshape(-1), label.reshape(-1))
    planes = (volume.free, volume.distance, volume.weight, volume.color, volume.votes, volume.voted)

    def add(first: int, end: int) -> None:
        _integrate(planes, depth.reshape(-1), packed, ranges, rays, volume.truncation_m, first, end)

    in_parts(add, len(volume.free), threads)


def _check(frame: Frame, camera: Pinhole, pose: np.ndarray, classes: int) -> None:
    if not np.isfinite(pose).all():
        raise UserError("got a camera pose with NaN or infinite entries; expected a rigid one: leave the frame out")
    expected = (camera.height, camera.width)
    for name, shape in (("rgb", frame.rgb.shape[:2]), ("depth", frame.depth.shape), ("label", frame.label.shape)):
        if shape != expected:
            raise UserError(f"got a frame with {name} of {shape}; expected the camera's {expected}: resize one of them")
    if frame.label.max() >= classes:
        raise UserError(f"got class id {frame.label.max()}; expected 0..{classes - 1}: map the labels first")


Planes = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # as in ``TsdfVolume``


@kernel
def _integrate(
    planes: Planes,
    depth: np.ndarray,  # (H W,) float32
    packed: np.ndarray,  # (H W,) uint32, see ``_packed``
    ranges: DepthRanges,
    rays: Rays,
    truncation_m: float,
    first: int,
    end: int,
) -> None:
    """Add a frame to the bricks with first <= x < end."""
    free, distance, weight, color, votes, voted = planes
    distance, weight, color, votes = distance.reshape(-1), weight.reshape(-1), color.reshape(-1), votes.reshape(-1)
    size, per_m, steps = (float(rays.height), float(rays.width)), 1.0 / truncation_m, _steps(rays)
    pixels, classes = np.empty(LANES, np.int32), np.empty(LANES, np.uint8)
    for x, y, z in bricks_to_look_at(free, rays, ranges, truncation_m, first, end):
        brick = (x * free.shape[1] + y) * free.shape[2] + z
        place = place_of(rays, x * BRICK[0], y * BRICK[1], z * BRICK[2])
        for n in range(0, VOXELS, LANES):
            at = brick * VOXELS + n
            near = add_distances(depth, place, steps, n, size, per_m, distance, weight, at, pixels)
            if near == 0:
                continue
            add_colors(packed, pixels, near, color, 3 * brick * VOXELS + n, classes)
            while near:
                class_id = classes[first_of(near)]
                voted[brick, class_id] = True
                near = add_votes(classes, class_id, near, votes, class_id * distance.size + at)


@kernel
def _packed(rgb: np.ndarray, label: np.ndarray) -> np.ndarray:  # (3 H W,) uint8, (H W,) uint8 -> (H W,) uint32
    """Red, green, blue and class of each pixel, from the lowest byte up, so that one look tells all of them."""
    packed, whole = np.empty(label.size, np.uint32), label.size // LANES * LANES
    for at in range(0, whole, LANES):
        pack_pixels(rgb, label, at, packed)
    for n in range(whole, label.size):
        packed[n] = rgb[3 * n] | rgb[3 * n + 1] << 8 | rgb[3 * n + 2] << 16 | label[n] << 24
    return packed


@kernel
def _steps(rays: Rays) -> np.ndarray:  # (3 VOXELS,) float64
    """From the first voxel of a brick to each of them, in the coordinates of ``Rays``: all x, then y, then z."""
    steps, (a, b, c) = np.empty((3, VOXELS)), rays.steps
    for i in range(BRICK[0]):
        for j in range(BRICK[1]):
            for k in range(BRICK[2]):
                n = (i * BRICK[1] + j) * BRICK[2] + k
                for axis in range(3):
                    steps[axis, n] = i * a[axis] + j * b[axis] + k * c[axis]
    return steps.reshape(-1)


def finish(volume: TsdfVolume) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The planes of a room: tsdf (X, Y, Z) int8, rgb (X, Y, Z, 3) uint8 and label (X, Y, Z) uint8.

    tsdf is the mean distance in steps of truncation / 127; where it is 127, empty or unseen, rgb and label are 0.
    Of classes with the same number of votes the lowest id wins.
    """
    tsdf = np.full(volume.shape, STEPS, np.int8)
    rgb, label = np.zeros((*volume.shape, 3), np.uint8), np.zeros(volume.shape, np.uint8)
    planes = (volume.free, volume.distance, volume.weight, volume.color, volume.votes, volume.voted)
    _finish(planes, tsdf, rgb, label)
    return tsdf, rgb, label


@kernel
def _finish(planes: Planes, tsdf: np.ndarray, rgb: np.ndarray, label: np.ndarray) -> None:
    free, distance, weight, color, votes, voted = planes
    for x, y, z in np.ndindex(free.shape):
        brick = (x * free.shape[1] + y) * free.shape[2] + z
        if not weight[brick].any():
            continue  # unseen or free
        classes = np.nonzero(voted[brick])[0]
        for a, b, c in np.ndindex(BRICK):
            n, i, j, k = (a * BRICK[1] + b) * BRICK[2] + c, x * BRICK[0] + a, y * BRICK[1] + b, z * BRICK[2] + c
            observations = weight[brick, n] + np.float32(free[x, y, z])
            if i >= tsdf.shape[0] or j >= tsdf.shape[1] or k >= tsdf.shape[2] or observations == 0:
                continue
            mean = (distance[brick, n] + np.float32(free[x, y, z])) / observations
            tsdf[i, j, k] = np.int8(np.rint(mean * np.float32(STEPS)))
            if tsdf[i, j, k] == STEPS:
                continue
            most, count = 0, 0
            for class_id in classes:
                mine = int(votes[class_id, brick, n])
                count += mine
                if mine > most:
                    most, label[i, j, k] = mine, class_id
            for channel in range(3):
                rgb[i, j, k, channel] = np.uint8(
                    np.rint(np.float32(color[brick, channel, n]) / np.float32(max(count, 1)))
                )
