"""The depth sensor's noise: the published figures, and the kernel against a slow form of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.geometry.cameras import Pinhole
from roomseg.geometry.sensor import (
    DISPARITY_M,
    DROP_ALL,
    DROP_FROM,
    EDGE_M,
    FOCAL_PX,
    RANGE_M,
    STEEP,
    noisy_depth,
)

CAMERA = Pinhole(320, 240, FOCAL_PX, FOCAL_PX, 160.0, 120.0)  # narrow: a wall is seen nearly square on everywhere


def wall(z: float) -> np.ndarray:
    return np.full((CAMERA.height, CAMERA.width), z, np.float32)


def slanted(angle_deg: float, z: float, camera: Pinhole = CAMERA) -> np.ndarray:  # (H, W)
    """A plane through (0, 0, z) whose normal is turned off the axis about the image's vertical."""
    slope = math.tan(math.radians(angle_deg))
    return (z / (1 - slope * camera.rays()[..., 0])).astype(np.float32)


# A slow form of it, pixel by pixel, after the two papers


def bits(seed: int, n: int) -> int:
    z = (seed + 0x9E3779B97F4A7C15 * (n + 1)) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def normal(seed: int, n: int) -> float:
    draw = bits(seed, n)
    return sum((draw >> shift & 0xFFFF) - 32767.5 for shift in (0, 16, 32, 48)) * math.sqrt(3) / 65536


def reference(depth: np.ndarray, camera: Pinhole, seed: int) -> np.ndarray:
    out = np.zeros_like(depth)
    for row, col in np.argwhere(depth > 0).tolist():
        z = float(depth[row, col])
        along = [steps(depth[row, :], col), steps(depth[:, col], row)]
        point = z * np.array([(col + 0.5 - camera.cx) / camera.fx, (row + 0.5 - camera.cy) / camera.fy, 1])
        right = point / z * along[0] + z * np.array([1 / camera.fx, 0, 0])
        below = point / z * along[1] + z * np.array([0, 1 / camera.fy, 0])
        facing = np.cross(right, below)
        angle = math.acos(min(1.0, abs(facing @ point) / np.linalg.norm(facing) / np.linalg.norm(point)))
        first = 4 * (row * camera.width + col)
        if (bits(seed, first + 3) >> 16) / 2**48 < (angle - DROP_FROM) / (DROP_ALL - DROP_FROM):
            continue
        spread = (0.8 + 0.035 * angle / (math.pi / 2 - angle)) * camera.fx / FOCAL_PX
        i, j = round(spread * normal(seed, first + 2)), round(spread * normal(seed, first + 1))
        i, j = np.clip(i, -row, camera.height - 1 - row), np.clip(j, -col, camera.width - 1 - col)
        other = float(depth[row + i, col + j])
        z = other if abs(other - z - j * along[0] - i * along[1]) > EDGE_M else z
        if RANGE_M[0] <= z <= RANGE_M[1]:
            out[row, col] = quantised(z + math.sqrt(sigma_m(z, angle) ** 2 - step_m(z) ** 2 / 12) * normal(seed, first))
    return out


def steps(line: np.ndarray, at: int) -> float:
    sides = [float(line[at]) - float(line[at - 1])] if at > 0 and line[at - 1] > 0 else []
    sides += [float(line[at + 1]) - float(line[at])] if at + 1 < len(line) and line[at + 1] > 0 else []
    return min(reversed(sides), key=abs) if sides else 0.0


def sigma_m(z: float, angle: float = 0.0) -> float:
    steep = 0.0001 / math.sqrt(z) * (angle / (math.pi / 2 - angle)) ** 2 if angle > STEEP else 0.0
    return 0.0012 + 0.0019 * (z - 0.4) ** 2 + steep


def step_m(z: float) -> float:
    return z * z / DISPARITY_M


def quantised(z: float) -> float:
    return DISPARITY_M / round(DISPARITY_M / z)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**64 - 1), st.floats(0.3, 5.5), st.floats(0, 84), st.floats(0.3, 5.5))
def test_the_kernel_is_the_slow_form(seed: int, z: float, angle_deg: float, post: float) -> None:
    camera = Pinhole(24, 16, 40.0, 42.0, 11.0, 8.5)
    depth = np.clip(slanted(angle_deg, z, camera), 0, 8)
    depth[:, 5:8], depth[:3] = post, 0  # a post before or behind the wall, and nothing above it
    depth[depth < 0] = 0
    ours, slow = noisy_depth(depth, camera, seed), reference(depth, camera, seed)
    apart = ~np.isclose(ours, slow, rtol=1e-5)
    assert apart.mean() < 0.01  # where rounding decides a step, a shift or a drop-out


# The published figures


@pytest.mark.parametrize(("z", "std_mm"), [(0.8, 1.504), (1.0, 1.884), (2.0, 6.064), (3.0, 14.044), (4.0, 25.824)])
def test_axial_noise_grows_with_depth_as_measured(z: float, std_mm: float) -> None:
    error = noisy_depth(wall(z), CAMERA, 7) - z
    assert 1000 * error.std() == pytest.approx(std_mm, rel=0.03)
    assert abs(error.mean()) < 0.03 * std_mm / 1000 + 2e-5


def test_axial_noise_grows_beyond_sixty_degrees() -> None:
    depth = slanted(72, 1.5)
    middle = np.s_[:, 155:165]
    error = (noisy_depth(depth, CAMERA, 3) - depth)[middle]
    rays = CAMERA.rays()[middle]
    angle = np.arccos(
        rays @ [math.sin(math.radians(-72)), 0, math.cos(math.radians(72))] / np.linalg.norm(rays, axis=-1)
    )
    expected = np.mean([sigma_m(z, a) ** 2 for z, a in zip(depth[middle].ravel(), angle.ravel(), strict=True)]) ** 0.5
    assert error.std() == pytest.approx(expected, rel=0.06)
    assert expected > 1.3 * sigma_m(1.5)


@pytest.mark.parametrize("z", [1.0, 2.0, 4.0])
def test_depth_comes_in_steps_of_disparity(z: float) -> None:
    values = np.unique(noisy_depth(wall(z), CAMERA, 1).astype(np.float64))
    np.testing.assert_allclose(DISPARITY_M / values, np.rint(DISPARITY_M / values), atol=1e-4)
    assert np.diff(values).min() == pytest.approx(step_m(values[0]), rel=0.02)


def test_edges_move_by_a_pixel_or_so_and_nothing_else_does() -> None:
    depth = wall(2.0)
    depth[:, 160:] = 1.0
    changed = np.abs(noisy_depth(depth, CAMERA, 5) - depth) > 0.3
    by_column = changed.mean(axis=0)
    assert 0.2 < by_column[159] < 0.35  # a normal of 0.8 beyond half a pixel, to one side: 0.27
    assert 0.2 < by_column[160] < 0.35
    assert 0.005 < by_column[157:159].mean() < 0.1
    assert not by_column[:155].any()
    assert not by_column[165:].any()


def test_lateral_noise_goes_with_the_lens() -> None:
    half = Pinhole(160, 120, FOCAL_PX / 2, FOCAL_PX / 2, 80.0, 60.0)
    depth = np.full((120, 160), 2.0, np.float32)
    depth[:, 80:] = 1.0
    changed = (np.abs(noisy_depth(depth, half, 5) - depth) > 0.3).mean(axis=0)
    assert 0.04 < changed[79] < 0.2  # 0.4 pixels beyond half a pixel, to one side: 0.11


def test_readings_fail_at_grazing_angles_and_out_of_range() -> None:
    shares = [(noisy_depth(slanted(angle, 1.2), CAMERA, 2)[:, 158:162] == 0).mean() for angle in (70, 80, 86)]
    assert shares[0] == 0
    assert shares[1] == pytest.approx(0.5, abs=0.06)
    assert shares[2] == 1
    for z, seen in ((0.35, False), (0.45, True), (4.9, True), (5.2, False), (0.0, False)):
        assert (noisy_depth(wall(z), CAMERA, 2) > 0).all() == seen
        assert (noisy_depth(wall(z), CAMERA, 2) > 0).any() == seen


def test_a_seed_says_all() -> None:
    depth = slanted(30, 2.0)
    before = depth.copy()
    first, again, other = (noisy_depth(depth, CAMERA, seed) for seed in (11, 11, 12))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(depth, before)
    assert (first != other).mean() > 0.3  # steps make many of them equal
    pairs = np.stack([(first - depth)[:, :-1].ravel(), (first - depth)[:, 1:].ravel()])
    assert abs(np.corrcoef(pairs)[0, 1]) < 0.02  # one pixel says nothing about the next
    assert abs(np.corrcoef((first - depth).ravel(), (other - depth).ravel())[0, 1]) < 0.02
