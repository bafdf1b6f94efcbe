"""Parts of the building: radiators, fireplaces, stairs, columns, beams, pipes, panels."""

from __future__ import annotations

import numpy as np

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes import textures
from roomseg.scenes.furniture_classes import Kind
from roomseg.scenes.parametric.recipes import Recipe, black, metal, paint, white, wood
from roomseg.scenes.parametric.shapes import Paint, box, cylinder, rod, turned

Parts = list[TriangleMesh]


def radiator(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """Ribs between two pipes, or a flat panel with grooves."""
    style = white(rng) if rng.random() < 0.8 else black(rng)
    if rng.random() < 0.5:
        count = max(4, round(w / 0.08))
        ribs = np.linspace(-w / 2, w / 2 - 0.05, count)
        parts = [box((x, -d / 2, 0.05), (x + 0.05, d / 2, h), style) for x in ribs]
        return parts + [rod((-w / 2, 0, z), (w / 2, 0, z), 0.025, style) for z in (0.1, h - 0.06)] + _feet(w, style)
    parts = [box((-w / 2, -d / 2 + 0.01, 0.05), (w / 2, d / 2, h), style)]
    for x in np.arange(-w / 2 + 0.03, w / 2 - 0.03, 0.07):
        parts.append(box((x, -d / 2, 0.1), (x + 0.04, -d / 2 + 0.01, h - 0.05), style))
    return parts + _feet(w, style)


def _feet(w: float, style: Paint) -> Parts:
    return [box((x - 0.02, -0.03, 0), (x + 0.02, 0.03, 0.06), style) for x in (-w * 0.4, w * 0.4)]


def fireplace(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    stone, dark = paint(textures.stone_color(rng)), black(rng)
    side, lintel = w * 0.2, h * 0.7
    fire = paint(np.array([230.0, 120, 40]))
    logs = [rod((-w * 0.15, y, 0.12), (w * 0.15, y, 0.12), 0.05, wood(rng)) for y in (-0.03, 0.06)]
    return [
        box((-w / 2, -d / 2 + 0.05, 0), (-w / 2 + side, d / 2, lintel), stone),
        box((w / 2 - side, -d / 2 + 0.05, 0), (w / 2, d / 2, lintel), stone),
        box((-w / 2, -d / 2 + 0.05, lintel), (w / 2, d / 2, h - 0.06), stone),
        box((-w / 2, -d / 2, h - 0.06), (w / 2, d / 2, h), (wood(rng), stone)[rng.integers(2)]),
        box((-w / 2 + side, d / 2 - 0.03, 0), (w / 2 - side, d / 2, lintel), dark),
        box((-w / 2 + side, -d / 2 + 0.05, 0), (w / 2 - side, d / 2, 0.05), dark),
        turned([(0.12, 0.15), (0.08, 0.28), (0.0, 0.4)], fire, at=(0, 0.05), sides=8),
        *logs,
    ]


def stair(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A straight flight that rises towards +Y, closed below or with open steps, some with a rail."""
    steps = max(4, round(h / 0.18))
    rise, run = h / steps, d / steps
    tread, side = wood(rng), (white(rng), wood(rng))[rng.integers(2)]
    closed = bool(rng.random() < 0.6)
    parts = []
    for i in range(steps):
        y, z = -d / 2 + i * run, (i + 1) * rise
        parts.append(box((-w / 2, y - 0.01, z - 0.04), (w / 2, y + run, z), tread))
        if closed:
            parts.append(box((-w / 2 + 0.01, y, 0), (w / 2 - 0.01, y + run, z - 0.04), side))
    if not closed:
        ends = (-d / 2, 0.05), (d / 2, h - 0.1)
        parts += [rod((x, *ends[0]), (x, *ends[1]), 0.06, side) for x in (-w / 2 + 0.06, w / 2 - 0.06)]
    return parts


def column(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """Round or square, with a foot and a head."""
    stone = paint(textures.stone_color(rng)) if rng.random() < 0.5 else white(rng)
    ends = [((-w / 2, -d / 2, 0), (w / 2, d / 2, 0.1)), ((-w / 2, -d / 2, h - 0.1), (w / 2, d / 2, h))]
    parts = [box(low, high, stone) for low, high in ends]
    if rng.random() < 0.5:
        return [*parts, turned([(w * 0.42, 0.1), (w * 0.36, h - 0.1)], stone, squeeze=(1.0, d / w), sides=20)]
    return [*parts, box((-w * 0.43, -d * 0.43, 0.1), (w * 0.43, d * 0.43, h - 0.1), stone)]


def beam(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """Lies along x, under the ceiling: a wooden one, or a plastered one with a ledge."""
    if rng.random() < 0.6:
        return [box((-w / 2, -d / 2, 0), (w / 2, d / 2, h), wood(rng))]
    style = white(rng)
    ledge = box((-w / 2, -d / 2, h * 0.7), (w / 2, d / 2, h), style)
    return [box((-w / 2, -d * 0.35, 0), (w / 2, d * 0.35, h), style), ledge]


def flue(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A boxed shaft with a hatch and a collar."""
    style, hatch = paint(textures.pastel_color(rng)), metal(rng)
    low = h * float(rng.uniform(0.3, 0.6))
    return [
        box((-w / 2, -d / 2 + 0.02, 0), (w / 2, d / 2, h), style),
        box((-w * 0.25, -d / 2, low), (w * 0.25, -d / 2 + 0.02, low + 0.3), hatch),
        box((-w / 2, -d / 2, h - 0.06), (w / 2, d / 2, h), style),
    ]


def sewer_pipe(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """An upright waste pipe with sleeves and a branch."""
    style = (white(rng), paint(np.array([205.0, 120, 60])), paint(np.full(3, 120.0)))[rng.integers(3)]
    radius = w * 0.4
    parts = [cylinder(radius, 0, h, style, sides=18)]
    for z in (0.0, float(rng.uniform(0.3, 0.6)) * h, h - 0.12):
        parts.append(cylinder(w / 2, z, z + 0.12, style, sides=18))
    low = float(rng.uniform(0.15, 0.4))
    return [*parts, rod((0, 0, low), (0, d / 2, low + d * 0.3), radius * 0.6, style, 14)]


def wainscot(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """Wall panelling: a board with framed fields, a foot and a rail."""
    style = (white, wood)[rng.integers(2)](rng)
    parts = [
        box((-w / 2, d / 2 - 0.012, 0), (w / 2, d / 2, h), style),
        box((-w / 2, -d / 2 + 0.01, 0), (w / 2, d / 2, 0.12), style),
        box((-w / 2, -d / 2, h - 0.05), (w / 2, d / 2, h), style),
    ]
    fields = max(1, round(w / float(rng.uniform(0.35, 0.7))))
    for x in np.linspace(-w / 2, w / 2, fields + 1):
        left, right = max(x - 0.04, -w / 2), min(x + 0.04, w / 2)
        parts.append(box((left, d / 2 - 0.025, 0.12), (right, d / 2, h - 0.05), style))
    return parts


def custom_platform(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A raised floor with a step along its front; some with a bench or drawers."""
    body, top = wood(rng), wood(rng)
    step = 0.28
    parts = [
        box((-w / 2, -d / 2 + step, 0), (w / 2, d / 2, h - 0.03), body),
        box((-w / 2, -d / 2 + step, h - 0.03), (w / 2, d / 2, h), top),
    ]
    if rng.random() < 0.6:
        return [*parts, box((-w / 2, -d / 2, 0), (w / 2, -d / 2 + step, h / 2), top)]
    for x in np.linspace(-w / 2, w / 2, max(2, round(w / 0.7)))[:-1]:
        parts.append(box((x + 0.03, -d / 2 + step - 0.015, 0.04), (x + 0.5, -d / 2 + step, h - 0.06), top))
    return [*parts, box((-0.2, -d / 2, 0), (0.2, -d / 2 + step, h / 2), top)]


def build_element(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A wall-hung water heater, a fuse box or a boiler."""
    style = white(rng) if rng.random() < 0.7 else metal(rng)
    form = rng.integers(3)
    if form == 0:
        tank = [(w * 0.4, 0.1 * h), (w / 2, 0.16 * h), (w / 2, 0.94 * h), (w * 0.4, h)]
        pipes = [cylinder(0.012, 0, 0.15 * h, metal(rng), at=(x, 0)) for x in (-0.08, 0.08)]
        return [turned(tank, style, squeeze=(1.0, d / w), sides=24), *pipes]
    hatch = box((-w * 0.42, -d / 2, h * 0.1), (w * 0.42, -d / 2 + 0.015, h * 0.9), style)
    body = box((-w / 2, -d / 2 + 0.01, 0.08 if form == 1 else 0), (w / 2, d / 2, h), style)
    if form == 2:
        return [body, hatch]
    dial = rod((0, -d / 2 - 0.01, h * 0.3), (0, -d / 2, h * 0.3), 0.04, black(rng), 14)
    return [body, hatch, dial, *(cylinder(0.014, 0, 0.1, metal(rng), at=(x, 0)) for x in (-0.1, 0, 0.1))]


RECIPES: dict[Kind, Recipe] = {
    "radiator": Recipe(radiator, (0.6, 0.09, 0.5), (1.4, 0.14, 0.75), 14),
    "fireplace": Recipe(fireplace, (1.1, 0.4, 1.0), (1.6, 0.55, 1.3), 8),
    "stair": Recipe(stair, (0.75, 2.2, 1.6), (1.0, 3.2, 2.4), 14),
    "column": Recipe(column, (0.25, 0.25, 2.4), (0.45, 0.45, 2.8), 14),
    "beam": Recipe(beam, (2.5, 0.14, 0.16), (5.0, 0.28, 0.3), 14, elevation_m=2.2),
    "flue": Recipe(flue, (0.35, 0.3, 2.4), (0.6, 0.5, 2.8), 14),
    "sewer_pipe": Recipe(sewer_pipe, (0.12, 0.14, 2.4), (0.2, 0.24, 2.8), 14),
    "wainscot": Recipe(wainscot, (1.0, 0.03, 0.8), (3.0, 0.05, 1.2), 14),
    "custom_platform": Recipe(custom_platform, (1.6, 1.4, 0.2), (2.6, 2.2, 0.42), 14),
    "build_element": Recipe(build_element, (0.35, 0.25, 0.5), (0.5, 0.42, 0.9), 14, elevation_m=1.2),
}
