"""A room of planes and boxes, whose answer is known: its panoramas, its frames and the surface fused from them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from roomseg.geometry.cameras import Pinhole, look_at
from roomseg.geometry.equirect import directions
from roomseg.geometry.mesh import TriangleMesh, join_meshes
from roomseg.geometry.panorama import render_panorama
from roomseg.geometry.raster import Frame, PackedMesh, pack_mesh, render_frame
from roomseg.geometry.tsdf import TsdfVolume, empty_volume, finish, integrate
from tests.geometry.conftest import box_mesh

ROOM_M = np.array([[0.0, 0.0, 0.0], [4.3, 3.4, 2.6]])
BOXES_M = {  # class id: lowest and highest corner
    3: np.array([[0.3, 0.4, 0.0], [1.9, 1.3, 0.52]]),
    7: np.array([[3.1, 0.0, 0.0], [4.3, 0.6, 1.93]]),
    11: np.array([[2.2, 2.1, 0.70], [3.4, 2.9, 0.76]]),
    19: np.array([[0.9, 2.7, 1.1], [1.5, 3.4, 2.6]]),
}
WALL = 17
EYES_M = [np.array([2.11, 1.57, 1.6]), np.array([0.53, 1.91, 1.43]), np.array([3.73, 1.23, 1.77])]
VOXEL_M, TRUNCATION = 0.04, 5


def analytic(eye: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How often its own length each ray (..., 3) goes until it meets something, and the class of that."""
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.maximum((ROOM_M[0] - eye) / rays, (ROOM_M[1] - eye) / rays).min(axis=-1)
        label = np.full(far.shape, WALL)
        for class_id, box in BOXES_M.items():
            a, b = (box[0] - eye) / rays, (box[1] - eye) / rays
            enter, leave = np.minimum(a, b).max(axis=-1), np.maximum(a, b).min(axis=-1)
            hit = (enter <= leave) & (enter > 0) & (enter < far)
            far, label = np.where(hit, enter, far), np.where(hit, class_id, label)
    return far, label


def away_from_edges(label: np.ndarray, wraps: bool) -> np.ndarray:  # (H, W) bool
    """Pixels with the class of all their eight neighbours."""
    padded = np.pad(np.pad(label, ((1, 1), (0, 0)), "edge"), ((0, 0), (1, 1)), "wrap" if wraps else "edge")
    around = [padded[r : r + label.shape[0], c : c + label.shape[1]] for r in range(3) for c in range(3)]
    return np.all([other == label for other in around], axis=0)


@pytest.fixture(scope="module")
def mesh() -> TriangleMesh:
    boxes = [box_mesh(box, class_id, (60 + 9 * class_id, 120, 90)) for class_id, box in BOXES_M.items()]
    return join_meshes([box_mesh(ROOM_M, WALL, (200, 190, 180)), *boxes])


@pytest.mark.parametrize("eye", EYES_M, ids=["middle", "left", "right"])
def test_panoramas(mesh: TriangleMesh, eye: np.ndarray) -> None:
    view = render_panorama(mesh, eye, 256, seed=0)
    depth, label = analytic(eye, directions(256).astype(np.float64))
    inner = away_from_edges(label, wraps=True)
    assert len(np.unique(label)) == 5
    assert inner.mean() > 0.9
    assert (view.label == label)[inner].mean() > 0.999
    assert (np.abs(view.depth - depth) < 0.01)[inner].mean() > 0.999


def test_frames(mesh: TriangleMesh) -> None:
    packed, camera = pack_mesh(mesh), Pinhole.from_fov(320, 240, 75)
    rng = np.random.default_rng(1)
    for eye in EYES_M:
        pose = look_at(eye, eye + rng.normal(size=3) * [1, 1, 0.4])
        frame = render_frame(packed, camera, pose)
        depth, label = analytic(eye, camera.rays() @ pose[:3, :3].T)
        inner = away_from_edges(label, wraps=False)
        assert inner.mean() > 0.9
        assert (frame.label == label)[inner].all()
        np.testing.assert_allclose(frame.depth[inner], depth[inner], rtol=0, atol=1e-3)


class Fused(NamedTuple):
    volume: TsdfVolume
    frames: list[tuple[Frame, np.ndarray]]  # with their poses


CAMERA = Pinhole.from_fov(320, 240, 75)


@pytest.fixture(scope="module")
def fused(mesh: TriangleMesh) -> Fused:
    packed, rng = pack_mesh(mesh), np.random.default_rng(2)
    volume = empty_volume(ROOM_M[0] - 0.013, ROOM_M[1], VOXEL_M, TRUNCATION, 5, 30)  # no plane lies on the grid
    return Fused(volume, [added(volume, packed, free_pose(rng)) for _ in range(120)])


def free_pose(rng: np.random.Generator) -> np.ndarray:
    """1.4 to 1.8 m up, between the pieces of furniture."""
    eye = rng.uniform([2.0, 1.0, 1.4], [2.9, 2.4, 1.8])
    return look_at(eye, eye + rng.normal(size=3) * [1, 1, 0.5])


def added(volume: TsdfVolume, packed: PackedMesh, pose: np.ndarray) -> tuple[Frame, np.ndarray]:
    frame = render_frame(packed, CAMERA, pose)
    integrate(volume, frame, CAMERA, pose)
    return frame, pose


def surface_samples(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points (m, 3) on the faces of the room and the boxes, by area, and normals towards the free side."""
    points, normals = [], []
    for box, outward in [(ROOM_M, -1.0), *((box, 1.0) for box in BOXES_M.values())]:
        size = box[1] - box[0]
        for axis in range(3):
            for end in range(2):
                area = size.prod() / size[axis]
                point = rng.uniform(box[0], box[1], (int(n * area), 3))
                point[:, axis] = box[end, axis]
                normal = np.zeros_like(point)
                normal[:, axis] = outward * (2 * end - 1)
                points.append(point)
                normals.append(normal)
    return np.concatenate(points), np.concatenate(normals)


def seen_by(fused: Fused, points: np.ndarray) -> np.ndarray:  # (N, 3) -> (N,) bool
    seen = np.zeros(len(points), bool)
    for frame, pose in fused.frames:
        x, y, z = ((points - pose[:3, 3]) @ pose[:3, :3]).T
        with np.errstate(divide="ignore", invalid="ignore"):
            col, row = np.floor(CAMERA.fx * x / z + CAMERA.cx), np.floor(CAMERA.fy * y / z + CAMERA.cy)
        shown = (z > 0.05) & (col >= 0) & (col < CAMERA.width) & (row >= 0) & (row < CAMERA.height)
        depth = frame.depth[row[shown].astype(int), col[shown].astype(int)]
        seen[shown] |= np.abs(depth - z[shown]) < 0.01
    return seen


def trilinear(values: np.ndarray, voxel: np.ndarray) -> np.ndarray:  # (X, Y, Z), (N, 3) -> (N,)
    low = np.floor(voxel).astype(int)
    result, part = np.zeros(len(voxel)), voxel - low
    for corner in np.ndindex(2, 2, 2):
        weight = np.where(np.array(corner), part, 1 - part).prod(axis=1)
        result += weight * values[tuple((low + corner).T)]
    return result


def test_the_fused_surface_is_within_half_a_voxel_of_what_was_seen(fused: Fused) -> None:
    points, normals = surface_samples(np.random.default_rng(3), 300)
    seen = seen_by(fused, points)
    assert seen.mean() > 0.5
    tsdf, half = finish(fused.volume)[0].astype(np.float64), 0.5 * VOXEL_M
    before, behind = (
        trilinear(tsdf, (points[seen] + side * half * normals[seen] - fused.volume.origin_m) / VOXEL_M)
        for side in (1, -1)
    )
    assert ((before > 0) & (behind < 0)).mean() > 0.95


def test_the_fused_surface_has_the_classes_of_what_was_seen(fused: Fused) -> None:
    points, _ = surface_samples(np.random.default_rng(4), 100)
    seen = seen_by(fused, points)
    _, truth = analytic_classes(points[seen])
    label = finish(fused.volume)[2]
    voxel = np.rint((points[seen] - fused.volume.origin_m) / VOXEL_M).astype(int)
    assert (label[tuple(voxel.T)] == truth).mean() > 0.95


def analytic_classes(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance to the nearest box or to the room, and the class of that."""
    gap, label = np.minimum(points - ROOM_M[0], ROOM_M[1] - points).min(axis=1), np.full(len(points), WALL)
    for class_id, box in BOXES_M.items():
        outside = np.maximum(np.maximum(box[0] - points, points - box[1]), 0)
        distance = np.linalg.norm(outside, axis=1)
        nearer = distance <= np.minimum(gap, 1e-9)
        gap, label = np.where(nearer, distance, gap), np.where(nearer, class_id, label)
    return gap, label
