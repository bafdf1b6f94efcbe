"""Doors and windows of many forms."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.furniture_classes import Kind
from roomseg.scenes.parametric.recipes import Recipe, metal, paint, white, wood
from roomseg.scenes.parametric.shapes import Paint, Vec, box, rod

Parts = list[TriangleMesh]


def _pane(rng: np.random.Generator) -> Paint:
    return paint(np.array([175.0, 205, 222]) * float(rng.uniform(0.85, 1.12)))


def _frame(w: float, d: float, h: float, thick: float, style: Paint, sill: bool) -> Parts:
    """Posts and a lintel around an opening, with a sill or without."""
    parts = [
        box((-w / 2, -d / 2, 0), (-w / 2 + thick, d / 2, h), style),
        box((w / 2 - thick, -d / 2, 0), (w / 2, d / 2, h), style),
        box((-w / 2 + thick, -d / 2, h - thick), (w / 2 - thick, d / 2, h), style),
    ]
    if sill:
        parts.append(box((-w / 2 + thick, -d / 2, 0), (w / 2 - thick, d / 2, thick), style))
    return parts


# Doors


def door(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A frame and a leaf (two when wide, or where it slides), some with a light above; a knob or a bar."""
    leaf, knob = wood(rng), metal(rng)
    frame = leaf if rng.random() < 0.5 else white(rng)
    thick = float(rng.uniform(0.05, 0.11))
    parts = _frame(w, d, h, thick, frame, sill=False)
    high = h - thick
    if rng.random() < 0.25:
        high -= float(rng.uniform(0.25, 0.4))
        parts.append(box((-w / 2 + thick, -d / 2, high), (w / 2 - thick, d / 2, high + 0.05), frame))
        parts.append(box((-w / 2 + thick, -0.006, high + 0.05), (w / 2 - thick, 0.006, h - thick), _pane(rng)))
    slides = rng.random() < 0.2
    leaves = 2 if slides or rng.random() < 0.2 else 1
    wide, style = (w - 2 * thick) / leaves, rng.integers(6)
    for i in range(leaves):
        x, y = -w / 2 + thick + i * wide, (0.028 * (2 * i - 1) if slides else 0.0)
        parts += _leaf(rng, int(style), (x, y, 0.0), (x + wide, y, high), leaf)
        edge = x + wide - 0.07 if i == 0 else x + 0.07
        parts += _handle(rng, edge, y, knob)
    return parts


def _leaf(rng: np.random.Generator, style: int, low: Vec, high: Vec, leaf: Paint) -> Parts:
    """Plain, with raised panels, with panes, with slats, with a brace, or with one tall pane."""
    (x0, y, z0), (x1, _, z1) = low, high
    margin, half = float(rng.uniform(0.07, 0.13)), float(rng.uniform(0.015, 0.022))
    if style == 0:
        return [box((x0, y - half, z0), (x1, y + half, z1), leaf)]
    if style in (1, 2):
        levels = np.linspace(0.15, z1 - 0.06, int(rng.integers(2, 6)))
        filling, relief = (leaf, half + 0.012) if style == 1 else (_pane(rng), half + 0.004)
        fields = [
            box((x0 + margin, y - relief, a), (x1 - margin, y + relief, b - 0.06), filling) for a, b in pairwise(levels)
        ]
        return [box((x0, y - half, z0), (x1, y + half, z1), leaf), *fields]
    rim = _rim((x0, y - half, z0), (x1, y + half, z1), margin, leaf)
    if style == 3:
        slats = np.arange(z0 + margin, z1 - margin - 0.03, float(rng.uniform(0.06, 0.12)))
        behind = box((x0 + margin, y - 0.003, z0 + margin), (x1 - margin, y + 0.003, z1 - margin), leaf)
        return [*rim, behind, *(_slat(x0 + margin, x1 - margin, y, z, leaf) for z in slats)]
    board = box((x0 + margin, y - 0.006, z0 + margin), (x1 - margin, y + 0.006, z1 - margin), leaf)
    if style == 4:
        middle = (z0 + z1) / 2
        corners = [(x0 + margin, y, z0 + margin), (x1 - margin, y, middle), (x0 + margin, y, z1 - margin)]
        return [*rim, board, *(rod(a, b, half, leaf, 4) for a, b in pairwise(corners))]
    split = z0 + float(rng.uniform(0.1, 0.5)) * (z1 - z0)
    below = box((x0 + margin, y - half, z0 + margin), (x1 - margin, y + half, split), leaf)
    return [*rim, below, box((x0 + margin, y - 0.004, split), (x1 - margin, y + 0.004, z1 - margin), _pane(rng))]


def _rim(low: Vec, high: Vec, margin: float, style: Paint) -> Parts:
    """The border of an upright board."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    return [
        box((x0, y0, z0), (x0 + margin, y1, z1), style),
        box((x1 - margin, y0, z0), (x1, y1, z1), style),
        box((x0 + margin, y0, z0), (x1 - margin, y1, z0 + margin), style),
        box((x0 + margin, y0, z1 - margin), (x1 - margin, y1, z1), style),
    ]


def _slat(x0: float, x1: float, y: float, z: float, style: Paint) -> TriangleMesh:
    return box((x0, y - 0.02, z), (x1, y + 0.02, z + 0.03), style)


def _handle(rng: np.random.Generator, x: float, y: float, style: Paint) -> Parts:
    form = rng.integers(3)
    if form == 0:
        return [rod((x, y - 0.07, 1.0), (x, y + 0.07, 1.0), 0.025, style)]
    if form == 1:
        return [rod((x, y + side * 0.05, 0.8), (x, y + side * 0.05, 1.25), 0.012, style) for side in (-1, 1)]
    levers = [
        box((x - 0.06, y + side * 0.05 - 0.01, 0.99), (x + 0.06, y + side * 0.05 + 0.01, 1.01), style)
        for side in (-1, 1)
    ]
    return [rod((x, y - 0.05, 1.0), (x, y + 0.05, 1.0), 0.012, style), *levers]


# Windows


def window(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A frame round casements, sashes, sliders or glass slats; some with a board below or a blind's box above."""
    frame, pane, thick = (white(rng), wood(rng))[rng.integers(2)], _pane(rng), float(rng.uniform(0.035, 0.07))
    low, high, parts = 0.0, h, []
    if rng.random() < 0.35:
        low = 0.04
        parts.append(box((-w / 2, -d / 2, 0), (w / 2, d / 2, low), frame))
    if rng.random() < 0.25:
        high -= float(rng.uniform(0.12, 0.2))
        parts.append(box((-w / 2, -d / 2, high), (w / 2, 0, h), white(rng)))
    inner_d = d * float(rng.uniform(0.5, 1.0)) if parts else d
    framed = _frame(w, inner_d, high - low, thick, frame, sill=True)
    glazing = (_casements, _casements, _sashes, _sliders, _glass_slats)[rng.integers(5)]
    framed += glazing(rng, (-w / 2 + thick, 0.0, thick), (w / 2 - thick, 0.0, high - low - thick), frame, pane)
    lift = np.eye(4)
    lift[2, 3] = low
    return parts + [part.transformed(lift) for part in framed]


def _casements(rng: np.random.Generator, low: Vec, high: Vec, frame: Paint, pane: Paint) -> Parts:
    """One to four, with glazing bars."""
    (x0, _, z0), (x1, _, z1) = low, high
    columns, rows = max(1, round((x1 - x0) / float(rng.uniform(0.35, 0.8)))), int(rng.integers(1, 5))
    bar = float(rng.uniform(0.012, 0.03))
    parts = [box((x0, -0.006, z0), (x1, 0.006, z1), pane)]
    parts += [
        box((x - bar, -0.03, z0), (x + bar, 0.03, z1), frame) for x in np.linspace(x0 + bar, x1 - bar, columns + 1)
    ]
    return parts + [
        box((x0, -0.025, z - bar), (x1, 0.025, z + bar), frame) for z in np.linspace(z0 + bar, z1 - bar, rows + 1)
    ]


def _sashes(rng: np.random.Generator, low: Vec, high: Vec, frame: Paint, pane: Paint) -> Parts:
    """Two, one over the other, the lower before the upper."""
    (x0, _, z0), (x1, _, z1) = low, high
    middle = z0 + (z1 - z0) * float(rng.uniform(0.4, 0.6))
    upper = _sash((x0, 0.015, middle - 0.03), (x1, 0.045, z1), frame, pane)
    return upper + _sash((x0, -0.045, z0), (x1, -0.015, middle + 0.03), frame, pane)


def _sliders(rng: np.random.Generator, low: Vec, high: Vec, frame: Paint, pane: Paint) -> Parts:
    """Two to four side by side, one before the other, not all as wide."""
    (x0, _, z0), (x1, _, z1) = low, high
    shares = rng.uniform(1.0, 2.0, int(rng.integers(2, 5)))
    edges = x0 + (x1 - x0) * np.concatenate([[0.0], np.cumsum(shares) / shares.sum()])
    parts = []
    for i, (left, right) in enumerate(pairwise(edges)):
        y = 0.015 if i % 2 else -0.045
        parts += _sash((max(left - 0.03, x0), y, z0), (right, y + 0.03, z1), frame, pane)  # overlapping
    return parts


def _sash(low: Vec, high: Vec, frame: Paint, pane: Paint) -> Parts:
    (x0, y0, z0), (x1, y1, z1) = low, high
    y = (y0 + y1) / 2
    return [
        *_rim(low, high, 0.045, frame),
        box((x0 + 0.045, y - 0.004, z0 + 0.045), (x1 - 0.045, y + 0.004, z1 - 0.045), pane),
    ]


def _glass_slats(rng: np.random.Generator, low: Vec, high: Vec, frame: Paint, pane: Paint) -> Parts:
    """A jalousie: slats of glass, upright or tilted out."""
    (x0, _, z0), (x1, _, z1) = low, high
    out = float(rng.uniform(0.0, 0.06))
    levels = np.linspace(z0, z1, round((z1 - z0) / float(rng.uniform(0.1, 0.16))) + 1)
    parts = [box((x - 0.02, -0.03, z0), (x + 0.02, 0.03, z1), frame) for x in (x0 + 0.02, x1 - 0.02)]
    for a, b in pairwise(levels):
        middle = (a + b) / 2
        parts += [
            box((x0 + 0.04, -out - 0.004, a), (x1 - 0.04, -out + 0.004, middle), pane),
            box((x0 + 0.04, -0.004, middle), (x1 - 0.04, 0.004, b), pane),
        ]
    return parts


RECIPES: dict[Kind, Recipe] = {
    "door": Recipe(door, (0.8, 0.14, 2.0), (1.0, 0.18, 2.15), 28),
    "window": Recipe(window, (0.8, 0.12, 1.0), (1.8, 0.18, 1.5), 28, elevation_m=0.9),
}
