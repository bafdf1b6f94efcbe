"""Chairs, armchairs, sofas, stools and benches."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.furniture_classes import Kind
from roomseg.scenes.parametric.recipes import Recipe, fabric, legs, metal, pedestal, plastic, wood
from roomseg.scenes.parametric.shapes import Paint, box, cushion, cylinder, rod, turned

Parts = list[TriangleMesh]


def _seat_paint(rng: np.random.Generator) -> Paint:
    return (wood, fabric, fabric, plastic)[rng.integers(4)](rng)


def _back(rng: np.random.Generator, w: float, d: float, low: float, high: float, frame: Paint, seat: Paint) -> Parts:
    """A chair's back at +Y: a panel, slats, rungs, or a cushion."""
    y0, y1, post = d / 2 - 0.04, d / 2, 0.035
    style = rng.integers(4)
    if style == 0:
        return [box((-w / 2, y0, low), (w / 2, y1, high), seat)]
    if style == 1:
        return [cushion((-w / 2, y0 - 0.03, low + 0.05), (w / 2, y1, high), seat, 0.3)]
    posts = [
        box((x - post / 2, y0, low), (x + post / 2, y1, high), frame) for x in (post / 2 - w / 2, w / 2 - post / 2)
    ]
    rail = box((-w / 2, y0, high - 0.08), (w / 2, y1, high), frame)
    if style == 2:
        xs = np.linspace(-w / 2, w / 2, int(rng.integers(5, 9)))[1:-1]
        return [
            *posts,
            rail,
            *(box((x - 0.012, y0 + 0.01, low), (x + 0.012, y1 - 0.01, high - 0.08), frame) for x in xs),
        ]
    zs = np.linspace(low, high - 0.08, int(rng.integers(3, 5)))[1:]
    return [*posts, rail, *(box((-w / 2, y0 + 0.01, z - 0.06), (w / 2, y1 - 0.01, z), frame) for z in zs[:-1])]


def chair(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    frame, seat = (wood, metal)[rng.integers(2)](rng), _seat_paint(rng)
    seat_z = float(rng.uniform(0.43, 0.48))
    thick = float(rng.uniform(0.025, 0.05))
    if rng.random() < 0.15:
        parts = pedestal(seat_z - 0.03, 0.03, w * 0.42, frame)
    else:
        splay = float(rng.choice([0.0, 0.0, 0.03]))
        parts = legs(w, d, seat_z - 0.03, thick, frame, splay, bool(rng.random() < 0.4))
    if rng.random() < 0.4:
        parts.append(cushion((-w / 2, -d / 2, seat_z - 0.05), (w / 2, d / 2, seat_z + 0.03), seat, 0.25))
    else:
        parts.append(box((-w / 2, -d / 2, seat_z - 0.03), (w / 2, d / 2, seat_z), seat))
    return parts + _back(rng, w, d, seat_z, h, frame, seat)


def office_chair(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    frame, seat = metal(rng), (fabric, fabric, plastic)[rng.integers(3)](rng)
    seat_z = float(rng.uniform(0.44, 0.52))
    parts = [cylinder(0.03, 0.08, seat_z - 0.06, frame)]
    for angle in 2 * np.pi * np.arange(5) / 5:
        x, y = w / 2 * np.cos(angle), d / 2 * np.sin(angle)
        parts.append(rod((0, 0, 0.1), (0.92 * x, 0.92 * y, 0.07), 0.02, frame))
        parts.append(cylinder(0.03, 0.0, 0.06, frame, at=(0.92 * x, 0.92 * y), sides=8))
    inner = w * 0.39
    parts.append(cushion((-inner, -d * 0.4, seat_z - 0.07), (inner, d * 0.36, seat_z + 0.02), seat))
    parts.append(cushion((-inner, d * 0.3, seat_z + 0.08), (inner, d * 0.42, h), seat))
    parts.append(box((-0.03, d * 0.36, seat_z - 0.05), (0.03, d * 0.41, h - 0.2), frame))
    if rng.random() < 0.7:
        for x in (-inner - 0.04, inner):
            parts.append(box((x, -0.15, seat_z + 0.18), (x + 0.04, 0.15, seat_z + 0.21), frame))
            parts.append(box((x, 0.0, seat_z - 0.05), (x + 0.04, 0.05, seat_z + 0.18), frame))
    return parts


def _upholstered(rng: np.random.Generator, w: float, d: float, h: float, seats: int, cloth: Paint) -> Parts:
    """A sofa's body: base, back, arms, seat and back cushions, feet."""
    frame = (wood, metal)[rng.integers(2)](rng)
    pillow = fabric(rng) if rng.random() < 0.4 else cloth
    arm, foot, soft = float(rng.uniform(0.08, 0.2)), float(rng.uniform(0.02, 0.15)), float(rng.uniform(0.12, 0.4))
    seat_z, arm_z = float(rng.uniform(0.38, 0.45)), float(rng.uniform(0.55, 0.66))
    back_d = 0.18
    parts = legs(w - 0.06, d - 0.06, foot, 0.05, frame)
    parts.append(box((-w / 2 + arm / 2, -d / 2 + 0.02, foot), (w / 2 - arm / 2, d / 2 - 0.05, seat_z - 0.12), cloth))
    parts.append(cushion((-w / 2, d / 2 - back_d, foot), (w / 2, d / 2, h), cloth, soft))
    for x in (-w / 2, w / 2 - arm):
        parts.append(cushion((x, -d / 2, foot), (x + arm, d / 2 - 0.05, min(arm_z, h - 0.03)), cloth, soft))
    wide = (w - 2 * arm) / seats
    for i in range(seats):
        x = -w / 2 + arm + i * wide
        parts.append(cushion((x, -d / 2 + 0.01, seat_z - 0.16), (x + wide, d / 2 - back_d, seat_z), pillow, 0.25))
        back_y = d / 2 - back_d
        parts.append(cushion((x, back_y - 0.12, seat_z - 0.02), (x + wide, back_y + 0.05, h - 0.04), pillow, 0.35))
    return parts


def armchair(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    return _upholstered(rng, w, d, h, 1, fabric(rng))


def sofa(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    return _upholstered(rng, w, d, h, 2 if w < 1.9 else 3, fabric(rng))


def corner_sofa(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A sofa along the back and a seat that reaches forward at one end."""
    depth, wing, cloth = 0.9, 0.95, fabric(rng)
    move = np.eye(4)
    move[1, 3] = (d - depth) / 2
    parts = [part.transformed(move) for part in _upholstered(rng, w, depth, h, 3, cloth)]
    x0, x1 = (w / 2 - wing, w / 2) if rng.random() < 0.5 else (-w / 2, -w / 2 + wing)
    parts.append(cushion((x0, -d / 2, 0.05), (x1, d / 2 - depth + 0.1, 0.43), cloth, 0.2))
    return parts


def stool(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A pouf, a drum, a cube, or a seat on three or four legs, a column, two runners or a cross."""
    forms = (_pouf, _drum, _cube, *(_on_base,) * 5)
    return forms[rng.integers(len(forms))](rng, w, d, h)


def _pouf(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    return [cushion((-w / 2, -d / 2, 0), (w / 2, d / 2, h), fabric(rng), float(rng.uniform(0.15, 0.9)))]


def _drum(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """Round, bellied or with a waist."""
    radius, waist = w / 2, w / 2 * float(rng.uniform(0.5, 1.0))
    if rng.random() < 0.5:
        radius, waist = waist, radius
    outline = [(radius, 0.0), (waist, h * float(rng.uniform(0.35, 0.65))), (radius, h)]
    return [turned(outline, _seat_paint(rng), squeeze=(1.0, d / w), sides=20)]


def _cube(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """Boards round a hollow that is open to the front, with or without a cushion."""
    style, thick, top = wood(rng), float(rng.uniform(0.02, 0.05)), h - float(rng.choice([0.0, 0.06]))
    parts = [box((x, -d / 2, 0), (x + thick, d / 2, top), style) for x in (-w / 2, w / 2 - thick)]
    parts += [box((-w / 2, -d / 2, z), (w / 2, d / 2, z + thick), style) for z in (0.0, top - thick)]
    if rng.random() < 0.5:
        parts.append(box((-w / 2, d / 2 - thick, 0), (w / 2, d / 2, top), style))
    return parts if top == h else [*parts, cushion((-w / 2, -d / 2, top), (w / 2, d / 2, h), fabric(rng), 0.2)]


def _on_base(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    seat, frame, base = _seat_paint(rng), (wood, metal)[rng.integers(2)](rng), rng.integers(5)
    thick = float(rng.uniform(0.03, 0.1))
    under = h - thick
    if base == 0:
        parts = legs(w, d, under, 0.045, frame, float(rng.choice([0.0, 0.05])))
    elif base == 1:
        parts = _three_legs(w, d, under, frame)
    elif base == 2:
        parts = pedestal(under, float(rng.uniform(0.025, 0.06)), min(w, d) * 0.42, frame)
    elif base == 3:
        parts = _runners(w, d, under, frame)
    else:
        crossed = ((x, y) for x in (-w * 0.45, w * 0.45) for y in (-d * 0.4, d * 0.4))
        parts = [rod((-x, y, 0), (x, y, under), 0.02, frame) for x, y in crossed]
    if base in (1, 2) and rng.random() < 0.7:  # the others' feet would stand beside a round seat
        return [*parts, turned([(w / 2, under), (w / 2, h)], seat, squeeze=(1.0, d / w), sides=20)]
    top = cushion if thick > 0.05 else box
    return [*parts, top((-w / 2, -d / 2, under), (w / 2, d / 2, h), seat)]


def _three_legs(w: float, d: float, top: float, style: Paint) -> Parts:
    angles = np.pi / 2 + np.arange(3) * 2 * np.pi / 3
    feet = [(w / 2 * np.cos(angle), d / 2 * np.sin(angle)) for angle in angles]
    return [rod((x, y, 0), (0.6 * x, 0.6 * y, top), 0.02, style) for x, y in feet]


def _runners(w: float, d: float, top: float, style: Paint) -> Parts:
    """Two frames that lie on the floor, one at each side."""
    parts = []
    for x in (-w / 2 + 0.02, w / 2 - 0.02):
        corners = [(x, -d / 2 + 0.02, top), (x, -d / 2 + 0.02, 0.012), (x, d / 2 - 0.02, 0.012), (x, d / 2 - 0.02, top)]
        parts += [rod(a, b, 0.012, style) for a, b in pairwise(corners)]
    return parts


def bar_stool(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    seat, frame = _seat_paint(rng), (wood, metal)[rng.integers(2)](rng)
    seat_z = h if rng.random() < 0.5 else h - 0.25
    radius = min(w, d) / 2
    if rng.random() < 0.5:
        parts = pedestal(seat_z - 0.04, 0.03, radius * 0.95, frame)
    else:
        parts = legs(w, d, seat_z - 0.03, 0.035, frame, 0.05, True)
        ring = radius * 0.8
        corners = [(-ring, -ring), (ring, -ring), (ring, ring), (-ring, ring)]
        for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
            parts.append(rod((x0, y0, 0.25), (x1, y1, 0.25), 0.012, frame))
    parts.append(cylinder(radius * 0.95, seat_z - 0.05, seat_z, seat, sides=20))
    if seat_z < h:
        parts += _back(rng, w * 0.9, d, seat_z, h, frame, seat)
    return parts


def bench(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """On legs or runners or as a chest; the seat a board, slats or upholstered."""
    frame, seat = (wood, metal)[rng.integers(2)](rng), _seat_paint(rng)
    thick, base = float(rng.uniform(0.03, 0.14)), rng.integers(4)
    under = h - thick
    if base == 0:
        parts = legs(w, d, under, 0.06, frame, float(rng.choice([0.0, 0.05])))
    elif base == 1:
        parts = _runners(w, d, under, frame)
    elif base == 2:
        parts = [box((-w / 2 + 0.01, -d / 2 + 0.01, 0), (w / 2 - 0.01, d / 2 - 0.01, under), frame)]
    else:
        board = float(rng.uniform(0.03, 0.08))
        parts = [box((x, -d / 2, 0), (x + board, d / 2, under), frame) for x in (-w / 2, w / 2 - board)]
    if thick > 0.06:
        return [*parts, cushion((-w / 2, -d / 2, under), (w / 2, d / 2, h), fabric(rng), 0.15)]
    if rng.random() < 0.5:
        return [*parts, box((-w / 2, -d / 2, under), (w / 2, d / 2, h), seat)]
    edges = np.linspace(-d / 2, d / 2, int(rng.integers(3, 6)) + 1)
    return [*parts, *(box((-w / 2, a + 0.01, under), (w / 2, b - 0.01, h), frame) for a, b in pairwise(edges))]


RECIPES: dict[Kind, Recipe] = {
    "chair": Recipe(chair, (0.4, 0.42, 0.78), (0.52, 0.56, 1.05), 24),
    "office_chair": Recipe(office_chair, (0.58, 0.58, 0.9), (0.7, 0.7, 1.2), 16),
    "armchair": Recipe(armchair, (0.7, 0.72, 0.75), (1.0, 0.95, 1.0), 20),
    "sofa": Recipe(sofa, (1.5, 0.8, 0.75), (2.4, 1.0, 0.95), 24),
    "corner_sofa": Recipe(corner_sofa, (2.2, 1.5, 0.75), (3.0, 1.9, 0.9), 10),
    "stool": Recipe(stool, (0.32, 0.32, 0.38), (0.5, 0.5, 0.5), 32),
    "bar_stool": Recipe(bar_stool, (0.36, 0.36, 0.7), (0.45, 0.45, 1.0), 16),
    "bench": Recipe(bench, (0.9, 0.32, 0.42), (1.5, 0.45, 0.5), 16),
}
