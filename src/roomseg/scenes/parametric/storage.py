"""Shelves and cabinets."""

from __future__ import annotations

import numpy as np

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.furniture_classes import Kind
from roomseg.scenes.parametric.recipes import Recipe, fronts, legs, metal, paint, plastic, white, wood
from roomseg.scenes.parametric.shapes import Paint, Vec, box, cushion
from roomseg.scenes.textures import fabric_color, stone_color

Parts = list[TriangleMesh]
FRONT_M = 0.025  # handles stand out that far from the body


def _body(w: float, d: float, h: float, style: Paint, foot: float, legs_: Paint) -> Parts:
    """A closed box on a plinth or on feet, that leaves room for handles at -Y."""
    box_ = box((-w / 2, -d / 2 + FRONT_M + 0.015, foot), (w / 2, d / 2, h), style)
    return [box_, *legs(w - 0.06, d - 0.12, foot, 0.04, legs_)]


def _front_area(w: float, d: float, low: float, high: float) -> tuple[Vec, Vec]:
    y = -d / 2 + FRONT_M
    return (-w / 2, y, low), (w / 2, y, high)


def cabinet(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """Doors, drawers, or a row of drawers over doors."""
    body, front, handle = wood(rng), wood(rng), metal(rng)
    if rng.random() < 0.5:
        front = body
    foot, knob = float(rng.uniform(0.02, 0.15)), bool(rng.random() < 0.4)
    parts = _body(w, d, h, body, foot, handle)
    columns = max(1, round(w / float(rng.uniform(0.4, 0.6))))
    rows = max(1, round((h - foot) / float(rng.uniform(0.18, 0.3))))
    style = rng.integers(3)
    if style == 0:
        return parts + fronts(*_front_area(w, d, foot + 0.01, h - 0.02), rows, columns, front, handle, knob)
    if style == 1:
        return parts + fronts(*_front_area(w, d, foot + 0.01, h - 0.02), 1, columns, front, handle, knob)
    split = h - 0.2
    parts += fronts(*_front_area(w, d, split, h - 0.02), 1, columns, front, handle, knob)
    return parts + fronts(*_front_area(w, d, foot + 0.01, split), 1, columns, front, handle, knob)


def drawers(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    body, handle, foot = wood(rng), metal(rng), float(rng.uniform(0.03, 0.12))
    front = body if rng.random() < 0.6 else wood(rng)
    rows, columns = int(rng.integers(2, 6)), 1 if w < 0.7 else 2
    parts = _body(w, d, h, body, foot, handle)
    return parts + fronts(*_front_area(w, d, foot, h - 0.03), rows, columns, front, handle, bool(rng.random() < 0.5))


def bedside_table(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    if rng.random() < 0.4:
        return _open_case(rng, w, d, h, 2, 1, wood(rng), 0.0)
    body, handle, foot = wood(rng), metal(rng), float(rng.uniform(0.03, 0.2))
    area = _front_area(w, d, foot, h - 0.02)
    parts = _body(w, d, h, body, foot, handle)
    return parts + fronts(*area, int(rng.integers(1, 4)), 1, wood(rng), handle, bool(rng.random() < 0.5))


def _open_case(
    rng: np.random.Generator, w: float, d: float, h: float, rows: int, columns: int, style: Paint, fill: float
) -> Parts:
    """Sides, boards and mostly a back; each compartment holds things with the chance ``fill``."""
    board = 0.022
    parts = [box((x, -d / 2, 0), (x + board, d / 2, h), style) for x in np.linspace(-w / 2, w / 2 - board, columns + 1)]
    levels = np.linspace(0.03, h - board, rows + 1)
    parts += [box((-w / 2, -d / 2, z), (w / 2, d / 2, z + board), style) for z in levels]
    if rng.random() < 0.8:
        parts.append(box((-w / 2, d / 2 - 0.01, 0), (w / 2, d / 2, h), style))
    wide = (w - board) / columns
    for z0, z1 in zip(levels[:-1] + board, levels[1:], strict=True):
        for column in range(columns):
            if rng.random() < fill:
                x = -w / 2 + board + column * wide
                parts += _contents(rng, (x, -d / 2, z0), (x + wide - board, d / 2 - 0.03, z1))
    return parts


def _contents(rng: np.random.Generator, low: Vec, high: Vec) -> Parts:
    """Books, or a box, in a compartment."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    if rng.random() < 0.2:
        return [box((x0 + 0.03, y0 + 0.04, z0), (x1 - 0.03, y1, z0 + (z1 - z0) * 0.7), plastic(rng))]
    parts, x = [], x0 + 0.01
    end = x0 + (x1 - x0) * float(rng.uniform(0.4, 1.0))
    while x < end - 0.06:
        thick, tall = float(rng.uniform(0.02, 0.06)), float(rng.uniform(0.55, 0.92)) * (z1 - z0)
        deep = y0 + float(rng.uniform(0.01, 0.06))
        parts.append(box((x, deep, z0), (x + thick, min(deep + 0.2, y1), z0 + tall), paint(fabric_color(rng))))
        x += thick + 0.003
    return parts


def bookcase(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    rows, columns = max(2, round(h / 0.36)), max(1, round(w / 0.8))
    return _open_case(rng, w, d, h, rows, columns, wood(rng), float(rng.uniform(0.3, 0.95)))


def shelf(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A board on the wall with books, or a small open case."""
    if h > 0.45:
        return _open_case(rng, w, d, h, 2, max(1, round(w / 0.5)), wood(rng), 0.6)
    parts = [box((-w / 2, -d / 2, 0), (w / 2, d / 2, 0.03), wood(rng))]
    parts += _contents(rng, (-w / 2 + 0.05, -d / 2, 0.03), (w / 2 - 0.05, d / 2, h))
    return [*parts, box((w / 2 - 0.02, d / 2 - 0.02, 0.03), (w / 2, d / 2, h), metal(rng))]


def tv_stand(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    if rng.random() < 0.4:
        return _open_case(rng, w, d, h, int(rng.integers(1, 3)), int(rng.integers(2, 4)), wood(rng), 0.3)
    return cabinet(rng, w, d, h)


def kitchen_cabinet(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A plinth set back, doors or drawers, and a worktop over them."""
    body, front, handle = white(rng), wood(rng), metal(rng)
    worktop = wood(rng) if rng.random() < 0.4 else paint(stone_color(rng) * float(rng.uniform(0.3, 1.0)))
    y = -d / 2 + 0.04
    parts = [
        box((-w / 2, y + 0.05, 0), (w / 2, d / 2, 0.1), handle),
        box((-w / 2, y, 0.1), (w / 2, d / 2, h - 0.04), body),
        box((-w / 2, -d / 2, h - 0.04), (w / 2, d / 2, h), worktop),
    ]
    rows, columns = (int(rng.integers(2, 5)), 1) if rng.random() < 0.35 else (1, max(1, round(w / 0.5)))
    return parts + fronts((-w / 2, y - 0.015, 0.1), (w / 2, y - 0.015, h - 0.04), rows, columns, front, handle, False)


def tall_cabinet(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    front, handle = wood(rng), metal(rng)
    parts = _body(w, d, h, white(rng), 0.1, handle)
    split = float(rng.uniform(0.9, 1.4))
    parts += fronts(*_front_area(w, d, 0.1, split), 1, 1, front, handle, False)
    return parts + fronts(*_front_area(w, d, split, h - 0.01), 1, 1, front, handle, False)


def wall_cabinet(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    front, handle = wood(rng), metal(rng)
    parts = [box((-w / 2, -d / 2 + FRONT_M + 0.015, 0), (w / 2, d / 2, h), white(rng))]
    return parts + fronts(*_front_area(w, d, 0, h), 1, max(1, round(w / 0.45)), front, handle, bool(rng.random() < 0.4))


def box_(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A carton, a plastic crate or a soft basket."""
    style = rng.integers(3)
    if style == 0:
        carton = paint(np.array([186.0, 145, 100]) * float(rng.uniform(0.8, 1.1)))
        tape = paint(np.array([205.0, 180, 140]))
        return [
            box((-w / 2, -d / 2, 0), (w / 2, d / 2, h), carton),
            box((-w / 2, -0.025, h - 0.002), (w / 2, 0.025, h + 0.002), tape),
        ]
    if style == 1:
        return [cushion((-w / 2, -d / 2, 0), (w / 2, d / 2, h), plastic(rng), 0.2)]
    shade, thick = plastic(rng), 0.015
    sides = [
        box((-w / 2, -d / 2, 0), (w / 2, -d / 2 + thick, h), shade),
        box((-w / 2, d / 2 - thick, 0), (w / 2, d / 2, h), shade),
        box((-w / 2, -d / 2, 0), (-w / 2 + thick, d / 2, h), shade),
        box((w / 2 - thick, -d / 2, 0), (w / 2, d / 2, h), shade),
    ]
    return [*sides, box((-w / 2, -d / 2, 0), (w / 2, d / 2, thick), shade)]


RECIPES: dict[Kind, Recipe] = {
    "dresser": Recipe(drawers, (0.8, 0.42, 0.7), (1.6, 0.55, 1.1), 14),
    "bedside_table": Recipe(bedside_table, (0.38, 0.35, 0.42), (0.55, 0.45, 0.62), 16),
    "tv_stand": Recipe(tv_stand, (1.0, 0.36, 0.38), (1.9, 0.48, 0.6), 16),
    "bookcase": Recipe(bookcase, (0.6, 0.26, 1.0), (1.6, 0.38, 2.1), 20),
    "shelf": Recipe(shelf, (0.6, 0.2, 0.28), (1.2, 0.26, 0.65), 12, elevation_m=1.4),
    "cabinet": Recipe(cabinet, (0.6, 0.36, 0.7), (1.6, 0.5, 1.4), 24),
    "kitchen_cabinet": Recipe(kitchen_cabinet, (0.4, 0.6, 0.88), (0.9, 0.62, 0.92), 20),
    "kitchen_tall_cabinet": Recipe(tall_cabinet, (0.5, 0.58, 2.0), (0.62, 0.62, 2.2), 8),
    "kitchen_wall_cabinet": Recipe(wall_cabinet, (0.4, 0.34, 0.6), (0.9, 0.4, 0.8), 12, elevation_m=1.45),
    "box": Recipe(box_, (0.3, 0.25, 0.2), (0.6, 0.45, 0.45), 12),
}
