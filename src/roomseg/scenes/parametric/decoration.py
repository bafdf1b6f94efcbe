"""Plants, pictures, mirrors, rugs, curtains and the small things that stand about."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes import textures
from roomseg.scenes.furniture_classes import Kind
from roomseg.scenes.parametric.recipes import Recipe, fabric, metal, paint, plastic, white, wood
from roomseg.scenes.parametric.shapes import Paint, Vec, box, cushion, cylinder, painted, picture, rod, turned
from roomseg.scenes.textures import Texture, smooth_noise

Parts = list[TriangleMesh]


def _green(rng: np.random.Generator) -> Paint:
    return paint(np.array([70.0, 125, 55]) * float(rng.uniform(0.55, 1.25)) + rng.uniform(-15, 25, 3))


def _pot(rng: np.random.Generator, radius: float, h: float) -> Parts:
    clay = (white(rng), plastic(rng), Paint((176, 98, 66)))[rng.integers(3)]
    foot = radius * float(rng.uniform(0.65, 1.0))
    earth = cylinder(radius * 0.9, h * 0.8, h * 0.93, Paint((70, 50, 38)))
    walls = [(foot, 0.0), (radius, h), (radius * 0.9, h), (radius * 0.9, h * 0.9)]
    return [turned(walls, clay), earth]


def _leaf(base: Vec, tip: Vec, width: float, bend: float, style: Paint) -> TriangleMesh:
    """A pointed strip from base to tip, both sides drawn, whose middle rises by ``bend``."""
    start, end = np.array(base), np.array(tip)
    along = end - start
    side = np.array([-along[1], along[0], 0.0])
    side = side / max(float(np.linalg.norm(side)), 1e-6) * width / 2
    share = np.array([0.0, 0.35, 0.7, 1.0])
    spine = start + share[:, None] * along
    spine[:, 2] += 4 * bend * share * (1 - share)
    half = np.array([0.3, 1.0, 0.8, 0.02])[:, None] * side
    vertices = np.concatenate([spine - half, spine + half])
    faces = np.array([f for i in range(3) for f in ((i, i + 1, i + 5), (i, i + 5, i + 4))])
    faces = np.concatenate([faces, faces[:, ::-1]])
    return painted(vertices, faces, np.zeros((len(faces), 3, 2)), style)


def _rosette(rng: np.random.Generator, w: float, d: float, low: float, h: float) -> Parts:
    """Long leaves from one place, the outer ones bent down."""
    parts, count = [], int(rng.integers(14, 30))
    width = w * float(rng.uniform(0.06, 0.16))
    for angle in 2 * np.pi * (np.arange(count) + rng.random(count)) / count:
        reach = float(rng.uniform(0.35, 1.0))
        top = low + (h - low) * float(rng.uniform(0.3, 1.0)) * (1.15 - 0.5 * reach)
        tip = (reach * w / 2 * float(np.cos(angle)), reach * d / 2 * float(np.sin(angle)), min(top, h))
        parts.append(_leaf((0, 0, low), tip, width, (h - low) * 0.2 * reach, _green(rng)))
    return parts


def _bush(rng: np.random.Generator, w: float, d: float, low: float, h: float) -> Parts:
    """A stem and leaves all over an ellipsoid."""
    trunk = low + (h - low) * float(rng.uniform(0.0, 0.4))
    parts = [cylinder(0.015 + 0.01 * w, low, (trunk + h) / 2, Paint((98, 74, 50)), sides=8)]
    centre, half = np.array([0, 0, (trunk + h) / 2]), np.array([w / 2, d / 2, (h - trunk) / 2])
    size = float(rng.uniform(0.14, 0.3)) * w
    greens = [_green(rng) for _ in range(3)]
    for i in range(int(rng.integers(60, 110))):
        way = rng.standard_normal(3)
        way /= np.linalg.norm(way)
        end = centre + way * half * float(rng.uniform(0.6, 1.0))
        start = end - way * size
        parts.append(_leaf(tuple(start), tuple(end), size * 0.5, 0.0, greens[i % 3]))
    return parts


def plant(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    pot_h = h * float(rng.uniform(0.2, 0.35))
    grow = (_rosette, _bush)[rng.integers(2)]
    return [*_pot(rng, w * float(rng.uniform(0.2, 0.32)), pot_h), *grow(rng, w, d, pot_h * 0.9, h)]


def painting(rng: np.random.Generator) -> np.ndarray:  # (96, 96, 3) uint8
    """A landscape of bands, shapes on a ground, or clouds of colour."""
    px = 96
    across, down = np.meshgrid(np.linspace(0, 1, px), np.linspace(0, 1, px))
    style = rng.integers(3)
    if style == 0:
        image = np.broadcast_to(textures.pastel_color(rng), (px, px, 3)).copy()
        for level in np.sort(rng.uniform(0.25, 0.95, 4)):
            skyline = level + 0.04 * smooth_noise(rng, (1, px), 1.3)[0]
            image[down > skyline[None, :]] = textures.fabric_color(rng)
    elif style == 1:
        image = np.broadcast_to(textures.pastel_color(rng), (px, px, 3)).copy()
        for _ in range(int(rng.integers(3, 9))):
            x, y, r = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), rng.uniform(0.06, 0.28)
            reach = np.hypot(across - x, down - y) if rng.random() < 0.5 else np.maximum(abs(across - x), abs(down - y))
            image[reach < r] = textures.fabric_color(rng)
    else:
        image = textures.fabric_color(rng) + 40 * np.stack(
            [smooth_noise(rng, (px, px), 1.6) for _ in range(3)], axis=-1
        )
    return np.clip(image, 0, 255).astype(np.uint8)


def picture_frame(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    rim = float(rng.uniform(0.01, 0.05))
    frame = (wood, metal, white)[rng.integers(3)](rng)
    body = box((-w / 2, -d / 2, 0), (w / 2, d / 2, h), frame)
    if rng.random() < 0.4:
        inner = rim + 0.04
        mount = box((-w / 2 + rim, -d / 2 - 0.001, rim), (w / 2 - rim, -d / 2, h - rim), white(rng))
        return [body, mount, _canvas(rng, w, d + 0.004, h, inner)]
    return [body, _canvas(rng, w, d + 0.002, h, rim)]


def _canvas(rng: np.random.Generator, w: float, d: float, h: float, rim: float) -> TriangleMesh:
    return picture((-w / 2 + rim, -d / 2, rim), (w / 2 - rim, -d / 2, h - rim), painting(rng))


def sculpture(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A vase, a bust-like figure on a base, or stacked stones."""
    style = (plastic, white, metal)[rng.integers(3)](rng)
    form = rng.integers(3)
    if form == 0:
        widths = rng.uniform(0.2, 0.5, 4) * w
        levels = (0.0, 0.3 * h, 0.65 * h, h)
        return [turned([*zip(widths, levels, strict=True)], style, squeeze=(1.0, d / w), sides=20)]
    if form == 1:
        base = box((-w / 2, -d / 2, 0), (w / 2, d / 2, h * 0.12), wood(rng))
        body = turned([(w * 0.2, h * 0.12), (w * 0.12, h * 0.4), (w * 0.32, h * 0.68), (w * 0.1, h * 0.78)], style)
        return [base, body, cushion((-w * 0.16, -d * 0.18, h * 0.74), (w * 0.16, d * 0.18, h), style, 1.0)]
    seams = np.linspace(0, h, int(rng.integers(3, 6)))
    wide = np.sort(rng.uniform(0.4, 1.0, len(seams) - 1))[::-1]
    return [
        cushion((-w / 2 * k, -d / 2 * k, low), (w / 2 * k, d / 2 * k, high + 0.01), style, 0.9)
        for (low, high), k in zip(pairwise(seams), wide, strict=True)
    ]


def mirror(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A pane of even light grey in a frame, or an oval one."""
    pane = paint(np.array([196.0, 208, 214]) + float(rng.uniform(-15, 15)))
    frame = (wood, metal, white)[rng.integers(3)](rng)
    if rng.random() < 0.25:
        shrink = np.diag([1.0, 1.0, 1.0, 1.0])
        shrink[:3, :3] = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0]])  # the turned disc, upright
        squeeze = (1.0, h / w)
        back = turned([(w / 2, 0), (w / 2, d)], frame, squeeze=squeeze, sides=28)
        face = turned([(w / 2 - 0.03, -0.002), (w / 2 - 0.03, 0.0)], pane, squeeze=squeeze, sides=28)
        return [back.transformed(shrink), face.transformed(shrink)]
    rim = float(rng.uniform(0.005, 0.05))
    face = box((-w / 2 + rim, -d / 2 - 0.002, rim), (w / 2 - rim, -d / 2, h - rim), pane)
    return [box((-w / 2, -d / 2, 0), (w / 2, d / 2, h), frame), face]


def rug(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """Plain, bordered or patterned; some are round."""
    ground = (fabric, _carpet)[rng.integers(2)](rng)
    if rng.random() < 0.25:
        return [turned([(w / 2, 0), (w / 2, h)], ground, squeeze=(1.0, d / w), sides=32)]
    parts = [box((-w / 2, -d / 2, 0), (w / 2, d / 2, h), ground)]
    if rng.random() < 0.5:
        rim = float(rng.uniform(0.08, 0.2))
        inner = (-w / 2 + rim, -d / 2 + rim, h), (w / 2 - rim, d / 2 - rim, h + 0.001)
        parts.append(box(*inner, (fabric, _carpet)[rng.integers(2)](rng)))
    return parts


def _carpet(rng: np.random.Generator) -> Paint:
    ground = textures.carpet(rng)
    return Paint(paint(ground.image.mean((0, 1))).color, Texture("", ground.image, ground.tile_m))


def curtain(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """Two cloths in folds on a rod, or a blind of slats."""
    if rng.random() < 0.3:
        slat = (white, wood)[rng.integers(2)](rng)
        low = h * float(rng.uniform(0.0, 0.4))
        slats = [box((-w / 2, -d / 2, z), (w / 2, d / 2, z + 0.008), slat) for z in np.arange(low, h - 0.05, 0.04)]
        string = box((-0.004, -0.004, 0), (0.004, 0.004, h), slat)
        return [*slats, string, box((-w / 2, -d / 2, h - 0.05), (w / 2, d / 2, h), slat)]
    cloth, bar = fabric(rng), metal(rng)
    parts = [rod((-w / 2, 0, h - 0.02), (w / 2, 0, h - 0.02), 0.014, bar)]
    share = float(rng.uniform(0.2, 0.48))
    for x0, x1 in ((-w / 2, -w / 2 + share * w), (w / 2 - share * w, w / 2)):
        folds = max(3, round((x1 - x0) / 0.1))
        edges = np.linspace(x0, x1, folds + 1)
        parts += [
            cushion(
                (a, -d / 2 if i % 2 else -d / 4, 0), (b + 0.01, d / 4 if i % 2 else d / 2, h - 0.02), cloth, 0.25, 8
            )
            for i, (a, b) in enumerate(pairwise(edges))
        ]
    return parts


def small_object(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A bottle, a bowl, a stack of books, a box or a ball of sorts."""
    style, form = plastic(rng), rng.integers(5)
    if form == 0:
        return [turned([(w / 2, 0), (w / 2, h * 0.6), (w * 0.16, h * 0.78), (w * 0.16, h)], style, squeeze=(1, d / w))]
    if form == 1:
        walls = [(w * 0.25, 0.0), (w * 0.42, h * 0.5), (w / 2, h), (w * 0.44, h), (w * 0.2, h * 0.2)]
        return [turned(walls, style, squeeze=(1, d / w))]
    if form == 2:
        levels = np.linspace(0, h, int(rng.integers(3, 6)))
        spread = rng.uniform(0.75, 1.0, (len(levels) - 1, 2)) * (w / 2, d / 2)
        return [
            box((-x, -y, low), (x, y, high), plastic(rng))
            for (x, y), low, high in zip(spread, levels[:-1], levels[1:], strict=True)
        ]
    if form == 3:
        return [box((-w / 2, -d / 2, 0), (w / 2, d / 2, h), style)]
    return [cushion((-w / 2, -d / 2, 0), (w / 2, d / 2, h), style, float(rng.uniform(0.3, 1.0)))]


def bin_(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    style, squeeze = (plastic, metal)[rng.integers(2)](rng), (1.0, d / w)
    if rng.random() < 0.5:
        walls = [(w * 0.4, 0.0), (w / 2, h), (w * 0.47, h), (w * 0.38, 0.02)]
        return [turned(walls, style, squeeze=squeeze)]
    lid = [(w / 2, h * 0.75), (w * 0.46, h * 0.88), (w * 0.2, h)]
    return [
        turned([(w * 0.48, 0), (w * 0.48, h * 0.75)], style, squeeze=squeeze),
        turned(lid, metal(rng), squeeze=squeeze),
    ]


def clothes_rack(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    frame = (metal, wood)[rng.integers(2)](rng)
    parts = [rod((-w / 2, 0, h - 0.02), (w / 2, 0, h - 0.02), 0.014, frame)]
    for x in (-w / 2 + 0.02, w / 2 - 0.02):
        parts.append(rod((x, 0, 0.03), (x, 0, h), 0.014, frame))
        parts.append(box((x - 0.02, -d / 2, 0), (x + 0.02, d / 2, 0.03), frame))
    for x in np.arange(-w * 0.35, w * 0.35, 0.07):
        if rng.random() < 0.7:
            length = float(rng.uniform(0.5, 0.85)) * h
            parts.append(cushion((x, -d * 0.4, h - length), (x + 0.05, d * 0.4, h - 0.05), fabric(rng), 0.4, 8))
    return parts


def floor_object(rng: np.random.Generator, w: float, d: float, h: float) -> Parts:
    """A basket, a suitcase or a bag."""
    form = rng.integers(3)
    if form == 0:
        walls = [(w * 0.4, 0.0), (w / 2, h), (w * 0.46, h), (w * 0.36, 0.03)]
        return [turned(walls, (wood, fabric)[rng.integers(2)](rng), squeeze=(1.0, d / w), sides=20)]
    if form == 1:
        grip = box((-w * 0.15, -0.02, h * 0.9), (w * 0.15, 0.02, h), metal(rng))
        return [cushion((-w / 2, -d / 2, 0), (w / 2, d / 2, h * 0.95), plastic(rng), 0.2), grip]
    cloth = fabric(rng)
    pocket = cushion((-w * 0.3, -d / 2, h * 0.1), (w * 0.3, 0, h * 0.5), cloth, 0.4)
    return [cushion((-w / 2, -d * 0.4, 0), (w / 2, d / 2, h), cloth, 0.5), pocket]


RECIPES: dict[Kind, Recipe] = {
    "plant": Recipe(plant, (0.4, 0.4, 0.6), (0.9, 0.9, 1.8), 24),
    "small_plant": Recipe(plant, (0.18, 0.18, 0.2), (0.4, 0.4, 0.5), 20),
    "picture": Recipe(picture_frame, (0.35, 0.02, 0.3), (1.3, 0.045, 1.0), 30, elevation_m=1.3),
    "sculpture": Recipe(sculpture, (0.14, 0.14, 0.25), (0.35, 0.35, 0.7), 14),
    "mirror": Recipe(mirror, (0.5, 0.025, 0.6), (1.1, 0.05, 1.5), 14, elevation_m=0.9),
    "rug": Recipe(rug, (1.2, 0.8, 0.01), (2.6, 1.8, 0.02), 16),
    "curtain": Recipe(curtain, (1.2, 0.08, 1.5), (2.2, 0.14, 2.3), 12, elevation_m=0.1),
    "small_object": Recipe(small_object, (0.08, 0.08, 0.12), (0.25, 0.2, 0.3), 24),
    "bin": Recipe(bin_, (0.22, 0.22, 0.28), (0.35, 0.35, 0.6), 10),
    "clothes_rack": Recipe(clothes_rack, (0.8, 0.4, 1.4), (1.3, 0.5, 1.75), 6),
    "floor_object": Recipe(floor_object, (0.35, 0.25, 0.35), (0.55, 0.4, 0.65), 10),
}
