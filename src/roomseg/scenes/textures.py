"""Floor and wall textures: Sweet Home 3D's own where its program file is installed, procedural ones always."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from roomseg.errors import UserError
from roomseg.scenes.obj import decode_texture
from roomseg.scenes.sh3f import CM, opened, parse_properties, read_member

TEXTURE_ARCHIVE = "sweethome3d.jar"
CATALOGUE = "com/eteks/sweethome3d/io/DefaultTexturesCatalog.properties"
_OUTDOOR = ("grass", "boxTree", "pavingStone")

Surface = Literal["Floor", "Wall"]  # the catalogue's words
Painter = Callable[[np.random.Generator], "Texture"]
Rgb = np.ndarray  # (3,) float64, 0..255


@dataclass(frozen=True)
class Texture:
    name: str
    image: np.ndarray  # (h, w, 3) uint8, row 0 = top; repeats without a seam
    tile_m: tuple[float, float]  # width and height of one repeat
    credit: str = "roomseg, Apache-2.0"


def floor_textures(directory: Path | None) -> tuple[Texture, ...]:
    """Raises ``UserError`` for a program file that cannot be read."""
    makers: tuple[tuple[str, Painter, int], ...] = (
        ("planks", planks, 14),
        ("floor-tiles", floor_tiles, 10),
        ("checker", checker, 4),
        ("carpet", carpet, 8),
    )
    return _installed(directory, "Floor") + _procedural(makers)


def wall_textures(directory: Path | None) -> tuple[Texture, ...]:
    """Raises ``UserError`` for a program file that cannot be read."""
    makers: tuple[tuple[str, Painter, int], ...] = (
        ("plaster", plaster, 16),
        ("wallpaper", wallpaper, 8),
        ("wall-tiles", wall_tiles, 6),
    )
    return _installed(directory, "Wall") + _procedural(makers)


def texture_archive(directory: Path | None) -> Path | None:
    path = directory / TEXTURE_ARCHIVE if directory is not None else None
    return path if path is not None and path.is_file() else None


def _installed(directory: Path | None, surface: Surface) -> tuple[Texture, ...]:
    path = texture_archive(directory)
    if path is None:
        return ()
    with opened(path) as archive:
        properties = parse_properties(read_member(archive, path, CATALOGUE))
        found = [_read(archive, path, properties, number) for number in _numbers(properties, surface)]
    return tuple(sorted(found, key=lambda texture: texture.name))


def _numbers(properties: dict[str, str], surface: Surface) -> list[int]:
    """The catalogue's items of a category that are fit for a room."""
    numbers = []
    number = 1
    while f"name#{number}" in properties:
        if properties.get(f"category#{number}") == surface and _stem(properties, number) not in _OUTDOOR:
            numbers.append(number)
        number += 1
    return numbers


def _stem(properties: dict[str, str], number: int) -> str:
    return posixpath.splitext(posixpath.basename(properties.get(f"image#{number}", "")))[0]


def _read(archive: zipfile.ZipFile, path: Path, properties: dict[str, str], number: int) -> Texture:
    try:
        member = properties[f"image#{number}"].lstrip("/")
        width_m, height_m = (float(properties[f"{side}#{number}"]) * CM for side in ("width", "height"))
    except (KeyError, ValueError):
        raise UserError(f"{path}: texture {number} has no image, width and height in cm; get the file again") from None
    image = decode_texture(read_member(archive, path, member))
    if image is None or min(width_m, height_m) <= 0:
        raise UserError(f"{path}: {member} is no picture with a real size; get the file again")
    credit = f"{properties.get(f'creator#{number}', 'eTeks')}, {properties.get('license', 'GNU GPL / CC-BY 3.0')}"
    return Texture(f"eteks/{_stem(properties, number)}", image, (width_m, height_m), credit)


def _procedural(makers: tuple[tuple[str, Painter, int], ...]) -> tuple[Texture, ...]:
    textures = []
    for name, paint, count in makers:
        for number in range(count):
            texture = paint(np.random.default_rng([len(name), *name.encode(), number]))
            textures.append(Texture(f"procedural/{name}-{number:02d}", texture.image, texture.tile_m))
    return tuple(textures)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], power: float, stretch: float = 1.0) -> np.ndarray:
    """Periodic noise (h, w), mean 0, deviation 1, amplitudes ~ frequency^-power; ``stretch`` > 1 draws it along x."""
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None, :]
    frequency = np.hypot(fy, fx * stretch)
    frequency[0, 0] = np.inf
    noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal(shape)) * frequency**-power).real
    return noise / noise.std()


def planks(rng: np.random.Generator) -> Texture:
    """Wooden boards along x, each row shifted, 1.6 x 0.8 m."""
    px, rows = 256, int(rng.choice([4, 6, 8]))
    base = wood_color(rng)
    grain = smooth_noise(rng, (px, px), 1.1, stretch=14) * 7
    row = np.arange(px) * rows // px
    shift = rng.integers(0, px, rows)[row]
    along = (np.arange(px)[None, :] + shift[:, None]) % px  # (px, px)
    board = along * 2 // px
    tone = rng.normal(0, 12, (rows, 2))[row[:, None], board]
    seam = (np.diff(row, prepend=-1) != 0)[:, None] | (along % (px // 2) == 0)
    shade = grain + tone - 45 * seam
    return Texture("", _image(base, shade), (1.6, 0.8))


def floor_tiles(rng: np.random.Generator) -> Texture:
    return _tiles(rng, float(rng.uniform(0.25, 0.6)), stone_color(rng), 2)


def wall_tiles(rng: np.random.Generator) -> Texture:
    color = np.array([235.0, 235, 232]) if rng.random() < 0.5 else pastel_color(rng)
    return _tiles(rng, float(rng.uniform(0.1, 0.25)), color, 4)


def _tiles(rng: np.random.Generator, side_m: float, color: Rgb, count: int) -> Texture:
    px = 128
    cell = np.arange(px) * count // px
    tone = rng.normal(0, 5, (count, count))[cell[:, None], cell[None, :]]
    grout = np.diff(cell, prepend=-1) != 0
    veins = smooth_noise(rng, (px, px), 1.4) * 4
    depth = float(rng.uniform(-60, 25))
    shade = np.where(grout[:, None] | grout[None, :], depth, veins + tone)
    return Texture("", _image(color, shade), (side_m * count, side_m * count))


def checker(rng: np.random.Generator) -> Texture:
    px, side_m = 128, float(rng.uniform(0.2, 0.45))
    cell = np.arange(px) * 2 // px
    dark = (cell[:, None] + cell[None, :]) % 2 == 1
    shade = smooth_noise(rng, (px, px), 1.2) * 4
    light_color, dark_color = stone_color(rng), stone_color(rng) * 0.4
    image = np.where(dark[..., None], dark_color, light_color) + shade[..., None]
    return Texture("", np.clip(image, 0, 255).astype(np.uint8), (2 * side_m, 2 * side_m))


def carpet(rng: np.random.Generator) -> Texture:
    px = 128
    color = pastel_color(rng) * float(rng.uniform(0.45, 0.95))
    shade = smooth_noise(rng, (px, px), 0.2) * 14 + smooth_noise(rng, (px, px), 1.5) * 5
    return Texture("", _image(color, shade), (0.6, 0.6))


def plaster(rng: np.random.Generator) -> Texture:
    px = 128
    shade = smooth_noise(rng, (px, px), 1.2) * float(rng.uniform(1, 4))
    return Texture("", _image(pastel_color(rng), shade), (1.2, 1.2))


def wallpaper(rng: np.random.Generator) -> Texture:
    """Upright stripes of two tones, or dots."""
    px = 128
    first, second = pastel_color(rng), pastel_color(rng)
    across, down = np.meshgrid(np.arange(px) / px, np.arange(px) / px)
    if rng.random() < 0.6:
        mask = (across * int(rng.integers(2, 6))) % 1 < float(rng.uniform(0.2, 0.6))
    else:
        n = int(rng.choice([2, 4, 6]))  # even, so that the shifted rows repeat
        row = np.floor(down * n)
        mask = np.hypot((across * n + 0.5 * (row % 2)) % 1 - 0.5, (down * n) % 1 - 0.5) < 0.25
    image = np.where(mask[..., None], second, first) + 2 * smooth_noise(rng, (px, px), 1.0)[..., None]
    return Texture("", np.clip(image, 0, 255).astype(np.uint8), (0.6, 0.6))


def wood_grain(rng: np.random.Generator) -> Texture:
    """Wood of one board, the grain along x."""
    return Texture("", _image(wood_color(rng), smooth_noise(rng, (64, 64), 1.1, stretch=12) * 9), (0.8, 0.8))


def fabric(rng: np.random.Generator) -> Texture:
    """Cloth: plain weave, or stripes, or a check."""
    px = 64
    color = fabric_color(rng)
    shade = smooth_noise(rng, (px, px), 0.4) * 7
    pattern = rng.random()
    band = (np.arange(px) // 8) % 2 * float(rng.uniform(15, 45))
    if pattern < 0.2:
        shade = shade - band[None, :]
    elif pattern < 0.35:
        shade = shade - (band[None, :] + band[:, None]) / 2
    return Texture("", _image(color, shade), (0.3, 0.3))


def wood_color(rng: np.random.Generator) -> Rgb:
    woods = np.array([(214, 178, 128), (186, 140, 92), (150, 102, 62), (112, 70, 42), (78, 52, 38), (224, 206, 176)])
    return woods[rng.integers(len(woods))] * float(rng.uniform(0.9, 1.08))


def stone_color(rng: np.random.Generator) -> Rgb:
    green = float(rng.uniform(0.92, 1.0))
    return float(rng.uniform(120, 240)) * np.array([1.0, green, green * float(rng.uniform(0.88, 1.02))])


def pastel_color(rng: np.random.Generator) -> Rgb:
    """Light and little saturated; half of them near white."""
    light = float(rng.uniform(225, 250)) if rng.random() < 0.5 else float(rng.uniform(170, 235))
    return light * (1 - rng.uniform(0, 0.22 if light < 225 else 0.06, 3) * np.array([1, 0.5, 1.2]))


def fabric_color(rng: np.random.Generator) -> Rgb:
    """Any hue, from dull to strong."""
    grey = float(rng.uniform(60, 225))
    return np.clip(grey + rng.uniform(-1, 1, 3) * float(rng.uniform(0, 80)), 15, 245)


def _image(color: Rgb, shade: np.ndarray) -> np.ndarray:  # (3,), (h, w) -> (h, w, 3) uint8
    return np.clip(color + shade[..., None] * (0.5 + color / 400), 0, 255).astype(np.uint8)
