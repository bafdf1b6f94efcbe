"""A trilinear function in a cell, and along a ray through it.

Sums and products only, in one order: the same formulas compile to numba kernels and, as ``.py_func``, take tensors, so
that both ray casters find the same numbers.
"""

from __future__ import annotations

from roomseg.geometry.kernels import inlined_kernel

Vector = tuple[float, float, float]
Polynomial = tuple[float, float, float, float, float, float, float, float]  # of 1, x, y, z, xy, xz, yz, xyz
Cubic = tuple[float, float, float, float]  # of 1, s, s^2, s^3


@inlined_kernel
def cell_polynomial(
    f000: float, f001: float, f010: float, f011: float, f100: float, f101: float, f110: float, f111: float
) -> Polynomial:
    """The trilinear function with these values in the corners (x, y, z)."""
    x, y, z = f100 - f000, f010 - f000, f001 - f000
    xy, xz, yz = f110 - f100 - y, f101 - f100 - z, f011 - f010 - z
    return f000, x, y, z, xy, xz, yz, f111 - f110 - f101 + f100 - yz


@inlined_kernel
def along_ray(f: Polynomial, start: Vector, way: Vector) -> Cubic:
    """The polynomial at start + s way."""
    x, y, z = start
    p, q, r = way
    c0 = f[0] + f[1] * x + f[2] * y + f[3] * z + f[4] * x * y + f[5] * x * z + f[6] * y * z + f[7] * x * y * z
    c1 = f[1] * p + f[2] * q + f[3] * r + f[4] * (x * q + y * p) + f[5] * (x * r + z * p) + f[6] * (y * r + z * q)
    c1 = c1 + f[7] * (x * y * r + x * z * q + y * z * p)
    c2 = f[4] * p * q + f[5] * p * r + f[6] * q * r + f[7] * (x * q * r + y * p * r + z * p * q)
    return c0, c1, c2, f[7] * p * q * r


@inlined_kernel
def value_at(c: Cubic, s: float) -> float:
    return c[0] + s * (c[1] + s * (c[2] + s * c[3]))


@inlined_kernel
def slope_at(c: Cubic, s: float) -> float:
    return c[1] + s * (2.0 * c[2] + s * (3.0 * c[3]))
