"""Tables, desks and beds."""

from __future__ import annotations

import numpy as np

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.furniture_classes import Kind
from roomseg.scenes.parametric.recipes import Recipe, fabric, fronts, legs, metal, paint, pedestal, white, wood
from roomseg.scenes.parametric.shapes import Paint, box, cushion, cylinder, rod, turned

Parts = list[TriangleMesh]


def _top_paint(rng: np.random.Generator) -> Paint:
    return (wood, wood, wood, white, _glass)[rng.integers(5)](rng)


def _glass(rng: np.random.Generator) -> Paint:
    return paint(np.array([150.0, 185, 190]) * float(rng.uniform(0.8, 1.15)))


def table(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A top on four legs, two sides, a trestle or a pedestal; round where it is near square."""
    top, frame = _top_paint(rng), (wood, metal)[rng.integers(2)](rng)
    thick = float(rng.uniform(0.02, 0.06))
    if w / d < 1.25 and rng.random() < 0.6:
        plate = turned([(w / 2, h - thick), (w / 2, h)], top, squeeze=(1.0, d / w), sides=28)
        if rng.random() < 0.5:
            return [plate, *pedestal(h - thick, 0.05, w * 0.3, frame)]
        return [plate, *legs(w * 0.72, d * 0.72, h - thick, 0.05, frame, 0.03, True)]
    plate = box((-w / 2, -d / 2, h - thick), (w / 2, d / 2, h), top)
    style = rng.integers(4)
    if style == 0:
        sides = [(-w / 2, -w / 2 + 0.04), (w / 2 - 0.04, w / 2)]
        return [plate, *(box((x0, -d / 2, 0), (x1, d / 2, h - thick), top) for x0, x1 in sides)]
    if style == 1:
        return [plate, *_trestles(w, d, h - thick, frame)]
    leg = float(rng.uniform(0.04, 0.09))
    parts = [plate, *legs(w - 0.06, d - 0.06, h - thick, leg, frame, float(rng.choice([0, 0, 0.04])), style == 2)]
    if rng.random() < 0.5:
        parts.append(
            box((-w / 2 + 0.08, -d / 2 + 0.08, h - thick - 0.08), (w / 2 - 0.08, d / 2 - 0.08, h - thick), frame)
        )
    return parts


def _trestles(w: float, d: float, top: float, frame: Paint) -> Parts:
    parts = []
    for x in (-w * 0.38, w * 0.38):
        for y in (-1.0, 1.0):
            parts.append(rod((x, y * (d / 2 - 0.04), 0.0), (x, y * 0.06, top), 0.022, frame))
        parts.append(rod((x, -d / 2 + 0.06, top - 0.03), (x, d / 2 - 0.06, top - 0.03), 0.022, frame))
    return [*parts, rod((-w * 0.38, 0, top / 2), (w * 0.38, 0, top / 2), 0.02, frame)]


def coffee_table(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    parts = table(rng, w, d, h)
    if rng.random() < 0.4:
        parts.append(box((-w * 0.4, -d * 0.4, h * 0.3), (w * 0.4, d * 0.4, h * 0.3 + 0.02), wood(rng)))
    return parts


def side_table(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    if rng.random() < 0.3:
        style = (wood, metal, fabric)[rng.integers(3)](rng)
        return [cylinder(w / 2, 0, h - 0.03, style, sides=20), cylinder(w / 2, h - 0.03, h, wood(rng), sides=20)]
    return table(rng, w, d, h)


def desk(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A top on legs, with drawers at one end, or at both, and a back panel."""
    top, body, handle = wood(rng), wood(rng), metal(rng)
    parts = [box((-w / 2, -d / 2, h - 0.035), (w / 2, d / 2, h), top)]
    drawers = int(rng.integers(0, 3))
    block = min(0.42, w * 0.3)
    ends = [(-w / 2 + 0.02, -w / 2 + block), (w / 2 - block, w / 2 - 0.02)]
    for x0, x1 in ends[:drawers]:
        parts.append(box((x0, -d / 2 + 0.04, 0.04), (x1, d / 2 - 0.03, h - 0.035), body))
        face = ((x0, -d / 2 + 0.025, 0.06), (x1, -d / 2 + 0.025, h - 0.04))
        parts += fronts(*face, int(rng.integers(2, 5)), 1, top, handle, bool(rng.random() < 0.5))
    if drawers < 2:
        parts += legs(w - 0.04, d - 0.04, h - 0.035, 0.05, (wood, metal)[rng.integers(2)](rng))
    if rng.random() < 0.5:
        parts.append(box((-w / 2 + 0.04, d / 2 - 0.05, h * 0.35), (w / 2 - 0.04, d / 2 - 0.03, h - 0.035), body))
    return parts


def dressing_table(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    top = 0.76
    glass = paint(np.array([190.0, 205, 212]))
    frame = wood(rng)
    radius = w * 0.28
    middle = (top + h) / 2
    mirror = box((-radius, d / 2 - 0.03, top + 0.02), (radius, d / 2, h), frame)
    face = box((-radius + 0.03, d / 2 - 0.035, 2 * middle - h + 0.05), (radius - 0.03, d / 2 - 0.03, h - 0.03), glass)
    return [*desk(rng, w, d, top), mirror, face]


def _bedding(rng: np.random.Generator, w: float, d: float, low: float, high: float) -> Parts:
    """A mattress, a cover over most of it, and pillows at the head (+Y)."""
    cover, sheet = fabric(rng), white(rng)
    parts = [cushion((-w / 2, -d / 2, low), (w / 2, d / 2, high), sheet, 0.15)]
    edge = d / 2 - float(rng.uniform(0.45, 0.75))
    drop = float(rng.uniform(0.03, 0.2))
    parts.append(cushion((-w / 2 - 0.02, -d / 2 - 0.02, high - drop), (w / 2 + 0.02, edge, high + 0.035), cover, 0.12))
    pillows = 1 if w < 1.15 else 2
    cloth = fabric(rng) if rng.random() < 0.5 else sheet
    wide = (w - 0.1) / pillows
    for i in range(pillows):
        x = -w / 2 + 0.05 + i * wide
        parts.append(
            cushion((x + 0.02, d / 2 - 0.48, high - 0.02), (x + wide - 0.02, d / 2 - 0.06, high + 0.13), cloth, 0.5)
        )
    return parts


def bed(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """Head at +Y: a headboard of wood, cloth or bars; some have a footboard."""
    frame = (wood, wood, fabric, metal)[rng.integers(4)](rng)
    base, mattress = float(rng.uniform(0.2, 0.34)), float(rng.uniform(0.16, 0.26))
    parts = legs(w, d - 0.1, base, 0.07, frame)
    parts.append(box((-w / 2, -d / 2 + 0.02, base - 0.15), (w / 2, d / 2 - 0.06, base), frame))
    parts += [_shifted(p, -0.02) for p in _bedding(rng, w - 0.08, d - 0.14, base, base + mattress)]
    if rng.random() < 0.4:
        parts.append(cushion((-w / 2, d / 2 - 0.1, 0.1), (w / 2, d / 2, h), frame, 0.15))
    else:
        parts.append(box((-w / 2, d / 2 - 0.06, 0.0), (w / 2, d / 2, h), frame))
    if rng.random() < 0.35:
        parts.append(box((-w / 2, -d / 2, 0.0), (w / 2, -d / 2 + 0.05, min(h, base + mattress + 0.1)), frame))
    return parts


def _shifted(part: TriangleMesh, y: float) -> TriangleMesh:
    move = np.eye(4)
    move[1, 3] = y
    return part.transformed(move)


def bunk_bed(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    frame = (wood, metal)[rng.integers(2)](rng)
    parts = legs(w, d, h, 0.06, frame)
    for low in (0.25, h - 0.55):
        parts.append(box((-w / 2, -d / 2, low), (w / 2, d / 2, low + 0.1), frame))
        parts += _bedding(rng, w - 0.16, d - 0.16, low + 0.1, low + 0.24)
    for x in (-w / 2, w / 2 - 0.03):
        parts.append(box((x, -d / 2, h - 0.12), (x + 0.03, d / 2, h - 0.02), frame))
    for z in np.arange(0.3, h - 0.3, 0.25):
        parts.append(rod((-w / 2 + 0.05, -d / 2 + 0.02, z), (-w / 2 + 0.4, -d / 2 + 0.02, z), 0.018, frame))
    return [*parts, box((-w / 2 + 0.38, -d / 2, 0), (-w / 2 + 0.43, -d / 2 + 0.04, h), frame)]


def crib(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    frame = wood(rng)
    parts = [*legs(w, d, h, 0.05, frame), *_bedding(rng, w - 0.12, d - 0.12, 0.35, 0.46)]
    parts.append(box((-w / 2, -d / 2, 0.28), (w / 2, d / 2, 0.35), frame))
    for x in (-w / 2 + 0.02, w / 2 - 0.02):
        parts.append(box((x - 0.02, -d / 2, h - 0.05), (x + 0.02, d / 2, h), frame))
        parts += [
            rod((x, y, 0.3), (x, y, h - 0.03), 0.012, frame, 6) for y in np.arange(-d / 2 + 0.1, d / 2 - 0.05, 0.1)
        ]
    for y in (-d / 2, d / 2 - 0.04):
        parts.append(box((-w / 2, y, 0.2), (w / 2, y + 0.04, h - 0.02), frame))
    return parts


RECIPES: dict[Kind, Recipe] = {
    "dining_table": Recipe(table, (0.9, 0.8, 0.72), (2.0, 1.05, 0.78), 24),
    "coffee_table": Recipe(coffee_table, (0.8, 0.5, 0.35), (1.3, 0.8, 0.5), 20),
    "side_table": Recipe(side_table, (0.38, 0.38, 0.45), (0.55, 0.5, 0.62), 12),
    "desk": Recipe(desk, (1.0, 0.55, 0.72), (1.8, 0.85, 0.78), 20),
    "dressing_table": Recipe(dressing_table, (0.8, 0.42, 1.25), (1.2, 0.5, 1.5), 6),
    "bed": Recipe(bed, (0.95, 2.0, 0.75), (2.0, 2.2, 1.25), 24),
    "bunk_bed": Recipe(bunk_bed, (0.98, 2.0, 1.6), (1.15, 2.15, 1.85), 6),
    "crib": Recipe(crib, (0.68, 1.25, 0.9), (0.8, 1.4, 1.1), 6),
}
