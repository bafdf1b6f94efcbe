"""Sinks, washbasins, baths, showers and toilets."""

from __future__ import annotations

import numpy as np

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.furniture_classes import Kind
from roomseg.scenes.parametric.recipes import Recipe, fronts, metal, paint, white, wood
from roomseg.scenes.parametric.shapes import Paint, box, cushion, cylinder, rod, turned
from roomseg.scenes.parametric.storage import kitchen_cabinet

Parts = list[TriangleMesh]
CHROME = Paint((190, 194, 198))


def _tap(y: float, z: float, reach: float, height: float) -> Parts:
    """An upright pipe at y and a spout towards -Y."""
    return [
        rod((0, y, z), (0, y, z + height), 0.014, CHROME),
        rod((0, y, z + height), (0, y - reach, z + height * 0.85), 0.012, CHROME),
    ]


def _tray(w: float, d: float, low: float, high: float, rim: float, style: Paint) -> Parts:
    """An open box: four walls of ``rim`` thickness and a floor."""
    floor = low + min(rim, (high - low) * 0.3)
    return [
        box((-w / 2, -d / 2, low), (w / 2, d / 2, floor), style),
        box((-w / 2, -d / 2, floor), (w / 2, -d / 2 + rim, high), style),
        box((-w / 2, d / 2 - rim, floor), (w / 2, d / 2, high), style),
        box((-w / 2, -d / 2 + rim, floor), (-w / 2 + rim, d / 2 - rim, high), style),
        box((w / 2 - rim, -d / 2 + rim, floor), (w / 2, d / 2 - rim, high), style),
    ]


def _bowl(w: float, d: float, low: float, high: float, y: float, style: Paint, round_: float) -> TriangleMesh:
    """A basin turned or square-ish, hollow from above."""
    depth = high - low
    profile = [
        (0.3, low),
        (0.42, low + 0.4 * depth),
        (0.5, high),
        (0.44, high),
        (0.3, low + 0.35 * depth),
        (0.05, low + 0.25 * depth),
    ]
    sides = 24 if round_ > 0.5 else 8
    return turned([(r * w, z) for r, z in profile], style, at=(0, y), squeeze=(1.0, d / w), sides=sides)


def sink(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A kitchen cabinet with a bowl let into the worktop, shown as a rim around a darker floor, and a tap."""
    top = h - 0.28
    steel = (CHROME, white(rng))[rng.integers(2)]
    parts = kitchen_cabinet(rng, w, d, top)
    dark = paint(np.array(steel.color) * 0.7)
    bowls = 2 if w > 0.75 else 1
    wide = (w - 0.08) / bowls
    for i in range(bowls):
        x = -w / 2 + 0.04 + i * wide
        parts.append(box((x, -d * 0.36, top), (x + wide - 0.02, d * 0.26, top + 0.012), steel))
        parts.append(box((x + 0.03, -d * 0.32, top + 0.012), (x + wide - 0.05, d * 0.22, top + 0.014), dark))
    return parts + _tap(d * 0.36, top, 0.2, 0.28)


def washbasin(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """On a pedestal, or on a cabinet with doors."""
    ceramic, rim = white(rng), h - 0.14
    if rng.random() < 0.5:
        foot = turned([(0.13, 0), (0.09, 0.1), (0.08, rim * 0.6), (0.13, rim - 0.1)], ceramic, at=(0, d * 0.12))
        return [
            foot,
            _bowl(w, d, rim - 0.16, rim, 0.0, ceramic, float(rng.random())),
            *_tap(d * 0.42, rim - 0.03, 0.14, 0.17),
        ]
    front, handle = wood(rng), metal(rng)
    body = box((-w / 2, -d / 2 + 0.04, 0.06), (w / 2, d / 2, rim - 0.13), front)
    doors = fronts(
        (-w / 2, -d / 2 + 0.025, 0.07),
        (w / 2, -d / 2 + 0.025, rim - 0.13),
        1,
        max(1, round(w / 0.4)),
        front,
        handle,
        True,
    )
    legs = box((-w / 2 + 0.05, -d / 2 + 0.1, 0), (w / 2 - 0.05, d / 2, 0.06), handle)
    return [
        body,
        *doors,
        legs,
        *_tray(w, d, rim - 0.13, rim, 0.05, ceramic),
        *_tap(d / 2 - 0.03, rim - 0.02, 0.14, 0.16),
    ]


def bath(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """Built in, along the wall, or free-standing and oval."""
    ceramic = white(rng)
    rim = h - 0.1
    if rng.random() < 0.6:
        basin = _tray(w, d, 0.0, rim, float(rng.uniform(0.05, 0.09)), ceramic)
    else:
        basin = [_bowl(w, d, 0.0, rim, 0.0, ceramic, 1.0)]
    return [*basin, *_tap(d / 2 - 0.03, rim - 0.01, 0.15, 0.11)]


def shower(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A tray, two or three panes, posts and a head on a pipe."""
    frame, pane = metal(rng), paint(np.array([170.0, 195, 200]) * float(rng.uniform(0.85, 1.1)))
    y, x = d / 2, w / 2
    parts = _tray(w, d, 0, 0.12, 0.05, white(rng))
    parts.append(box((x - 0.012, -y, 0.12), (x, y, h), pane))
    if rng.random() < 0.5:
        parts.append(box((-x, -y, 0.12), (-x + 0.012, y, h), pane))
    if rng.random() < 0.7:
        parts.append(box((0, -y, 0.12), (x, -y + 0.012, h), pane))
    parts += [box((px - 0.02, -y, 0), (px + 0.02, -y + 0.04, h), frame) for px in (-x + 0.02, x - 0.02)]
    pipe = rod((0, y - 0.04, 0.9), (0, y - 0.04, h - 0.05), 0.012, CHROME)
    arm = rod((0, y - 0.04, h - 0.05), (0, y - 0.3, h - 0.05), 0.012, CHROME)
    return [*parts, pipe, arm, cylinder(0.1, h - 0.08, h - 0.06, CHROME, at=(0, y - 0.3))]


def _pan(w: float, d: float, rim: float, y: float, ceramic: Paint) -> Parts:
    foot = turned([(0.11, 0), (0.09, rim * 0.4), (0.17, rim - 0.06)], ceramic, at=(0, y), squeeze=(1.0, 1.25))
    return [foot, _bowl(w, d, rim - 0.18, rim, y, ceramic, 1.0)]


def toilet(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A pan with a lid, and a cistern at +Y, some with the lid up."""
    ceramic, seat_z = white(rng), 0.4
    length = d - 0.18
    y = -d / 2 + length / 2
    parts = _pan(w, length, seat_z, y, ceramic)
    lid = turned([(w / 2, seat_z), (w / 2, seat_z + 0.03)], ceramic, at=(0, y), squeeze=(1.0, length / w), sides=24)
    tank = cushion((-w / 2, d / 2 - 0.2, seat_z - 0.05), (w / 2, d / 2, h), ceramic, float(rng.uniform(0.08, 0.25)))
    neck = box((-0.1, d / 2 - 0.3, 0.1), (0.1, d / 2 - 0.02, seat_z), ceramic)
    if rng.random() < 0.3:
        lid = cushion((-w * 0.45, d / 2 - 0.24, seat_z), (w * 0.45, d / 2 - 0.2, h - 0.02), ceramic, 0.4)
    return [*parts, lid, tank, neck]


def bidet(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    ceramic = white(rng)
    return [*_pan(w, d, h - 0.1, 0.0, ceramic), *_tap(d * 0.4, h - 0.12, 0.12, 0.12)]


def towel_rack(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    from_wall, bar = d / 2, metal(rng)
    towel = paint(np.array(white(rng).color) * rng.uniform(0.4, 1.0, 3))
    y = -d / 2 + 0.03
    parts = [rod((-w / 2, y, h - 0.02), (w / 2, y, h - 0.02), 0.012, bar)]
    parts += [rod((x, y, h - 0.02), (x, from_wall, h - 0.02), 0.012, bar) for x in (-w / 2 + 0.02, w / 2 - 0.02)]
    wide = w * float(rng.uniform(0.3, 0.42))
    return [*parts, cushion((-wide, y - 0.025, 0), (wide, y + 0.025, h), towel, 0.15)]


RECIPES: dict[Kind, Recipe] = {
    "sink": Recipe(sink, (0.6, 0.6, 1.16), (1.0, 0.62, 1.22), 10),
    "washbasin": Recipe(washbasin, (0.5, 0.42, 0.92), (0.9, 0.52, 1.05), 14),
    "bath": Recipe(bath, (1.5, 0.7, 0.62), (1.8, 0.85, 0.75), 12),
    "shower": Recipe(shower, (0.8, 0.8, 1.95), (1.2, 1.0, 2.15), 10),
    "toilet": Recipe(toilet, (0.36, 0.64, 0.75), (0.42, 0.74, 0.86), 12),
    "bidet": Recipe(bidet, (0.36, 0.54, 0.48), (0.4, 0.6, 0.52), 6),
    "towel_rack": Recipe(towel_rack, (0.5, 0.1, 0.4), (0.7, 0.14, 0.7), 8, elevation_m=0.8),
}
