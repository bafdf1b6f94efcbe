"""Our own furniture: every kind in several variants, each a pure function of its kind and number."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from roomseg.geometry.mesh import TriangleMesh, join_meshes
from roomseg.scenes.furniture_classes import LABEL_OF_KIND, Kind
from roomseg.scenes.parametric import (
    appliances,
    building,
    decoration,
    lamps,
    openings,
    recreation,
    seating,
    storage,
    tables,
    wardrobes,
    water,
)
from roomseg.scenes.parametric.recipes import Recipe

RECIPES: dict[Kind, Recipe] = {
    **seating.RECIPES,
    **tables.RECIPES,
    **storage.RECIPES,
    **appliances.RECIPES,
    **water.RECIPES,
    **lamps.RECIPES,
    **decoration.RECIPES,
    **recreation.RECIPES,
    **building.RECIPES,
    **openings.RECIPES,
    **wardrobes.RECIPES,
}


@dataclass(frozen=True)
class Variant:
    kind: Kind
    number: int
    size_m: tuple[float, float, float]  # width, depth, height
    elevation_m: float

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.number:02d}"


def variants() -> Iterator[Variant]:
    """Every variant; sizes are drawn without building the shapes."""
    for kind, recipe in RECIPES.items():
        for number in range(recipe.variants):
            yield Variant(kind, number, _size(recipe, _generator(kind, number)), recipe.elevation_m)


def build(kind: Kind, number: int) -> TriangleMesh:
    """A variant's mesh in the house convention, which fills the variant's size exactly."""
    recipe, rng = RECIPES[kind], _generator(kind, number)
    size = _size(recipe, rng)
    mesh = join_meshes(recipe.build(rng, *size))
    return mesh.transformed(_filling(mesh.bounds, size)).relabelled(LABEL_OF_KIND[kind])


def _generator(kind: Kind, number: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(kind.encode()), number])


def _size(recipe: Recipe, rng: np.random.Generator) -> tuple[float, float, float]:
    width, depth, height = rng.uniform(recipe.low_m, recipe.high_m)
    return float(width), float(depth), float(height)


def _filling(bounds: np.ndarray, size: tuple[float, float, float]) -> np.ndarray:  # (2, 3) -> (4, 4)
    """Scales each axis to the size, centres x and y, puts the bottom at 0: mends what a shape lacks to fill its box."""
    low, high = bounds.astype(np.float64)
    scale = np.array(size) / (high - low)
    anchor = np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]])
    matrix = np.diag([*scale, 1.0])
    matrix[:3, 3] = -scale * anchor
    return matrix
