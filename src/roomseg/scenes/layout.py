"""What stands where in a room: the objects placed so far, and the search for places that are still free."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.boxes import Box, penetration_m
from roomseg.scenes.floorplan import FloorPlan, Wall
from roomseg.scenes.furniture import FurnitureItem, Kind

TOLERANCE_M = 0.009  # boxes may overlap by less than this: a rug under a table, a lamp that stands on one
WALL_GAP_M = 0.02  # leaves room for the baseboard
MAX_OBJECTS = 25


@dataclass(frozen=True)
class PlacedObject:
    item: FurnitureItem
    box: Box  # a size other than the item's stretches it

    @property
    def name(self) -> str:
        return self.item.name

    @property
    def kind(self) -> Kind:
        return self.item.kind

    @property
    def label(self) -> int:
        return self.item.label


@dataclass(frozen=True)
class Member:
    """An item that belongs to an anchor, placed in the anchor's frame (+X right, -Y front)."""

    item: FurnitureItem
    x_m: float
    y_m: float
    yaw_rad: float = 0.0
    required: bool = False


class Layout:
    """The objects of a room, and the zones that must stay empty (in front of doors, windows, wardrobes)."""

    def __init__(self, plan: FloorPlan, height_m: float) -> None:
        self.plan = plan
        self.height_m = height_m
        self.placed: list[PlacedObject] = []
        self.zones: list[Box] = []

    @property
    def is_full(self) -> bool:
        return len(self.placed) >= MAX_OBJECTS

    def fits(self, box: Box, besides: Sequence[Box] = (), may_use_zones: bool = False) -> bool:
        """Whether a box is inside the room and touches no object, no zone and none of ``besides``."""
        if box.low_m < -TOLERANCE_M or box.high_m > self.height_m + TOLERANCE_M or not self.plan.contains_box(box):
            return False
        others = [placed.box for placed in self.placed] + list(besides)
        if not may_use_zones:
            others += self.zones
        return all(penetration_m(box, other) <= TOLERANCE_M for other in others)

    def add(self, item: FurnitureItem, box: Box, access_m: float = 0.0) -> PlacedObject:
        """Place an item, and keep ``access_m`` in front of it free from now on."""
        placed = PlacedObject(item, box)
        self.placed.append(placed)
        if access_m > 0:
            self.zones.append(access_zone(box, access_m))
        return placed

    def place(
        self, item: FurnitureItem, candidates: Iterable[Box], access_m: float = 0.0, may_use_zones: bool = False
    ) -> PlacedObject | None:
        """Place an item at the first candidate that is free, if there is one."""
        if self.is_full:
            return None
        for box in candidates:
            if self.fits(box, may_use_zones=may_use_zones) and self._can_be_reached(box, access_m):
                return self.add(item, box, access_m)
        return None

    def place_group(
        self,
        anchor: FurnitureItem,
        candidates: Iterable[Box],
        members_at: Callable[[Box], Sequence[Member] | None],
    ) -> list[PlacedObject]:
        """Place an anchor where the most of its members fit; members that do not fit are left out.

        ``members_at`` may refuse a place by None. Returns what was placed, the anchor first; nothing where it or a
        required member fits nowhere.
        """
        best: list[tuple[FurnitureItem, Box]] = []
        for box in candidates:
            if not self.fits(box):
                continue
            members = members_at(box)
            if members is None:
                continue
            group = self._fitting(anchor, box, members)
            if len(group) > len(best):
                best = group
            if len(best) == 1 + len(members):
                break
        room_left = MAX_OBJECTS - len(self.placed)
        return [self.add(item, box) for item, box in best[:room_left]]

    def _fitting(
        self, anchor: FurnitureItem, anchor_box: Box, members: Sequence[Member]
    ) -> list[tuple[FurnitureItem, Box]]:
        group = [(anchor, anchor_box)]
        for member in members:
            box = member_box(anchor_box, member)
            if self.fits(box, besides=[other for _, other in group]):
                group.append((member.item, box))
            elif member.required:
                return []
        return group

    def _can_be_reached(self, box: Box, access_m: float) -> bool:
        if access_m <= 0:
            return True
        zone = access_zone(box, access_m)
        taken = any(penetration_m(zone, placed.box) > TOLERANCE_M for placed in self.placed)
        return self.plan.contains_box(zone) and not taken


def access_zone(box: Box, depth_m: float) -> Box:
    """The space in front of a box, above rugs."""
    center = box.at(0, -box.size_m[1] / 2 - depth_m / 2)
    return Box(center, (box.size_m[0], depth_m), max(box.low_m, 0.03), box.high_m, box.yaw_rad)


def member_box(anchor: Box, member: Member) -> Box:
    width, depth, height = member.item.size_m
    return Box(anchor.at(member.x_m, member.y_m), (width, depth), 0.0, height, anchor.yaw_rad + member.yaw_rad)


def standing(item: FurnitureItem, center_m: tuple[float, float], yaw_rad: float, low_m: float = 0.0) -> Box:
    width, depth, height = item.size_m
    return Box(center_m, (width, depth), low_m, low_m + height, yaw_rad)


def wall_box(item: FurnitureItem, wall: Wall, offset_m: float, low_m: float = 0.0, gap_m: float = WALL_GAP_M) -> Box:
    """The item with its back to a wall, its left-most point along the wall at ``offset_m``."""
    width, depth, _ = item.size_m
    center = wall.at(offset_m + width / 2, gap_m + depth / 2)
    return standing(item, center, wall.facing_yaw_rad, low_m)


def wall_candidates(
    item: FurnitureItem,
    walls: Sequence[Wall],
    rng: np.random.Generator,
    n: int,
    low_m: float = 0.0,
    gap_m: float = WALL_GAP_M,
) -> Iterator[Box]:
    """Places along walls, long walls more often; a third at each end of a wall, a third between."""
    usable = [wall for wall in walls if wall.length_m >= item.size_m[0] + 2 * WALL_GAP_M]
    if not usable:
        return
    lengths = np.array([wall.length_m for wall in usable])
    for index in rng.choice(len(usable), size=n, p=lengths / lengths.sum()):
        highest = usable[index].length_m - item.size_m[0] - WALL_GAP_M
        offset = (WALL_GAP_M, highest, rng.uniform(WALL_GAP_M, highest))[rng.integers(3)]
        yield wall_box(item, usable[index], offset, low_m, gap_m)


def corner_candidates(item: FurnitureItem, walls: Sequence[Wall], rng: np.random.Generator, gap_m: float) -> list[Box]:
    """Places at the ends of walls, in random order; those beside a corner that points inwards included."""
    usable = [wall for wall in walls if wall.length_m >= item.size_m[0] + 2 * gap_m]
    boxes = []
    for wall in usable:
        for offset in (gap_m, wall.length_m - item.size_m[0] - gap_m):
            boxes.append(wall_box(item, wall, offset, 0.0, gap_m))
    return [boxes[index] for index in rng.permutation(len(boxes))]


def free_candidates(
    item: FurnitureItem, plan: FloorPlan, rng: np.random.Generator, n: int, low_m: float = 0.0
) -> Iterator[Box]:
    """Places anywhere on the floor, along the walls' directions; the first ones near the middle of a large part."""
    areas = np.array([(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in plan.rectangles])
    for trial in range(n):
        x0, y0, x1, y1 = plan.rectangles[rng.choice(len(areas), p=areas / areas.sum())]
        spread = min(1.0, (trial + 1) / (n / 2))
        x = (x0 + x1) / 2 + spread * rng.uniform(-0.5, 0.5) * (x1 - x0)
        y = (y0 + y1) / 2 + spread * rng.uniform(-0.5, 0.5) * (y1 - y0)
        yield standing(item, (float(x), float(y)), math.pi / 2 * int(rng.integers(4)), low_m)


def stretched(box: Box, width_m: float | None = None, high_m: float | None = None) -> Box:
    """The same box with another width or top."""
    size = box.size_m if width_m is None else (width_m, box.size_m[1])
    return replace(box, size_m=size, high_m=box.high_m if high_m is None else high_m)


def placed_mesh(placed: PlacedObject, mesh: TriangleMesh) -> TriangleMesh:
    """An item's mesh (house convention) moved into its box."""
    box, (width, depth, height) = placed.box, placed.item.size_m
    cos, sin = math.cos(box.yaw_rad), math.sin(box.yaw_rad)
    scale = box.size_m[0] / width, box.size_m[1] / depth, (box.high_m - box.low_m) / height
    matrix = np.array(
        [
            [cos * scale[0], -sin * scale[1], 0, box.center_m[0]],
            [sin * scale[0], cos * scale[1], 0, box.center_m[1]],
            [0, 0, scale[2], box.low_m],
            [0, 0, 0, 1],
        ]
    )
    return mesh.transformed(matrix)
