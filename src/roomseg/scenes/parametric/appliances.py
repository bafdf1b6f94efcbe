"""Screens, kitchen and laundry appliances."""

from __future__ import annotations

import numpy as np

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.furniture_classes import Kind
from roomseg.scenes.parametric.recipes import Recipe, appliance_paint, black, fronts, metal, paint, plastic, white
from roomseg.scenes.parametric.shapes import Paint, box, cushion, cylinder, picture, rod, tapered, turned
from roomseg.scenes.textures import smooth_noise

Parts = list[TriangleMesh]
GLASS = Paint((45, 50, 55))


def _screen(rng: np.random.Generator, w: float, y: float, low: float, high: float) -> TriangleMesh:
    """What shows on a screen: dark, or a blurred picture."""
    if rng.random() < 0.5:
        image = np.full((4, 4, 3), int(rng.integers(8, 35)), np.uint8)
    else:
        layers = [smooth_noise(rng, (48, 64), 1.8) for _ in range(3)]
        image = np.clip(110 + 45 * np.stack(layers, axis=-1), 0, 255).astype(np.uint8)
    return picture((-w / 2, y, low), (w / 2, y, high), image)


def tv(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    case, foot = black(rng), 0.06
    back = box((-w / 2, -0.03, foot), (w / 2, 0.03, h), case)
    parts = [back, _screen(rng, w - 0.03, -0.031, foot + 0.02, h - 0.015)]
    for x in (-w * 0.3, w * 0.3):
        parts.append(box((x - 0.02, -d / 2, 0), (x + 0.02, d / 2, 0.015), case))
        parts.append(box((x - 0.02, -0.02, 0), (x + 0.02, 0.02, foot), case))
    return parts


def computer(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A monitor with a keyboard, or an open laptop."""
    case = (black, white, metal)[rng.integers(3)](rng)
    if rng.random() < 0.4:
        top = h * 0.85
        base = box((-w / 2, -d / 2, 0), (w / 2, d / 2 - 0.02, 0.02), case)
        lid = box((-w / 2, d / 2 - 0.03, 0.02), (w / 2, d / 2, top), case)
        keys = box((-w * 0.43, -d * 0.1, 0.02), (w * 0.43, d * 0.35, 0.023), black(rng))
        return [base, lid, keys, _screen(rng, w - 0.03, d / 2 - 0.031, 0.04, top - 0.015)]
    y = d / 2 - 0.1
    return [
        box((-w / 2, y, 0.12), (w / 2, y + 0.03, h), case),
        _screen(rng, w - 0.02, y - 0.001, 0.14, h - 0.015),
        box((-0.03, y + 0.02, 0.01), (0.03, y + 0.05, 0.2), case),
        box((-w * 0.25, y - 0.08, 0), (w * 0.25, d / 2, 0.015), case),
        box((-w * 0.4, -d / 2, 0), (w * 0.4, -d / 2 + 0.13, 0.02), black(rng)),
    ]


def printer(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    case = (black, white)[rng.integers(2)](rng)
    return [
        cushion((-w / 2, -d / 2 + 0.08, 0), (w / 2, d / 2, h * 0.85), case, 0.15),
        box((-w * 0.35, -d / 2, h * 0.25), (w * 0.35, 0, h * 0.28), case),
        box((-w * 0.35, 0, h * 0.8), (w * 0.35, d * 0.3, h), black(rng)),
    ]


def speaker(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    case, cone = (black, white, plastic)[rng.integers(3)](rng), black(rng)
    parts = [box((-w / 2, -d / 2 + 0.01, 0), (w / 2, d / 2, h), case)]
    for z, radius in ((h * 0.35, w * 0.38), (h * 0.75, w * 0.22)):
        parts.append(rod((0, -d / 2, z), (0, -d / 2 + 0.02, z), radius, cone, 16))
    return parts


def oven(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A free-standing cooker: hob on top, knobs, a glass door with a bar."""
    case, dark, bar = appliance_paint(rng), black(rng), metal(rng)
    y = -d / 2 + 0.04
    parts = [
        box((-w / 2, y, 0), (w / 2, d / 2, h - 0.015), case),
        box((-w * 0.47, y + 0.03, h - 0.015), (w * 0.47, d / 2 - 0.03, h - 0.005), dark),
        box((-w * 0.45, y - 0.012, 0.12), (w * 0.45, y, h - 0.2), GLASS),
        box((-w * 0.4, y - 0.04, h - 0.24), (w * 0.4, y - 0.02, h - 0.22), bar),
    ]
    for x in np.linspace(-w * 0.38, w * 0.38, 5):
        parts.append(rod((x, y - 0.03, h - 0.1), (x, y, h - 0.1), 0.02, dark))
    return parts + _burners(w, d, h - 0.005, h)


def _burners(w: float, d: float, low: float, high: float) -> Parts:
    places = [(x, y) for x in (-w * 0.25, w * 0.25) for y in (-d * 0.2, d * 0.22)]
    return [cylinder(0.08, low, high, Paint((25, 25, 28)), at=place, sides=14) for place in places]


def cooktop(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    plate = (black, metal)[rng.integers(2)](rng)
    return [box((-w / 2, -d / 2, 0), (w / 2, d / 2, h * 0.6), plate), *_burners(w, d, h * 0.6, h)]


def hood(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A slanted skirt and a shaft, or a flat box."""
    steel = appliance_paint(rng)
    if rng.random() < 0.35:
        return [box((-w / 2, -d / 2, 0), (w / 2, d / 2, h * 0.3), steel), *_shaft(w, d, h, steel)]
    skirt = tapered((-w / 2, -d / 2, 0), (w / 2, d / 2, 0.28), 0.35, steel)
    rim = box((-w / 2, -d / 2, -0.04), (w / 2, d / 2, 0), steel)
    return [rim, skirt, *_shaft(w, d, h, steel)]


def _shaft(w: float, d: float, h: float, style: Paint) -> Parts:
    return [box((-w * 0.17, d / 2 - 0.3, 0.2), (w * 0.17, d / 2, h), style)]


def refrigerator(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    case, handle = appliance_paint(rng), metal(rng)
    parts = [box((-w / 2, -d / 2 + 0.045, 0), (w / 2, d / 2, h), case)]
    y = -d / 2 + 0.03
    if w > 0.8:
        return parts + fronts((-w / 2, y, 0.05), (w / 2, y, h), 1, 2, case, handle, False)
    split = h * float(rng.choice([0.3, 0.38, 0.7]))
    parts += fronts((-w / 2, y, 0.05), (w / 2, y, split), 1, 1, case, handle, False)
    return parts + fronts((-w / 2, y, split), (w / 2, y, h), 1, 1, case, handle, False)


def dishwasher(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    case = appliance_paint(rng)
    y = -d / 2 + 0.03
    return [
        box((-w / 2, y + 0.015, 0), (w / 2, d / 2, h), case),
        box((-w / 2 + 0.01, y, 0.1), (w / 2 - 0.01, y + 0.02, h - 0.14), case),
        box((-w / 2 + 0.01, y, h - 0.13), (w / 2 - 0.01, y + 0.02, h - 0.02), black(rng)),
        box((-w * 0.35, y - 0.03, h - 0.19), (w * 0.35, y, h - 0.17), metal(rng)),
    ]


def washing_machine(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A front loader: a round door, a drawer and a panel."""
    case, ring = appliance_paint(rng), metal(rng)
    y = -d / 2 + 0.04
    middle = h * 0.45
    return [
        box((-w / 2, y, 0), (w / 2, d / 2, h), case),
        rod((0, y - 0.02, middle), (0, y, middle), w * 0.32, ring, 24),
        rod((0, y - 0.04, middle), (0, y, middle), w * 0.25, GLASS, 24),
        box((-w * 0.46, y - 0.008, h - 0.14), (-w * 0.15, y, h - 0.03), case),
        box((-w * 0.1, y - 0.008, h - 0.13), (w * 0.3, y, h - 0.05), black(rng)),
        rod((w * 0.4, y - 0.03, h - 0.09), (w * 0.4, y, h - 0.09), 0.025, ring),
    ]


def small_appliance(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A microwave, a kettle, a coffee machine or a toaster."""
    case = (appliance_paint, plastic)[rng.integers(2)](rng)
    style = rng.integers(4)
    if style == 0:
        door = box((-w * 0.46, -d / 2, h * 0.08), (w * 0.25, -d / 2 + 0.01, h * 0.92), GLASS)
        return [box((-w / 2, -d / 2 + 0.01, 0), (w / 2, d / 2, h), case), door]
    if style == 1:
        profile = [(w * 0.4, 0), (w * 0.4, h * 0.1), (w * 0.45, h * 0.15), (w * 0.3, h * 0.85), (w * 0.1, h)]
        grip = box((w * 0.35, -0.015, h * 0.25), (w / 2, 0.015, h * 0.8), black(rng))
        return [turned(profile, case, squeeze=(1.0, d / w)), grip]
    if style == 2:
        jug = cylinder(w * 0.3, h * 0.1, h * 0.5, GLASS, at=(0, -d * 0.2))
        body = [((-w / 2, -d / 2, 0), (w / 2, d / 2, h * 0.08)), ((-w / 2, d * 0.1, 0), (w / 2, d / 2, h))]
        head = box((-w / 2, -d / 2, h * 0.7), (w / 2, d * 0.2, h), case)
        return [jug, head, *(box(low, high, case) for low, high in body)]
    return [
        cushion((-w / 2, -d / 2, 0), (w / 2, d / 2, h), case, 0.25),
        box((-w * 0.35, -0.02, h * 0.9), (w * 0.35, 0.02, h * 1.01), black(rng)),
    ]


def air_conditioner(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    slot = box((-w * 0.45, -d / 2 - 0.002, h * 0.08), (w * 0.45, 0, h * 0.22), paint(np.array([90.0, 92, 95])))
    return [cushion((-w / 2, -d / 2, 0), (w / 2, d / 2, h), white(rng), 0.12), slot]


def fan(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    case, blade = (white, black, metal)[rng.integers(3)](rng), plastic(rng)
    radius = w / 2
    middle = h - radius
    parts = [cylinder(w * 0.3, 0, 0.03, case), cylinder(0.02, 0.03, middle, case)]
    parts.append(rod((0, -d * 0.3, middle), (0, d / 2, middle), 0.05, case))
    for angle in np.arange(0, 2 * np.pi, np.pi / 3):
        x, z = radius * np.cos(angle), middle + radius * np.sin(angle)
        parts.append(rod((0, -d * 0.35, middle), (0.9 * x, -d * 0.3, middle + 0.9 * (z - middle)), 0.03, blade, 4))
    ring = 2 * np.pi * np.arange(20) / 20
    for a, b in zip(ring, np.roll(ring, -1), strict=True):
        for y in (-d / 2, 0.0):
            start = (radius * float(np.cos(a)), y, middle + radius * float(np.sin(a)))
            end = (radius * float(np.cos(b)), y, middle + radius * float(np.sin(b)))
            parts.append(rod(start, end, 0.008, case, 4))
    return parts


RECIPES: dict[Kind, Recipe] = {
    "tv": Recipe(tv, (0.8, 0.2, 0.52), (1.5, 0.28, 0.9), 12),
    "computer": Recipe(computer, (0.38, 0.26, 0.36), (0.62, 0.42, 0.5), 10),
    "printer": Recipe(printer, (0.4, 0.32, 0.16), (0.48, 0.42, 0.32), 6),
    "speaker": Recipe(speaker, (0.15, 0.18, 0.25), (0.28, 0.3, 0.5), 8),
    "oven": Recipe(oven, (0.55, 0.6, 0.86), (0.75, 0.65, 0.92), 10),
    "cooktop": Recipe(cooktop, (0.5, 0.48, 0.03), (0.75, 0.52, 0.05), 6),
    "hood": Recipe(hood, (0.6, 0.42, 0.6), (0.9, 0.5, 0.9), 8, elevation_m=1.6),
    "refrigerator": Recipe(refrigerator, (0.55, 0.58, 1.4), (0.92, 0.72, 2.0), 14),
    "dishwasher": Recipe(dishwasher, (0.45, 0.58, 0.82), (0.6, 0.62, 0.88), 6),
    "washing_machine": Recipe(washing_machine, (0.58, 0.55, 0.82), (0.62, 0.65, 0.88), 10),
    "small_appliance": Recipe(small_appliance, (0.2, 0.18, 0.2), (0.45, 0.34, 0.36), 16),
    "air_conditioner": Recipe(air_conditioner, (0.75, 0.18, 0.26), (1.0, 0.24, 0.32), 6, elevation_m=2.0),
    "fan": Recipe(fan, (0.3, 0.22, 0.4), (0.45, 0.35, 0.7), 6),
}
