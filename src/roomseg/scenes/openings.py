"""Doors and windows: which models, in which walls, and the space before them that stays free."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from roomseg.config import RoomType
from roomseg.scenes.boxes import Box
from roomseg.scenes.floorplan import FloorPlan, Wall
from roomseg.scenes.furniture import FurnitureItem, FurnitureLibrary
from roomseg.scenes.layout import standing
from roomseg.scenes.shell import CORNICE_M, Opening, OpeningKind

DOOR_SIZES_M = ((0.6, 1.8), (2.0, 2.35))  # lowest and highest (width, height)
WINDOW_SIZES_M = ((0.4, 0.4), (2.6, 2.3))
MAX_DEPTH_M = 0.24  # deeper models are pressed flat to this: openings back to back in one pier do not meet
DEEPEST_M = 0.35  # such models have sills and handles; what is deeper stands open
BESIDE_M = 0.12  # wall left beside an opening
BEHIND_M = 0.01  # from the model's back to the end of the hole
LINTEL_M = 2.15
N_PLACES = 20
WINDOWS: dict[RoomType, tuple[int, int]] = {
    "living_room": (2, 4),
    "bedroom": (1, 3),
    "office": (1, 3),
    "kitchen": (1, 3),
    "bathroom": (0, 2),
}  # at least, less than


@dataclass(frozen=True)
class FittedOpening:
    opening: Opening
    item: FurnitureItem
    box: Box  # of the item in the hole


def draw_openings(
    plan: FloorPlan, height_m: float, room_type: RoomType, furniture: FurnitureLibrary, rng: np.random.Generator
) -> list[FittedOpening]:
    """One door (sometimes two in a living room) and the room type's windows, as many as find a wall."""
    fitted: list[FittedOpening] = []
    n_doors = 2 if room_type == "living_room" and rng.random() < 0.4 else 1
    for _ in range(n_doors):
        _add(fitted, plan, height_m, "door", furniture, rng)
    for _ in range(int(rng.integers(*WINDOWS[room_type]))):
        _add(fitted, plan, height_m, "window", furniture, rng)
    return fitted


def keep_free_zones(plan: FloorPlan, openings: list[Opening]) -> list[Box]:
    """The floor that a door needs, and what would stand before a window's pane."""
    zones = []
    for opening in openings:
        wall, span = plan.walls[opening.wall], (opening.from_m, opening.to_m)
        if opening.kind == "door":
            zones.append(wall.box(span, (0.0, 0.8), (0.03, opening.high_m)))
        else:
            zones.append(wall.box(span, (0.0, 0.3), (max(opening.low_m + 0.1, 0.6), opening.high_m)))
    return zones


def _add(
    fitted: list[FittedOpening],
    plan: FloorPlan,
    height_m: float,
    kind: OpeningKind,
    furniture: FurnitureLibrary,
    rng: np.random.Generator,
) -> None:
    """Fit one more opening where a model and a wall for it are found."""
    items = _suitable(furniture, kind, height_m)
    for _ in range(N_PLACES):
        item = items[int(rng.integers(len(items)))]
        index = _draw_wall(plan, item.size_m[0] + 2 * BESIDE_M, rng)
        if index is None:
            continue
        opening = _draw_opening(plan.walls[index], index, item, kind, height_m, rng)
        if all(_are_apart(opening, other.opening) for other in fitted):
            fitted.append(FittedOpening(opening, item, _model_box(plan.walls[index], opening, item)))
            return


def _suitable(furniture: FurnitureLibrary, kind: OpeningKind, height_m: float) -> list[FurnitureItem]:
    lowest, highest = DOOR_SIZES_M if kind == "door" else WINDOW_SIZES_M
    top = min(highest[1], height_m - CORNICE_M - 0.05)
    return [
        item
        for item in furniture.of_kind(kind)
        if lowest[0] <= item.size_m[0] <= highest[0]
        and lowest[1] <= item.size_m[2] <= top
        and item.size_m[1] <= DEEPEST_M
    ]


def _draw_wall(plan: FloorPlan, needed_m: float, rng: np.random.Generator) -> int | None:
    lengths = np.array([wall.length_m if wall.length_m >= needed_m else 0.0 for wall in plan.walls])
    return int(rng.choice(len(lengths), p=lengths / lengths.sum())) if lengths.any() else None


def _draw_opening(
    wall: Wall, index: int, item: FurnitureItem, kind: OpeningKind, height_m: float, rng: np.random.Generator
) -> Opening:
    width, _, high = item.size_m
    start = float(rng.uniform(BESIDE_M, wall.length_m - width - BESIDE_M))
    lintel = min(LINTEL_M, height_m - CORNICE_M - 0.05)
    low = 0.0 if kind == "door" else max(lintel - high, 0.0)
    return Opening(
        kind=kind,
        wall=index,
        from_m=start,
        to_m=start + width,
        low_m=low,
        high_m=low + high,
        depth_m=_depth_m(item) + BEHIND_M,
    )


def _are_apart(a: Opening, b: Opening) -> bool:
    return a.wall != b.wall or a.from_m > b.to_m + 2 * BESIDE_M or b.from_m > a.to_m + 2 * BESIDE_M


def _model_box(wall: Wall, opening: Opening, item: FurnitureItem) -> Box:
    """The model in its hole, its front flush with the wall."""
    center = wall.at((opening.from_m + opening.to_m) / 2, -_depth_m(item) / 2)
    box = standing(item, center, wall.facing_yaw_rad, opening.low_m)
    return replace(box, size_m=(item.size_m[0], _depth_m(item)))


def _depth_m(item: FurnitureItem) -> float:
    return min(item.size_m[1], MAX_DEPTH_M)
