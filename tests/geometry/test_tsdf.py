"""Fusion against a plain numpy reference over the whole volume, and against the planes of a known room."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from roomseg.errors import UserError
from roomseg.geometry.bricks import VOXELS, dense
from roomseg.geometry.cameras import Pinhole, look_at
from roomseg.geometry.mesh import TriangleMesh
from roomseg.geometry.raster import Frame, pack_mesh, render_frame
from roomseg.geometry.tsdf import TsdfVolume, empty_volume, finish, integrate
from roomseg.labels import PANOROOMS3D

CAMERA = Pinhole.from_fov(64, 48, 75)
VOXEL_M = 0.05


class Sums(NamedTuple):
    distance: np.ndarray  # (X, Y, Z)
    weight: np.ndarray  # (X, Y, Z)
    color: np.ndarray  # (X, Y, Z, 3)
    votes: np.ndarray  # (K, X, Y, Z)


def sums_of(volume: TsdfVolume) -> Sums:
    free = volume.free.reshape(-1, 1).astype(np.float32)
    planes = (volume.distance + free, volume.weight + free, volume.color.swapaxes(1, 2).astype(np.float32))
    votes = np.stack([dense(plane, volume.shape) for plane in volume.votes])
    return Sums(*(dense(plane, volume.shape) for plane in planes), votes)


def reference_integrate(sums: Sums, volume: TsdfVolume, frame: Frame, camera: Pinhole, pose: np.ndarray) -> None:
    index = np.stack(np.indices(volume.shape), axis=-1)
    world = volume.origin_m + volume.voxel_m * index
    to_camera = np.linalg.inv(pose)
    x, y, z = np.moveaxis(world @ to_camera[:3, :3].T + to_camera[:3, 3], -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        col, row = np.floor(camera.fx * x / z + camera.cx), np.floor(camera.fy * y / z + camera.cy)
    seen = (z > 0) & (col >= 0) & (col < camera.width) & (row >= 0) & (row < camera.height)
    row, col = np.where(seen, row, 0).astype(int), np.where(seen, col, 0).astype(int)
    distance = (frame.depth[row, col] - z) / volume.truncation_m
    seen &= (frame.depth[row, col] > 0) & (distance >= -1)
    sums.distance[seen] += np.minimum(distance, 1)[seen].astype(np.float32)
    sums.weight[seen] += 1
    near = seen & (np.abs(distance) < 1)
    sums.color[near] += frame.rgb[row, col][near]
    sums.votes[(frame.label[row, col][near], *np.nonzero(near))] += 1


def random_frame(rng: np.random.Generator) -> Frame:
    """Patches of depth, in the lower half some pixels without; colours and labels at random."""
    size = (CAMERA.height, CAMERA.width)
    depth = np.kron(rng.uniform(0.3, 3.5, (3, 4)), np.ones((16, 16)))
    depth[24:][rng.random((24, 64)) < 0.1] = 0
    rgb = rng.integers(0, 256, (*size, 3), np.uint8)
    return Frame(rgb, depth.astype(np.float32), rng.integers(0, len(PANOROOMS3D), size, np.uint8))


def test_integration_equals_the_reference() -> None:
    rng = np.random.default_rng(3)
    fast, threaded = (
        empty_volume(np.zeros(3), np.array([1.7, 1.4, 1.2]), VOXEL_M, 4, 5, len(PANOROOMS3D)) for _ in range(2)
    )
    slow = sums_of(fast)
    for n in range(8):  # cameras inside, outside and looking away
        eye, target = rng.uniform(-1.5, 2.5, 3) * (n > 0), rng.uniform(-0.2, 1.2, 3)
        frame, pose = random_frame(rng), look_at(eye, target)
        integrate(fast, frame, CAMERA, pose)
        integrate(threaded, frame, CAMERA, pose, threads=3)
        reference_integrate(slow, fast, frame, CAMERA, pose)
    assert (slow.weight > 0).mean() > 0.5
    assert fast.free.any()
    sums = sums_of(fast)
    for name in ("weight", "votes", "color"):
        np.testing.assert_array_equal(getattr(sums, name), getattr(slow, name))
    np.testing.assert_allclose(sums.distance, slow.distance, atol=1e-5)
    for name in ("free", "distance", "weight", "color", "votes", "voted"):
        np.testing.assert_array_equal(getattr(fast, name), getattr(threaded, name))


def test_whole_blocks_of_free_space_are_counted_once_a_brick() -> None:
    """A wall 4 m away fills the image of a camera that looks along +x through the middle of the volume."""
    volume = empty_volume(np.zeros(3), np.array([3.0, 2.0, 2.0]), VOXEL_M, 4, 5, len(PANOROOMS3D))
    size = (CAMERA.height, CAMERA.width)
    frame = Frame(np.zeros((*size, 3), np.uint8), np.full(size, 4, np.float32), np.zeros(size, np.uint8))
    slow, pose = sums_of(volume), look_at(np.array([-1.0, 1, 1]), np.array([1.0, 1, 1]))
    integrate(volume, frame, CAMERA, pose)
    reference_integrate(slow, volume, frame, CAMERA, pose)
    np.testing.assert_array_equal(sums_of(volume).weight, slow.weight)
    assert volume.free.sum() * VOXELS > 0.6 * slow.weight.sum()


def reference_finish(sums: Sums) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mean = np.where(sums.weight > 0, sums.distance / np.maximum(sums.weight, 1), np.float32(1))
    tsdf = np.rint(mean * 127).astype(np.int8)
    rgb = np.rint(sums.color / np.maximum(sums.votes.sum(axis=0), 1)[..., None]).astype(np.uint8)
    empty = tsdf == 127
    return tsdf, np.where(empty[..., None], 0, rgb), np.where(empty, 0, sums.votes.argmax(axis=0))


def test_finished_planes_equal_the_reference() -> None:
    rng = np.random.default_rng(8)
    volume = empty_volume(np.zeros(3), np.array([1.2, 1.0, 0.8]), VOXEL_M, 4, 5, len(PANOROOMS3D))
    for _ in range(6):
        eye, target = rng.uniform(-0.5, 1.5, (2, 3))
        integrate(volume, random_frame(rng), CAMERA, look_at(eye, target))
    planes = finish(volume)
    assert len(np.unique(planes[2])) == len(PANOROOMS3D)
    for plane, expected in zip(planes, reference_finish(sums_of(volume)), strict=True):
        np.testing.assert_array_equal(plane, expected)


def test_one_pixel_by_hand() -> None:
    """A camera of one pixel at z = 0.5 looks down on a surface at z = 0: the column of voxels below and around it."""
    volume = empty_volume(np.zeros(3), np.zeros(3), 0.1, 2, 4, len(PANOROOMS3D))  # 9 x 9 x 9 samples from -0.4 to 0.4 m
    frame = Frame(np.full((1, 1, 3), 90, np.uint8), np.full((1, 1), 0.5, np.float32), np.full((1, 1), 20, np.uint8))
    integrate(volume, frame, Pinhole(1, 1, 10.0, 10.0, 0.5, 0.5), look_at(np.array([0, 0, 0.5]), np.zeros(3)))
    tsdf, rgb, label = finish(volume)
    steps = [-127, -64, 0, 64, 127, 127, 127]  # sdf -0.2, -0.1, 0, 0.1, 0.2, 0.3, 0.4 m at truncation 0.2 m
    column = tsdf[4, 4].tolist()
    assert column[4:] == [0, 64, 127, 127, 127]
    assert column[:2] == [127, 127]  # farther behind than the truncation: unseen
    np.testing.assert_allclose(column[2:], steps, atol=1)
    assert label[4, 4, 3:6].tolist() == [20, 20, 20]
    assert rgb[4, 4, 4].tolist() == [90, 90, 90]
    assert (tsdf < 127).sum() == (label > 0).sum() <= 4


def test_most_votes_win_and_the_lowest_class_wins_a_tie() -> None:
    volume = empty_volume(np.zeros(3), np.zeros(3), 0.1, 2, 1, len(PANOROOMS3D))
    volume.weight[:] = 6
    volume.color[:] = 6 * 50
    volume.votes[7], volume.votes[3], volume.votes[9] = 2, 2, 2
    volume.votes[9, 0, 0], volume.votes[3, 0, 0] = 3, 1  # the first voxel of the first brick
    volume.voted[:, [3, 7, 9]] = True
    _, rgb, label = finish(volume)
    assert label[0, 0, 0] == 9
    assert (label.ravel()[1:] == 3).all()
    assert (rgb == 50).all()


@pytest.fixture(scope="module")
def fused(box_room: TriangleMesh) -> TsdfVolume:
    packed, camera = pack_mesh(box_room), Pinhole.from_fov(160, 120, 80)
    low, high = box_room.bounds
    volume = empty_volume(low - 0.37 * VOXEL_M, high, VOXEL_M, 5, 5, len(PANOROOMS3D))  # no plane lies on the grid
    rng = np.random.default_rng(0)
    for _ in range(80):
        eye = np.array([*rng.uniform([0.5, 0.5], [2.0, 2.5]), rng.uniform(1.2, 1.8)])
        pose = look_at(eye, eye + rng.normal(size=3))
        integrate(volume, render_frame(packed, camera, pose), camera, pose)
    return volume


def distance_to_surface(p: np.ndarray, box: np.ndarray) -> np.ndarray:  # (N, 3) -> (N,)
    """From a point inside or outside to the nearest face of a box."""
    q = np.maximum(box[0] - p, p - box[1])
    return np.linalg.norm(np.maximum(q, 0), axis=1) + np.abs(np.minimum(q.max(axis=1), 0))


def test_the_fused_surface_lies_on_the_planes(fused: TsdfVolume, room_m: np.ndarray, table_m: np.ndarray) -> None:
    tsdf = finish(fused)[0].astype(float)
    points = []
    for axis in range(3):
        a, b = np.delete(tsdf, -1, axis), np.delete(tsdf, 0, axis)
        crosses = ((a >= 0) != (b >= 0)) & (np.maximum(a, b) < 127)
        voxel = np.stack(np.nonzero(crosses), axis=1).astype(float)
        voxel[:, axis] += a[crosses] / (a - b)[crosses]
        points.append(fused.origin_m + VOXEL_M * voxel)
    surface = np.concatenate(points)
    error = np.minimum(distance_to_surface(surface, room_m), distance_to_surface(surface, table_m)) / VOXEL_M
    assert len(error) > 10_000
    assert (error < 0.5).mean() > 0.95


def test_the_planes_of_a_room(fused: TsdfVolume, table_m: np.ndarray) -> None:
    tsdf, rgb, label = finish(fused)
    assert (tsdf.dtype, rgb.dtype, label.dtype) == (np.int8, np.uint8, np.uint8)
    empty = tsdf == 127
    assert (label[empty] == 0).all()
    assert (rgb[empty] == 0).all()
    assert set(np.unique(label[~empty])) == {PANOROOMS3D.id("wall"), PANOROOMS3D.id("table")}
    top = np.rint((np.array([2.9, 2.2, table_m[1, 2]]) - fused.origin_m) / VOXEL_M).astype(int)
    assert label[tuple(top)] == PANOROOMS3D.id("table")
    assert (tsdf[35, 30, 35], tsdf[tuple(top - np.array([0, 0, 2]))] < 0) == (127, True)  # free air; inside the table


def test_the_margin_lies_outside_the_bounds_and_behind_the_band_is_unseen(fused: TsdfVolume) -> None:
    np.testing.assert_allclose(fused.origin_m, -5.37 * VOXEL_M, rtol=1e-5)
    assert fused.shape == (81 + 11, 61 + 11, 51 + 11)
    tsdf = finish(fused)[0]
    assert (tsdf[[0, -1]] != 0).all()  # no surface touches the border
    assert (tsdf[5:7, 20:40, 20:40] < 127).all()  # the wall at x = 0 is there


def test_bad_input_is_refused(fused: TsdfVolume) -> None:
    frame = random_frame(np.random.default_rng(0))
    with pytest.raises(UserError, match="pose"):
        integrate(fused, frame, CAMERA, np.full((4, 4), -np.inf))
    with pytest.raises(UserError, match="expected the camera's"):
        integrate(fused, frame._replace(depth=frame.depth[1:]), CAMERA, np.eye(4))
    with pytest.raises(UserError, match="class id 30"):
        integrate(fused, frame._replace(label=np.full_like(frame.label, 30)), CAMERA, np.eye(4))
    with pytest.raises(UserError, match="bounds"):
        empty_volume(np.ones(3), np.zeros(3), 0.04, 5, 5, len(PANOROOMS3D))
