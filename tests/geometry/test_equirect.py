import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from roomseg.geometry.equirect import directions, solid_angle_weights
from tests.geometry.projected import pixel_of


def test_directions_of_a_panorama_of_two_rows() -> None:
    rays = directions(2)  # phi = +-45 degrees, theta = -135, -45, 45, 135 degrees
    assert rays.shape == (2, 4, 3)
    assert rays.dtype == np.float32
    half, up = 0.5, np.sqrt(0.5)
    np.testing.assert_allclose(rays[0], [[-half, -half, up], [half, -half, up], [half, half, up], [-half, half, up]])
    np.testing.assert_allclose(rays[1, 2], [half, half, -up])


@given(st.integers(1, 64))
def test_pixel_of_is_the_inverse_at_any_length(height: int) -> None:
    rays = directions(height)
    row, col = pixel_of(rays * 3.5, height)
    rows, cols = np.indices((height, 2 * height))
    np.testing.assert_array_equal(row, rows)
    np.testing.assert_array_equal(col, cols)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1, atol=1e-6)


def test_pixel_of_poles_and_seam() -> None:
    row, col = pixel_of(
        np.array([[0, 0, 1.0], [0, 0, -1.0], [-1.0, 0.0, 0.0], [-1.0, -1e-9, 0.0], [1.0, 1e-9, 0.0]]), 8
    )
    np.testing.assert_array_equal(row[:2], [0, 7])
    np.testing.assert_array_equal(col[2:], [0, 0, 8])  # theta = pi is -pi


def test_weights_are_the_rows_solid_angles() -> None:
    weights = solid_angle_weights(64)
    edge = np.linspace(np.pi / 2, -np.pi / 2, 65)
    area = np.sin(edge[:-1]) - np.sin(edge[1:])
    np.testing.assert_allclose(weights, area / area.mean(), rtol=1e-3)
    assert abs(weights.mean() - 1) < 1e-6
