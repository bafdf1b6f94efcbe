"""What a parametric kind is: a box of sizes to draw from and a function that builds a shape into such a box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes import textures
from roomseg.scenes.parametric.shapes import Paint, Vec, box, cylinder, rod

# Builds into the box of width, depth and height (metres) that is centred on x and y and stands on z = 0, front to -Y.
Builder = Callable[[np.random.Generator, float, float, float], list[TriangleMesh]]


@dataclass(frozen=True)
class Recipe:
    build: Builder
    low_m: Vec  # smallest width, depth and height
    high_m: Vec
    variants: int = 8
    elevation_m: float = 0.0


def paint(color: np.ndarray) -> Paint:
    red, green, blue = np.clip(color, 0, 255).astype(int)
    return Paint((int(red), int(green), int(blue)))


def wood(rng: np.random.Generator) -> Paint:
    """Textured wood, or painted."""
    if rng.random() < 0.25:
        return paint(textures.pastel_color(rng))
    grain = textures.wood_grain(rng)
    return Paint(paint(grain.image.mean((0, 1))).color, grain)


def fabric(rng: np.random.Generator) -> Paint:
    cloth = textures.fabric(rng)
    return Paint(paint(cloth.image.mean((0, 1))).color, cloth)


def metal(rng: np.random.Generator) -> Paint:
    tones = ((40, 40, 42), (150, 152, 155), (205, 207, 210), (160, 130, 80), (90, 88, 86))
    return Paint(tones[rng.integers(len(tones))])


def plastic(rng: np.random.Generator) -> Paint:
    return paint(textures.fabric_color(rng))


def white(rng: np.random.Generator) -> Paint:
    return paint(np.full(3, float(rng.uniform(225, 250))) - rng.uniform(0, 8, 3))


def black(rng: np.random.Generator) -> Paint:
    return paint(np.full(3, float(rng.uniform(18, 50))))


def appliance_paint(rng: np.random.Generator) -> Paint:
    """White enamel, steel or black."""
    return (white, white, _steel, black)[rng.integers(4)](rng)


def _steel(rng: np.random.Generator) -> Paint:
    return paint(np.full(3, float(rng.uniform(140, 195))))


def legs(
    width: float, depth: float, top: float, thick: float, style: Paint, splay: float = 0.0, round_: bool = False
) -> list[TriangleMesh]:
    """Four legs under a rectangle: square or round, set outward at the foot by ``splay``."""
    x, y = width / 2 - thick / 2 - splay, depth / 2 - thick / 2 - splay
    corners = [(-x, -y), (x, -y), (x, y), (-x, y)]
    half = thick / 2
    if round_ or splay:
        return [
            rod((cx + np.sign(cx) * splay, cy + np.sign(cy) * splay, 0.0), (cx, cy, top), half, style)
            for cx, cy in corners
        ]
    return [box((cx - half, cy - half, 0.0), (cx + half, cy + half, top), style) for cx, cy in corners]


def pedestal(top: float, radius: float, foot: float, style: Paint) -> list[TriangleMesh]:
    """A round foot and a column."""
    return [cylinder(foot, 0.0, 0.03, style, sides=20), cylinder(radius, 0.03, top, style)]


def fronts(
    low: Vec, high: Vec, rows: int, columns: int, style: Paint, handle: Paint, knob: bool, gap: float = 0.004
) -> list[TriangleMesh]:
    """Doors or drawers on the -Y side of a body, ``low`` to ``high``: panels 1.5 cm deep, each with a handle."""
    (x0, y, z0), (x1, _, z1) = low, high
    wide, tall = (x1 - x0) / columns, (z1 - z0) / rows
    parts = []
    for row in range(rows):
        for column in range(columns):
            left, bottom = x0 + column * wide, z0 + row * tall
            right, top = left + wide, bottom + tall
            parts.append(box((left + gap, y, bottom + gap), (right - gap, y + 0.015, top - gap), style))
            parts.append(_handle((left, y, bottom), (right, y, top), column, handle, knob))
    return parts


def _handle(low: Vec, high: Vec, column: int, style: Paint, knob: bool) -> TriangleMesh:
    """A knob in the middle, a bar along a drawer's width, or a bar upright at a door's edge."""
    (x0, y, z0), (x1, _, z1) = low, high
    x, z = (x0 + x1) / 2, (z0 + z1) / 2
    if knob:
        return box((x - 0.015, y - 0.025, z - 0.015), (x + 0.015, y, z + 0.015), style)
    if x1 - x0 > z1 - z0:
        half = (x1 - x0) * 0.15
        return box((x - half, y - 0.025, z - 0.008), (x + half, y, z + 0.008), style)
    edge, half = (x1 - 0.05 if column % 2 == 0 else x0 + 0.05), min(0.15, (z1 - z0) * 0.2)
    return box((edge - 0.008, y - 0.025, z - half), (edge + 0.008, y, z + half), style)
