"""Panoramas against the analytic answer in a room of boxes."""

from dataclasses import replace

import numpy as np
import pytest

from roomseg.geometry.equirect import directions
from roomseg.geometry.mesh import TriangleMesh, plain_mesh
from roomseg.geometry.panorama import render_panorama
from roomseg.geometry.raster import pack_mesh
from roomseg.labels import PANOROOMS3D

HEIGHT = 128


def box_range(box: np.ndarray, eye: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances at which rays enter and leave a box (slabs)."""
    a, b = (box[0] - eye) / rays, (box[1] - eye) / rays
    return np.minimum(a, b).max(axis=-1), np.maximum(a, b).min(axis=-1)


def analytic_view(eye: np.ndarray, rays: np.ndarray, room: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, ...]:
    _, wall = box_range(room, eye, rays)
    enter, leave = box_range(table, eye, rays)
    hit = (enter <= leave) & (enter > 0)
    return np.where(hit, enter, wall), np.where(hit, PANOROOMS3D.id("table"), PANOROOMS3D.id("wall"))


def test_depth_and_labels_as_the_analytic_room(
    box_room: TriangleMesh, camera_m: np.ndarray, room_m: np.ndarray, table_m: np.ndarray
) -> None:
    view = render_panorama(box_room, camera_m, HEIGHT, seed=0)
    rays = directions(HEIGHT).astype(np.float64)
    depth, label = analytic_view(camera_m, rays, room_m, table_m)
    tilt = np.array([1e-4, -1e-4, 1e-4])
    around = [analytic_view(camera_m, rays + sign * tilt, room_m, table_m)[1] for sign in (-1, 1)]
    inside = (around[0] == label) & (around[1] == label)
    same = (np.abs(view.depth - depth) < 0.01) & (view.label == label)
    assert same[inside].mean() > 0.999
    assert (view.label == PANOROOMS3D.id("table")).sum() > 100


def test_the_seed_decides_only_the_grain(box_room: TriangleMesh, camera_m: np.ndarray) -> None:
    packed = pack_mesh(box_room)
    first, again, other = (render_panorama(packed, camera_m, 64, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.rgb, again.rgb)
    np.testing.assert_array_equal(first.depth, other.depth)
    assert (first.rgb != other.rgb).any()
    assert np.abs(first.rgb.astype(int) - other.rgb).mean() < 5


@pytest.fixture(scope="module")
def floating_top(box_room: TriangleMesh) -> TriangleMesh:
    """The room with its table raised by 0.9 m."""
    vertices = box_room.vertices.copy()
    vertices[8:, 2] += 0.9
    return replace(box_room, vertices=vertices)


def test_light_falls_off_and_furniture_throws_shadows(floating_top: TriangleMesh, camera_m: np.ndarray) -> None:
    view = render_panorama(floating_top, camera_m, HEIGHT, seed=0)
    point = camera_m + directions(HEIGHT) * view.depth[..., None]
    floor = point[..., 2] < 0.01
    x, y = point[..., 0], point[..., 1]
    open_floor = floor & (np.hypot(x - 1.5, y - 1.2) < 0.6)
    shadow = floor & (x > 3.0) & (x < 3.6) & (y > 2.2) & (y < 2.8)  # the lamp hangs over the middle, (2, 1.5)
    assert shadow.sum() > 20
    assert view.rgb[shadow].mean() < 0.75 * view.rgb[open_floor].mean()
    wall = view.rgb[view.label == PANOROOMS3D.id("wall")].astype(float)
    assert wall.std() > 8  # one colour, yet a picture
    hue = wall[:, 0] / wall[:, 2]
    np.testing.assert_allclose(np.median(hue), 200 / 180, rtol=0.03)


def test_rays_into_the_open_are_empty(camera_m: np.ndarray) -> None:
    corner = np.array([[-50, -50, 0], [50, -50, 0], [0, 50, 0.0]])
    view = render_panorama(plain_mesh(corner, np.array([[0, 1, 2]]), 20, (90, 90, 90)), camera_m, 32, seed=0)
    assert (view.label[:16] == 0).all()
    assert not view.depth[:16].any()
    assert not view.rgb[:16].any()
    assert (view.label[-8:] == 20).all()
    np.testing.assert_allclose(view.depth[-1], camera_m[2], rtol=0.01)


def test_a_face_is_seen_from_behind(camera_m: np.ndarray) -> None:
    corner = np.array([[-50, -50, 0], [50, -50, 0], [0, 50, 0.0]])
    both = [plain_mesh(corner, np.array([faces]), 20, (90, 90, 90)) for faces in ([0, 1, 2], [2, 1, 0])]
    front, back = (render_panorama(mesh, camera_m, 32, seed=0) for mesh in both)
    np.testing.assert_array_equal(front.label, back.label)
    np.testing.assert_array_equal(front.rgb, back.rgb)
