"""Textures: each is halved again and again when a mesh is packed, and looked up bilinearly at the level that fits.

A colour is an integer, red + 256 green + 65536 blue: one read, and three shifts, for each of the four texels around a
point. Of frames, ``LANES`` neighbouring pixels are looked up at once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from roomseg.geometry.kernels import inlined_kernel, kernel
from roomseg.geometry.simd import LANES, fetch, put

MAX_LEVELS = 8
_ONE, _HALF = np.float32(1.0), np.float32(0.5)
_ROOT_2 = np.float32(math.sqrt(2))
_MANTISSA_BITS, _EXPONENT_BIAS = 23, 127


def texture_levels(textures: tuple[np.ndarray, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) int32 texels and (T, MAX_LEVELS, 3) int32 (first texel, height, width); few levels: the last is repeated."""
    levels = np.ones((len(textures), MAX_LEVELS, 3), np.int32)
    rows, end = [np.zeros(0, np.int32)], 0
    for t, texture in enumerate(textures):
        level = texture.astype(np.float32)
        for k in range(MAX_LEVELS):
            levels[t, k] = end, *level.shape[:2]
            rows.append(_packed(level))
            end += len(rows[-1])
            level = _halved(level)
    return np.concatenate(rows), levels


@kernel
def _packed(image: np.ndarray) -> np.ndarray:  # (h, w, 3) float32 -> (h * w,) int32
    height, width, _ = image.shape
    texels = np.empty(height * width, np.int32)
    for row in range(height):
        for col in range(width):
            red, green, blue = image[row, col, 0], image[row, col, 1], image[row, col, 2]
            texels[row * width + col] = int(red + 0.5) | int(green + 0.5) << 8 | int(blue + 0.5) << 16
    return texels


@kernel
def _halved(image: np.ndarray) -> np.ndarray:  # (h, w, 3) -> (h / 2, w / 2, 3); a side of one texel stays
    height, width, _ = image.shape
    down, across = (2 if height > 1 else 1), (2 if width > 1 else 1)
    half = np.empty((height // down, width // across, 3), np.float32)
    for row in range(half.shape[0]):
        for col in range(half.shape[1]):
            top, left = row * down, col * across
            bottom, right = top + down - 1, left + across - 1
            for k in range(3):
                upper, lower = (
                    image[top, left, k] + image[top, right, k],
                    image[bottom, left, k] + image[bottom, right, k],
                )
                half[row, col, k] = np.float32(0.25) * (upper + lower)
    return half


@inlined_kernel
def level_at(levels: np.ndarray, texture: int, shrink: np.float32) -> tuple[int, int, int]:
    """First texel, height and width of the level whose texels are nearest to a pixel's width, ``shrink`` of level 0."""
    exponent = (np.float32(max(shrink, _ONE) * _ROOT_2).view(np.int32) >> _MANTISSA_BITS) - _EXPONENT_BIAS
    start, height, width = levels[texture, min(int(exponent), MAX_LEVELS - 1)]
    return start, height, width


@inlined_kernel
def _channel(
    shift: int, a: int, b: int, c: int, d: int, wa: np.float32, wb: np.float32, wc: np.float32, wd: np.float32
) -> np.float32:
    return (
        np.float32(np.int32(a >> shift & 255)) * wa
        + np.float32(np.int32(b >> shift & 255)) * wb
        + np.float32(np.int32(c >> shift & 255)) * wc
        + np.float32(np.int32(d >> shift & 255)) * wd
    )


@inlined_kernel
def texture_color(
    texels: np.ndarray, level: tuple[int, int, int], u: np.float32, v: np.float32
) -> tuple[np.float32, np.float32, np.float32]:
    """Red, green and blue, 0..255, at (u, v): bilinear."""
    start, height, width = level
    x = (u - np.floor(u)) * np.float32(width) - _HALF
    y = (np.ceil(v) - v) * np.float32(height) - _HALF  # row 0 is the top, at v = 1
    left, top = np.floor(x), np.floor(y)
    s, r = x - left, y - top
    col, row = np.int32(left), np.int32(top)
    col0, row0 = (col if col >= 0 else width - 1), (row if row >= 0 else height - 1)
    col1, row1 = (col + 1 if col + 1 < width else 0), (row + 1 if row + 1 < height else 0)
    upper, lower = start + row0 * width, start + row1 * width
    a, b = fetch(texels, upper + col0), fetch(texels, upper + col1)
    c, d = fetch(texels, lower + col0), fetch(texels, lower + col1)
    wa, wb, wc, wd = (_ONE - s) * (_ONE - r), s * (_ONE - r), (_ONE - s) * r, s * r
    return (
        _channel(0, a, b, c, d, wa, wb, wc, wd),
        _channel(8, a, b, c, d, wa, wb, wc, wd),
        _channel(16, a, b, c, d, wa, wb, wc, wd),
    )


@inlined_kernel
def packed(red: np.float32, green: np.float32, blue: np.float32) -> np.int32:
    return np.int32(red + _HALF) | np.int32(green + _HALF) << 8 | np.int32(blue + _HALF) << 16


@inlined_kernel
def _unpacked(color: int) -> tuple[np.float32, np.float32, np.float32]:
    return np.float32(color & 255), np.float32(color >> 8 & 255), np.float32(color >> 16 & 255)


@inlined_kernel
def shaded(color: int, shade: np.float32) -> np.int32:
    red, green, blue = _unpacked(color)
    return packed(red * shade, green * shade, blue * shade)


@inlined_kernel
def surface_color(
    texels: np.ndarray, levels: np.ndarray, surface: Any, point: np.ndarray, footprint_m: np.float32
) -> tuple[np.float32, np.float32, np.float32]:
    """Unlit red, green and blue, 0..255, of a ``SURFACE`` at a point (3,) of it; the pixel is ``footprint_m`` wide."""
    if surface.texture < 0:
        return _unpacked(surface.color)
    (ux, uy, uz, u_0), (vx, vy, vz, v_0) = surface.uv_of[0], surface.uv_of[1]
    u = ux * point[0] + uy * point[1] + uz * point[2] + u_0
    v = vx * point[0] + vy * point[1] + vz * point[2] + v_0
    return texture_color(texels, level_at(levels, surface.texture, footprint_m * surface.texels_per_m), u, v)


@kernel
def texture_lanes(
    texels: np.ndarray,  # (N,)
    level: tuple[int, int, int],
    u: tuple[np.float32, np.float32, np.float32],
    v: tuple[np.float32, np.float32, np.float32],
    shade: np.float32,
    depth: np.ndarray,  # (n + LANES,)
    left: int,
    first: int,
    color: np.ndarray,  # (n + LANES,) out
) -> None:
    """Colours of the pixels first to first + LANES - 1: u = z (u[0] + u[1] col) + u[2], v likewise."""
    for lane in range(LANES):
        k = first + lane
        z, col = fetch(depth, k), np.float32(left + k)
        red, green, blue = texture_color(texels, level, z * (u[0] + u[1] * col) + u[2], z * (v[0] + v[1] * col) + v[2])
        put(color, k, packed(red * shade, green * shade, blue * shade))
