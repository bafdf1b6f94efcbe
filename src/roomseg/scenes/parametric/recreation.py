"""Pianos, game tables, sports, instruments and toys."""

from __future__ import annotations

import numpy as np

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.furniture_classes import Kind
from roomseg.scenes.parametric.recipes import Recipe, black, legs, metal, paint, plastic, white, wood
from roomseg.scenes.parametric.shapes import box, cushion, cylinder, rod, turned

Parts = list[TriangleMesh]


def piano(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """An upright piano; the keys are towards -Y."""
    case = (black, wood, white)[rng.integers(3)](rng)
    shelf = 0.62
    front = d / 2 - 0.32
    parts = [
        box((-w / 2, front, 0), (w / 2, d / 2, h), case),
        box((-w / 2, -d / 2, shelf - 0.06), (w / 2, front, shelf), case),
        box((-w * 0.46, -d / 2 + 0.04, shelf), (w * 0.46, front - 0.06, shelf + 0.025), white(rng)),
        box((-w * 0.46, front - 0.14, shelf + 0.025), (w * 0.46, front - 0.06, shelf + 0.04), black(rng)),
        box((-w * 0.25, front - 0.02, shelf + 0.2), (w * 0.25, front, shelf + 0.42), case),
    ]
    ends = [(-w / 2, -w / 2 + 0.05), (w / 2 - 0.05, w / 2)]
    return [*parts, *(box((x0, -d / 2, 0), (x1, front, shelf + 0.06), case) for x0, x1 in ends)]


def game_table(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A pool table, or table tennis."""
    if rng.random() < 0.5:
        rail, cloth = wood(rng), paint(np.array([(30.0, 110, 70), (40, 70, 130), (130, 30, 40)])[rng.integers(3)])
        parts = [
            *legs(w - 0.2, d - 0.2, h - 0.2, 0.14, rail),
            box((-w / 2, -d / 2, h - 0.25), (w / 2, d / 2, h - 0.04), rail),
        ]
        for x0, y0, x1, y1 in _rim(w, d, 0.12):
            parts.append(box((x0, y0, h - 0.04), (x1, y1, h), rail))
        parts.append(box((-w / 2 + 0.1, -d / 2 + 0.1, h - 0.05), (w / 2 - 0.1, d / 2 - 0.1, h - 0.03), cloth))
        places = rng.uniform(-0.35, 0.35, (8, 2)) * (w, d)
        return parts + [
            cushion((x, y, h - 0.03), (x + 0.06, y + 0.06, h + 0.03), plastic(rng), 1.0, 10) for x, y in places
        ]
    top, line = paint(np.array([(30.0, 80, 60), (30, 60, 120)])[rng.integers(2)]), white(rng)
    deck = h - 0.15
    return [
        *legs(w * 0.8, d * 0.8, deck - 0.03, 0.05, metal(rng)),
        box((-w / 2, -d / 2, deck - 0.03), (w / 2, d / 2, deck), top),
        box((-w / 2, -0.01, deck), (w / 2, 0.01, deck + 0.002), line),
        box((-0.005, -d / 2, deck), (0.005, d / 2, h), line),
    ]


def _rim(w: float, d: float, wide: float) -> list[tuple[float, float, float, float]]:
    x, y = w / 2, d / 2
    return [
        (-x, -y, x, -y + wide),
        (-x, y - wide, x, y),
        (-x, -y + wide, -x + wide, y - wide),
        (x - wide, -y + wide, x, y - wide),
    ]


def sports(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A treadmill or an exercise bike, the user looking towards +Y."""
    case, frame = black(rng), metal(rng)
    if rng.random() < 0.5:
        parts = [box((-w / 2, -d / 2, 0.05), (w / 2, d / 2, 0.2), case)]
        parts.append(box((-w * 0.35, -d / 2 + 0.1, 0.2), (w * 0.35, d * 0.3, 0.21), paint(np.full(3, 70.0))))
        parts += [rod((x, d * 0.35, 0.1), (x, d * 0.28, h), 0.035, frame) for x in (-w * 0.45, w * 0.45)]
        parts.append(box((-w / 2, d * 0.2, h - 0.15), (w / 2, d * 0.33, h), case))
        return [*parts, box((-w / 2, -d / 2, 0), (w / 2, -d / 2 + 0.1, 0.06), case)]
    parts = [box((-w / 2, y, 0), (w / 2, y + 0.08, 0.07), case) for y in (-d / 2, d / 2 - 0.08)]
    parts.append(rod((0, -d / 2, 0.1), (0, d / 2, 0.1), 0.04, frame))
    parts.append(rod((-0.05, d * 0.15, 0.4), (0.05, d * 0.15, 0.4), 0.24, plastic(rng), 20))
    parts.append(rod((0, -d * 0.2, 0.1), (0, -d * 0.28, h * 0.72), 0.03, frame))
    parts.append(cushion((-0.12, -d * 0.4, h * 0.7), (0.12, -d * 0.15, h * 0.78), case))
    parts.append(rod((0, d * 0.2, 0.3), (0, d * 0.28, h), 0.03, frame))
    return [*parts, rod((-w * 0.4, d * 0.22, h - 0.05), (w * 0.4, d * 0.22, h - 0.05), 0.02, case)]


def instrument(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A guitar on a stand, or a small drum set."""
    style, frame = (wood, plastic)[rng.integers(2)](rng), metal(rng)
    if rng.random() < 0.6:
        parts = [
            rod((0, d * 0.1, 0.1 * h), (x, y, 0), 0.012, frame)
            for x, y in ((-w / 2, -d / 2), (w / 2, -d / 2), (0, d / 2))
        ]
        parts.append(cushion((-w * 0.45, -0.05, h * 0.08), (w * 0.45, 0.05, h * 0.36), style, 0.8))
        parts.append(cushion((-w * 0.34, -0.05, h * 0.3), (w * 0.34, 0.05, h * 0.5), style, 0.8))
        parts.append(box((-0.03, -0.04, h * 0.45), (0.03, 0.0, h * 0.93), wood(rng)))
        return [*parts, box((-0.045, -0.04, h * 0.92), (0.045, 0.0, h), wood(rng))]
    skin = white(rng)
    drums = [
        (0.0, d * 0.2, 0.0, h * 0.6, w * 0.28),
        (-w * 0.3, -d * 0.2, h * 0.45, h * 0.65, w * 0.18),
        (w * 0.3, -d * 0.2, 0.1, h * 0.55, w * 0.19),
    ]
    parts = []
    for x, y, low, high, radius in drums:
        parts += [
            cylinder(radius, low, high, style, at=(x, y)),
            cylinder(radius * 0.97, high, high + 0.01, skin, at=(x, y)),
        ]
        parts.append(cylinder(0.012, 0, max(low, 0.02), frame, at=(x, y)))
    stand = cylinder(0.012, 0, h - 0.01, frame, at=(w * 0.35, d * 0.3))
    cymbal = turned([(w * 0.15, h - 0.02), (0.02, h)], paint(np.array([200.0, 165, 70])), at=(w * 0.35, d * 0.3))
    return [*parts, stand, cymbal]


def toy(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A bear, a car, building blocks or a ball."""
    style, form = plastic(rng), rng.integers(4)
    if form == 0:
        fur = paint(np.array([165.0, 120, 75]) * float(rng.uniform(0.6, 1.2)))
        body = cushion((-w * 0.32, -d * 0.3, 0), (w * 0.32, d * 0.4, h * 0.6), fur, 0.9)
        head = cushion((-w * 0.28, -d * 0.28, h * 0.5), (w * 0.28, d * 0.3, h * 0.95), fur, 1.0)
        limbs = [
            cushion((x, -d / 2, z), (x + w * 0.26, d * 0.05, z + h * 0.22), fur, 0.9)
            for x in (-w / 2, w * 0.24)
            for z in (0.0, h * 0.3)
        ]
        ears = [cushion((x, -0.02, h * 0.85), (x + w * 0.16, 0.03, h), fur, 1.0, 10) for x in (-w * 0.28, w * 0.12)]
        return [body, head, *limbs, *ears]
    if form == 1:
        wheels = [(x, y) for x in (-w * 0.3, w * 0.3) for y in (-d / 2, d / 2 - 0.03)]
        radius, dark = h * 0.22, black(rng)
        parts = [rod((x, y, radius), (x, y + 0.03, radius), radius, dark, 14) for x, y in wheels]
        parts.append(cushion((-w / 2, -d * 0.42, radius * 0.7), (w / 2, d * 0.42, h * 0.65), style, 0.25))
        return [*parts, cushion((-w * 0.25, -d * 0.36, h * 0.55), (w * 0.2, d * 0.36, h), style, 0.35)]
    if form == 2:
        side = h / 3
        spots = rng.uniform(-0.5, 0.5, (5, 2)) * (w - side, d - side)
        parts = [_block(x, y, 0.0, side, rng) for x, y in spots]
        return parts + [_block(0.0, 0.0, z, side, rng) for z in (0.0, side, 2 * side)]
    return [cushion((-w / 2, -d / 2, 0), (w / 2, d / 2, h), style, 1.0)]


def _block(x: float, y: float, z: float, side: float, rng: np.random.Generator) -> TriangleMesh:
    half = side / 2
    return box((x - half, y - half, z), (x + half, y + half, z + side), plastic(rng))


RECIPES: dict[Kind, Recipe] = {
    "piano": Recipe(piano, (1.4, 0.55, 1.05), (1.52, 0.65, 1.3), 8),
    "game_table": Recipe(game_table, (1.8, 1.1, 0.8), (2.5, 1.4, 0.92), 8),
    "sports": Recipe(sports, (0.55, 1.1, 1.2), (0.8, 1.7, 1.45), 10),
    "instrument": Recipe(instrument, (0.4, 0.4, 0.95), (0.8, 0.7, 1.15), 8),
    "toy": Recipe(toy, (0.25, 0.22, 0.24), (0.45, 0.32, 0.4), 14),
}
