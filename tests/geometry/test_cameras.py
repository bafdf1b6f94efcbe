import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomseg.geometry.cameras import Pinhole, look_at
from tests.geometry.projected import world_points


def test_a_right_angle_of_view_has_half_the_width_as_focal_length() -> None:
    camera = Pinhole.from_fov(320, 240, 90.0)
    assert camera.lens == pytest.approx((160.0, 160.0, 160.0, 120.0))


def test_rays_go_through_pixel_centres() -> None:
    rays = Pinhole(2, 2, 1.0, 1.0, 1.0, 1.0).rays()
    np.testing.assert_allclose(rays[0], [[-0.5, -0.5, 1], [0.5, -0.5, 1]])
    np.testing.assert_allclose(rays[1, 0], [-0.5, 0.5, 1])


def test_looking_along_x_has_its_right_at_minus_y() -> None:
    pose = look_at(np.array([1.0, 2.0, 3.0]), np.array([5.0, 2.0, 3.0]))
    np.testing.assert_allclose(pose[:3, 2], [1, 0, 0])  # forward
    np.testing.assert_allclose(pose[:3, 0], [0, -1, 0], atol=1e-12)  # right
    np.testing.assert_allclose(pose[:3, 1], [0, 0, -1], atol=1e-12)  # down
    np.testing.assert_allclose(pose[:3, 3], [1, 2, 3])


coordinate = st.floats(-5, 5)


@given(st.tuples(coordinate, coordinate, coordinate))
def test_a_pose_is_a_rotation_that_looks_at_its_target(target: tuple[float, float, float]) -> None:
    eye = np.array([0.1, -0.2, 6.0])
    pose = look_at(eye, np.array(target))
    np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-9)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
    seen = np.linalg.inv(pose) @ [*target, 1]
    np.testing.assert_allclose(seen[:3], [0, 0, np.linalg.norm(np.array(target) - eye)], atol=1e-9)


@pytest.mark.parametrize("z", [-1.0, 1.0])
def test_looking_straight_up_or_down_is_defined(z: float) -> None:
    pose = look_at(np.zeros(3), np.array([0, 0, z]))
    np.testing.assert_allclose(pose[:3, 2], [0, 0, z])
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)


def test_world_points_of_a_wall_lie_on_it() -> None:
    pose = look_at(np.array([0.0, 0.0, 1.5]), np.array([2.0, 0.0, 1.5]))
    points = world_points(np.full((30, 40), 2.0), Pinhole.from_fov(40, 30, 60), pose)
    np.testing.assert_allclose(points[..., 0], 2.0)
    assert points[0, 0, 2] > 1.5 > points[-1, 0, 2]  # the top row is up
    assert points[0, 0, 1] > 0 > points[0, -1, 1]  # +Y is at the left
