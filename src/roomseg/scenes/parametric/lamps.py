"""Lamps: their bottom is at z = 0, a hanging one's cord reaches up to its height."""

from __future__ import annotations

import numpy as np

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.furniture_classes import Kind
from roomseg.scenes.parametric.recipes import Recipe, fabric, metal, paint, plastic, white, wood
from roomseg.scenes.parametric.shapes import Paint, box, cushion, cylinder, rod, turned

Parts = list[TriangleMesh]


def _shade_paint(rng: np.random.Generator) -> Paint:
    warm = paint(np.array([250.0, 238, 205]) - rng.uniform(0, 25, 3))
    return (warm, white(rng), fabric(rng), metal(rng), plastic(rng))[rng.choice(5, p=[0.35, 0.2, 0.2, 0.1, 0.15])]


def _shade(rng: np.random.Generator, radius: float, low: float, high: float, style: Paint) -> Parts:
    """A cone, a drum, a ball or a bowl turned down."""
    form, tall = rng.integers(4), high - low
    if form == 0:
        return [cylinder(radius, low, high, style, top_radius=radius * float(rng.uniform(0.35, 0.7)), sides=20)]
    if form == 1:
        return [cylinder(radius, low, high, style, sides=20)]
    if form == 2:
        return [cushion((-radius, -radius, low), (radius, radius, high), style, 1.0)]
    profile = [
        (radius, low),
        (radius * 0.92, low + 0.3 * tall),
        (radius * 0.6, low + 0.75 * tall),
        (radius * 0.15, high),
    ]
    return [turned(profile, style, sides=20)]


def ceiling_lamp(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A pendant, a flat dish, several small shades on a bar or a chandelier."""
    style, cord = _shade_paint(rng), metal(rng)
    form = rng.integers(4)
    if form == 0:
        profile = [(w * 0.35, 0), (w / 2, h * 0.35), (w / 2, h)]
        return [turned(profile, style, squeeze=(1.0, d / w), sides=24)]
    if form == 1:
        arms = []
        for angle in 2 * np.pi * np.arange(5) / 5:
            x, y = 0.38 * w * float(np.cos(angle)), 0.38 * d * float(np.sin(angle))
            arms.append(rod((0, 0, h * 0.3), (x, y, h * 0.15), 0.012, cord))
            arms.append(cushion((x - 0.06, y - 0.06, 0.1 * h), (x + 0.06, y + 0.06, 0.1 * h + 0.14), style, 1.0))
        return [*arms, cylinder(0.02, 0, h, cord), cylinder(0.06, h - 0.03, h, cord)]
    tall = min(h * 0.6, w * 0.6)
    return [
        *_shade(rng, w / 2, 0, tall, style),
        cylinder(0.01, tall - 0.02, h, cord),
        cylinder(0.05, h - 0.03, h, cord),
    ]


def floor_lamp(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    style, frame = _shade_paint(rng), (metal, wood)[rng.integers(2)](rng)
    low = h - float(rng.uniform(0.22, 0.38))
    parts = _shade(rng, w / 2, low, h, style)
    if rng.random() < 0.3:
        for angle in (0.5, 2.6, 4.7):
            foot = (w * 0.48 * float(np.cos(angle)), w * 0.48 * float(np.sin(angle)), 0.0)
            parts.append(rod(foot, (0, 0, low + 0.05), 0.016, frame))
        return parts
    return [*parts, cylinder(w * 0.35, 0, 0.025, frame, sides=20), cylinder(0.015, 0.025, low + 0.05, frame)]


def table_lamp(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    style, base = _shade_paint(rng), (metal, wood, plastic)[rng.integers(3)](rng)
    low = h * float(rng.uniform(0.45, 0.65))
    widths = rng.uniform(0.1, 0.35, 3) * w
    foot = [(w * 0.28, 0.0), (widths[0], 0.03), (widths[1], low * 0.5), (widths[2], low * 0.8), (0.012, low + 0.03)]
    return [*_shade(rng, w / 2, low, h, style), turned(foot, base)]


def wall_lamp(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    style, frame = _shade_paint(rng), metal(rng)
    radius = min(w, d) * 0.42
    y = -d / 2 + radius
    move = np.eye(4)
    move[1, 3] = y
    shade = [part.transformed(move) for part in _shade(rng, radius, h * 0.35, h, style)]
    plate = box((-w * 0.2, d / 2 - 0.02, 0), (w * 0.2, d / 2, h * 0.6), frame)
    return [*shade, plate, rod((0, d / 2, h * 0.2), (0, y, h * 0.4), 0.012, frame)]


RECIPES: dict[Kind, Recipe] = {
    "ceiling_lamp": Recipe(ceiling_lamp, (0.3, 0.3, 0.12), (0.7, 0.7, 0.8), 24, elevation_m=1.9),
    "floor_lamp": Recipe(floor_lamp, (0.28, 0.28, 1.3), (0.5, 0.5, 1.75), 20),
    "table_lamp": Recipe(table_lamp, (0.2, 0.2, 0.32), (0.38, 0.38, 0.6), 20),
    "wall_lamp": Recipe(wall_lamp, (0.14, 0.16, 0.2), (0.28, 0.28, 0.4), 12, elevation_m=1.6),
}
