"""Wardrobes: with hinged or sliding doors, open ones with clothes, towers with something lower between them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.furniture_classes import Kind
from roomseg.scenes.parametric.recipes import Recipe, fabric, fronts, legs, metal, wood
from roomseg.scenes.parametric.shapes import Paint, Vec, box, cushion, rod

Parts = list[TriangleMesh]
FRONT_M = 0.04  # doors and their handles stand out that far from the body
BOARD_M = 0.022


def wardrobe(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """One of the forms below."""
    forms = (hinged, on_legs, sliding, open_front, half_open, towers)
    return forms[rng.integers(len(forms))](rng, w, d, h)


def hinged(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """Tall doors on a plinth, some with drawers below or a row of short doors above."""
    low = float(rng.uniform(0.04, 0.1))
    body = wood(rng)
    plinth = box((-w / 2 + 0.03, -d / 2 + FRONT_M + 0.03, 0), (w / 2 - 0.03, d / 2, low), body)
    return [plinth, *_doored(rng, (-w / 2, -d / 2, low), (w / 2, d / 2, h), body)]


def on_legs(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """Doors on legs under a cornice that stands out."""
    body, foot, cornice = wood(rng), float(rng.uniform(0.12, 0.25)), float(rng.uniform(0.05, 0.12))
    inset = float(rng.uniform(0.03, 0.08))
    low, high = (-w / 2 + inset, -d / 2 + inset, foot), (w / 2 - inset, d / 2, h - cornice)
    return [
        *legs(w - 2 * inset, d - 2 * inset, foot, 0.06, body, round_=bool(rng.random() < 0.5)),
        *_doored(rng, low, high, body),
        box((-w / 2, -d / 2, h - cornice), (w / 2, d / 2, h), body),
    ]


def sliding(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """Two or three panels, one before the other, between rails; some stand half open."""
    body, panel, rail = wood(rng), wood(rng), metal(rng)
    parts = _case(w, d, h, wood(rng), -d / 2 + 0.07)
    parts += [box((-w / 2, -d / 2, z), (w / 2, -d / 2 + 0.07, z + 0.05), rail) for z in (0.0, h - 0.05)]
    count = 2 if w < 1.6 else 3
    shift = float(rng.choice([0.0, 0.0, rng.uniform(0.15, 0.35)]))  # of a panel's width, that the last is pushed back
    wide = w / count
    for i in range(count):
        x = -w / 2 + i * wide - (shift * wide if i == count - 1 else 0)
        y = -d / 2 + 0.005 + 0.03 * (i % 2)
        parts.append(box((x, y, 0.05), (x + wide, y + 0.025, h - 0.05), panel if i % 2 else body))
    return parts


def open_front(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """No doors: compartments with a rail of clothes or with shelves."""
    style = wood(rng)
    parts = _case(w, d, h, style, -d / 2)
    columns = max(2, round(w / float(rng.uniform(0.5, 0.9))))
    edges = np.linspace(-w / 2, w / 2, columns + 1)
    for x0, x1 in pairwise(edges):
        parts.append(box((x1 - BOARD_M, -d / 2, 0), (x1, d / 2, h), style))
        fill = _hanging if rng.random() < 0.55 else _shelved
        parts += fill(rng, (x0 + BOARD_M, -d / 2, 0.05), (x1 - BOARD_M, d / 2 - BOARD_M, h - BOARD_M), style)
    return parts


def half_open(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """Doors, and at one end an open tower of shelves, not always as high."""
    style = wood(rng)
    tower, tall = w * float(rng.uniform(0.25, 0.4)), h * float(rng.uniform(0.6, 1.0))
    shelves = _case(tower, d, tall, style, -d / 2)
    shelves += _shelved(rng, (-tower / 2, -d / 2, 0.05), (tower / 2, d / 2 - BOARD_M, tall - BOARD_M), style)
    side = 1 if rng.random() < 0.5 else -1
    doors = _doored(rng, (-(w - tower) / 2, -d / 2, 0.0), ((w - tower) / 2, d / 2, h), style)
    return [*_moved(shelves, side * (w - tower) / 2), *_moved(doors, -side * tower / 2)]


def towers(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """Two towers with doors; between them a chest of drawers, open or under a bridge."""
    style, between = wood(rng), w * float(rng.uniform(0.3, 0.45))
    tower, low = (w - between) / 2, float(rng.uniform(0.7, 1.1))
    parts: Parts = []
    for side in (-1, 1):
        doors = _doored(rng, (-tower / 2, -d / 2, 0.0), (tower / 2, d / 2, h), style)
        parts += _moved(doors, side * (w - tower) / 2)
    parts.append(box((-between / 2, -d / 2 + FRONT_M, 0), (between / 2, d / 2, low), style))
    rows = int(rng.integers(2, 5))
    face = ((-between / 2, -d / 2 + 0.025, 0.02), (between / 2, -d / 2 + 0.025, low - 0.02))
    parts += fronts(*face, rows, 1, style, metal(rng), bool(rng.random() < 0.5))
    if rng.random() < 0.5:
        bridge = float(rng.uniform(0.3, 0.5))
        parts.append(box((-between / 2, -d / 2 + FRONT_M, h - bridge), (between / 2, d / 2, h), style))
    return parts


# Parts of them


def _case(w: float, d: float, h: float, style: Paint, front: float) -> Parts:
    """Sides, bottom, top and back, open from ``front`` on."""
    x, y = w / 2, d / 2
    return [
        box((-x, front, 0), (-x + BOARD_M, y, h), style),
        box((x - BOARD_M, front, 0), (x, y, h), style),
        box((-x, front, 0.03), (x, y, 0.05), style),
        box((-x, front, h - BOARD_M), (x, y, h), style),
        box((-x, y - BOARD_M, 0), (x, y, h), style),
    ]


def _doored(rng: np.random.Generator, low: Vec, high: Vec, body: Paint) -> Parts:
    """A closed box with tall doors; some with drawers below them, or short doors above."""
    (x0, y, z0), (x1, y1, z1) = low, high
    front, handle = (body if rng.random() < 0.5 else wood(rng)), metal(rng)
    columns = max(1, round((x1 - x0) / float(rng.uniform(0.4, 0.6))))
    parts = [box((x0, y + FRONT_M, z0), (x1, y1, z1), body)]
    y += FRONT_M - 0.015
    if rng.random() < 0.4:
        split, rows = z0 + float(rng.uniform(0.25, 0.6)), int(rng.integers(1, 4))
        parts += fronts((x0, y, z0), (x1, y, split), rows, max(1, columns // 2), front, handle, False)
        z0 = split
    if rng.random() < 0.3:
        split = z1 - float(rng.uniform(0.35, 0.5))
        parts += fronts((x0, y, split), (x1, y, z1 - 0.01), 1, columns, front, handle, True)
        z1 = split
    return parts + fronts((x0, y, z0), (x1, y, z1 - 0.01), 1, columns, front, handle, False)


def _hanging(rng: np.random.Generator, low: Vec, high: Vec, style: Paint) -> Parts:
    """A rail with clothes, and what lies below them."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    y, rail = (y0 + y1) / 2, z1 - float(rng.uniform(0.06, 0.35))
    parts = [rod((x0, y, rail), (x1, y, rail), 0.015, metal(rng))]
    x, end = x0 + 0.02, x0 + (x1 - x0) * float(rng.uniform(0.3, 0.95))
    while x < end - 0.08:
        thick, long_ = float(rng.uniform(0.04, 0.08)), float(rng.uniform(0.5, 0.9)) * (rail - z0)
        deep = float(rng.uniform(0.35, 0.48)) / 2
        parts.append(cushion((x, y - deep, rail - long_), (x + thick, y + deep, rail - 0.02), fabric(rng), 0.3, 8))
        x += thick + float(rng.uniform(0.005, 0.04))
    if rng.random() < 0.5:
        top = z0 + float(rng.uniform(0.15, 0.3))
        parts.append(box((x0 + 0.02, y0 + 0.05, z0), (x1 - 0.02, y1, top), wood(rng)))
    return parts


def _shelved(rng: np.random.Generator, low: Vec, high: Vec, style: Paint) -> Parts:
    """Boards with folded stacks on them."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    levels = np.linspace(z0, z1, int(rng.integers(3, 7)) + 1)
    parts = [box((x0, y0, z), (x1, y1, z + BOARD_M), style) for z in levels[1:-1]]
    for bottom, top in pairwise(levels):
        if rng.random() < 0.6:
            x = float(rng.uniform(x0, x0 + 0.3 * (x1 - x0)))
            tall = (top - bottom - 0.05) * float(rng.uniform(0.3, 0.95))
            right = min(x + float(rng.uniform(0.25, 0.4)), x1)
            parts.append(cushion((x, y0 + 0.06, bottom), (right, y1, bottom + BOARD_M + tall), fabric(rng), 0.2, 8))
    return parts


def _moved(parts: Parts, x: float) -> Parts:
    matrix = np.eye(4)
    matrix[0, 3] = x
    return [part.transformed(matrix) for part in parts]


RECIPES: dict[Kind, Recipe] = {"wardrobe": Recipe(wardrobe, (0.9, 0.52, 1.85), (2.2, 0.68, 2.35), 40)}
