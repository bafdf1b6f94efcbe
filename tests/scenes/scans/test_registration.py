"""Registration against a slow reference, and against pictures drawn from where both cameras stand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.errors import UserError
from roomseg.geometry.cameras import Pinhole
from roomseg.geometry.raster import pack_mesh, render_frame
from roomseg.scenes.scans.intrinsics import lens_matrix, pinhole, resized
from roomseg.scenes.scans.registration import Rig, register
from tests.geometry.projected import world_points
from tests.scenes.scans.box_room import Take, inner, room_mesh


def reference_register(depth: np.ndarray, color: np.ndarray, label: np.ndarray, rig: Rig) -> list[np.ndarray]:
    """Colour, depth and label of the depth camera, a pixel at a time."""
    out = [np.zeros((*depth.shape, 3), np.uint8), np.zeros(depth.shape, np.float32), np.zeros(depth.shape, np.uint8)]
    rays = rig.depth.rays()
    for row, col in np.argwhere(depth > 0):
        point = rig.depth_to_color @ np.append(rays[row, col] * depth[row, col], 1.0)
        if point[2] <= 0:
            continue
        u = int(np.floor(rig.color.fx * point[0] / point[2] + rig.color.cx))
        v = int(np.floor(rig.color.fy * point[1] / point[2] + rig.color.cy))
        if 0 <= u < rig.color.width and 0 <= v < rig.color.height:
            out[0][row, col], out[1][row, col], out[2][row, col] = color[v, u], depth[row, col], label[v, u]
    return out


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_registration_equals_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    (w, h), (big_w, big_h) = rng.integers(1, 20, 2).tolist(), rng.integers(1, 40, 2).tolist()
    depth_camera = Pinhole(w, h, rng.uniform(5, 30), rng.uniform(5, 30), w * rng.uniform(0.3, 0.7), h / 2)
    color_camera = Pinhole(big_w, big_h, rng.uniform(5, 60), rng.uniform(5, 60), big_w / 2, big_h / 2)
    rotation = np.linalg.qr(np.eye(3) + rng.normal(0, rng.choice([0.05, 2]), (3, 3)))[0]
    to_color = np.eye(4)
    to_color[:3, :3], to_color[:3, 3] = rotation * np.linalg.det(rotation), rng.normal(0, 0.2, 3)
    rig = Rig(depth_camera, color_camera, to_color)
    depth = np.where(rng.random((h, w)) < 0.2, 0, rng.uniform(0.1, 5, (h, w))).astype(np.float32)
    color, label = rng.integers(0, 256, (big_h, big_w, 3), np.uint8), rng.integers(0, 21, (big_h, big_w), np.uint8)
    for fast, slow in zip(
        register(depth, color, label, rig), reference_register(depth, color, label, rig), strict=True
    ):
        np.testing.assert_array_equal(fast, slow)


def test_the_colours_of_the_depth_camera_come_out(rig: Rig, frames: list[Take]) -> None:
    """Away from edges a registered picture is what the depth camera would have drawn itself."""
    mesh = pack_mesh(room_mesh())
    for take in frames:
        truth = render_frame(mesh, rig.depth, take.pose)
        frame = register(take.depth_mm / np.float32(1000), take.rgb, take.ids, rig)
        seen = frame.depth > 0
        plain = inner(truth.rgb.astype(int) @ [1, 256, 65536]) & seen
        assert seen.mean() > 0.9
        assert plain.mean() > 0.4
        np.testing.assert_array_equal(frame.label[plain], truth.label[plain])
        np.testing.assert_array_equal(frame.rgb[plain], truth.rgb[plain])
        np.testing.assert_allclose(frame.depth[seen], truth.depth[seen], atol=6e-4)
        assert (frame.rgb[~seen] == 0).all()
        assert (frame.label[~seen] == 0).all()


def test_one_camera_changes_nothing_but_holes() -> None:
    camera = Pinhole(7, 5, 6.3, 6.1, 3.6, 2.2)
    rng = np.random.default_rng(1)
    depth = np.where(rng.random((5, 7)) < 0.3, 0, rng.uniform(0.2, 9, (5, 7))).astype(np.float32)
    color, label = rng.integers(0, 256, (5, 7, 3), np.uint8), rng.integers(1, 21, (5, 7), np.uint8)
    frame = register(depth, color, label, Rig(camera, camera, np.eye(4)))
    np.testing.assert_array_equal(frame.depth, depth)
    np.testing.assert_array_equal(frame.rgb, np.where(depth[..., None] > 0, color, 0))
    np.testing.assert_array_equal(frame.label, np.where(depth > 0, label, 0))


def test_the_centre_of_a_file_is_half_a_pixel_from_ours() -> None:
    """In a file, the pixel at the principal point looks straight ahead; so does the centre of that pixel here."""
    camera = pinhole(lens_matrix(500, 510, 320, 240), (640, 480), "a")
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (500, 510, 320.5, 240.5)
    np.testing.assert_array_equal(camera.rays()[240, 320], [0, 0, 1])
    depth = np.zeros((480, 640), np.float32)
    depth[100, 20] = 2.0
    point = world_points(depth, camera, np.eye(4))[100, 20]
    np.testing.assert_allclose(point, [(20 - 320) / 500 * 2, (100 - 240) / 510 * 2, 2])


def test_a_smaller_picture_of_the_same_view() -> None:
    camera = resized(pinhole(lens_matrix(1500, 1500, 959.5, 719.5), (1920, 1440), "a"), (256, 192), "a")
    assert (camera.width, camera.height, camera.fx, camera.cx, camera.cy) == (256, 192, 200, 128, 96)
    with pytest.raises(UserError, match="1920 x 1440 and 640 x 360 cannot show the same view"):
        resized(Pinhole(1920, 1440, 1500, 1500, 960, 720), (640, 360), "a")


@pytest.mark.parametrize(
    ("lens", "message"),
    [
        (lens_matrix(0, 500, 320, 240), "got focal lengths 0.0, 500.0"),
        (lens_matrix(500, np.nan, 320, 240), "got focal lengths 500.0, nan"),
        (lens_matrix(1170, 1170, 647.75, 483.75), r"principal point \(647.75, 483.75\) for images of 640 x 480"),
    ],
)
def test_lenses_that_cannot_be(lens: np.ndarray, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pinhole(lens, (640, 480), "a")
