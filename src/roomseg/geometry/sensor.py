"""Depth as a hand-held structured-light sensor would have measured it, from depth that was rendered.

Axial and lateral noise are the fits of Nguyen, Izadi and Lovell, "Modeling Kinect Sensor Noise for Improved 3D
Reconstruction and Tracking" (3DIMPVT 2012); depth comes in whole steps of disparity, as in Handa et al., "A Benchmark
for RGB-D Visual Odometry, 3D Reconstruction and SLAM" (ICRA 2014). Colour and labels stay where they are, so that at
edges they lie beside their depth, as with a real sensor.
"""

from __future__ import annotations

import math

import numpy as np

from roomseg.geometry.cameras import Lens, Pinhole
from roomseg.geometry.kernels import inlined_kernel, kernel

RANGE_M = (0.4, 5.0)  # nothing is measured outside
FOCAL_PX = 585.0  # of the camera for which lateral noise was measured in pixels
DISPARITY_M = 351.3  # depth times its disparity in steps of 1/8 pixel: 35130 in cm (Handa et al.)
STEEP = math.radians(60)  # beyond it axial noise grows with the angle
DROP_FROM, DROP_ALL = math.radians(75), math.radians(85)  # from no pixel to every pixel without a reading; ours
EDGE_M = 0.05  # a neighbour so far off the pixel's own surface is another surface

_GOLDEN, _MIX_1, _MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_16, _27, _30, _31, _32, _48 = (np.uint64(n) for n in (16, 27, 30, 31, 32, 48))
_LOW_16 = np.uint64(0xFFFF)
DRAWS = 4  # a pixel: axial, across, down, drop-out


@inlined_kernel
def _bits(seed: np.uint64, n: int) -> np.uint64:
    """64 random bits, the n-th of a stream (splitmix64)."""
    z = seed + _GOLDEN * (np.uint64(n) + np.uint64(1))
    z = (z ^ (z >> _30)) * _MIX_1
    z = (z ^ (z >> _27)) * _MIX_2
    return z ^ (z >> _31)


@inlined_kernel
def _normal(seed: np.uint64, n: int) -> float:
    """Mean 0, variance 1: the sum of four uniform draws, so never beyond 3.5."""
    bits = _bits(seed, n)
    total = np.int64(bits & _LOW_16) + np.int64(bits >> _16 & _LOW_16)
    total += np.int64(bits >> _32 & _LOW_16) + np.int64(bits >> _48)
    return (total - 2.0 * 65535.0) * (math.sqrt(3.0) / 65536.0)


@inlined_kernel
def _slope(before: float, here: float, after: float) -> float:
    """The change of depth to the next pixel, on the side where it is smaller: not across an edge."""
    back, ahead = here - before, after - here
    if before <= 0.0:
        return ahead if after > 0.0 else 0.0
    if after <= 0.0:
        return back
    return back if abs(back) < abs(ahead) else ahead


@inlined_kernel
def _arc_cosine(x: float) -> float:
    """For 0..1 within 7e-5 (Abramowitz and Stegun 4.4.45): the exact one takes a third of the time of it all."""
    return math.sqrt(1.0 - x) * (1.5707288 + x * (-0.2121144 + x * (0.0742610 - x * 0.0187293)))


@inlined_kernel
def _axial_m(z: float, angle: float) -> float:
    """Standard deviation of the depth (Nguyen et al., equations 3 and 4)."""
    sigma = 0.0012 + 0.0019 * (z - 0.4) ** 2
    if angle > STEEP:
        sigma += 0.0001 / math.sqrt(z) * (angle / (0.5 * math.pi - angle)) ** 2
    return sigma


@inlined_kernel
def _measured(z: float, angle: float, draw: float) -> float:
    """With noise and in steps; the two together have the standard deviation of ``_axial_m``."""
    step = z * z / DISPARITY_M
    noise = math.sqrt(max(_axial_m(z, angle) ** 2 - step * step / 12.0, 0.0)) * draw
    return DISPARITY_M / max(math.floor(DISPARITY_M / max(z + noise, 0.1) + 0.5), 1)


@kernel
def _noisy(depth: np.ndarray, lens: Lens, seed: np.uint64, out: np.ndarray) -> None:  # (H, W), (H, W) in place, of 0
    fx, fy, cx, cy = lens
    height, width = depth.shape
    per_fx, per_fy, px = 1.0 / fx, 1.0 / fy, fx / FOCAL_PX
    for row in range(height):
        for col in range(width):
            z = np.float64(depth[row, col])
            if z <= 0.0:
                continue
            left = depth[row, col - 1] if col > 0 else 0.0
            right = depth[row, col + 1] if col + 1 < width else 0.0
            above = depth[row - 1, col] if row > 0 else 0.0
            below = depth[row + 1, col] if row + 1 < height else 0.0
            across, down = _slope(left, z, right), _slope(above, z, below)
            u, v = (col + 0.5 - cx) * per_fx, (row + 0.5 - cy) * per_fy
            nx, ny = -across * fx, -down * fy  # the surface's normal is (nx, ny, nz); along the ray it is z long
            nz = z - nx * u - ny * v
            cosine = z / math.sqrt((nx * nx + ny * ny + nz * nz) * (u * u + v * v + 1.0))
            angle = _arc_cosine(min(cosine, 1.0))
            first = DRAWS * (row * width + col)
            if angle > DROP_FROM:
                chance = (angle - DROP_FROM) / (DROP_ALL - DROP_FROM)
                if np.float64(_bits(seed, first + 3) >> _16) / 2.0**48 < chance:
                    continue
            lateral_px = (0.8 + 0.035 * angle / (0.5 * math.pi - angle)) * px
            i = min(max(math.floor(lateral_px * _normal(seed, first + 2) + 0.5), -row), height - 1 - row)
            j = min(max(math.floor(lateral_px * _normal(seed, first + 1) + 0.5), -col), width - 1 - col)
            other = np.float64(depth[row + i, col + j])
            if abs(other - (z + across * j + down * i)) > EDGE_M:
                z = other
            if RANGE_M[0] <= z <= RANGE_M[1]:
                out[row, col] = _measured(z, angle, _normal(seed, first))


def noisy_depth(depth: np.ndarray, camera: Pinhole, seed: int) -> np.ndarray:  # (H, W) -> (H, W) float32, metres
    """Depth along the optical axis as measured, 0 = none; what is 0 stays 0. Equal seeds give equal noise.

    On a surface the standard deviation is 0.0012 + 0.0019 (z - 0.4)^2 metres at z metres, more beyond 60 degrees off
    its normal; edges move by about 0.8 pixels of a 585 pixel lens; beyond 75 degrees readings begin to fail.
    """
    out = np.zeros(depth.shape, np.float32)
    _noisy(np.ascontiguousarray(depth, np.float32), camera.lens, np.uint64(seed % 2**64), out)
    return out
