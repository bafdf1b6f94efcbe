"""Furniture that stands together: a bed and its tables, chairs round a table, a sofa and a screen, a kitchen's run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from roomseg.scenes.boxes import Box
from roomseg.scenes.floorplan import Wall
from roomseg.scenes.furnisher import N_PLACES, Furnisher
from roomseg.scenes.furniture import FurnitureItem, Kind
from roomseg.scenes.layout import (
    WALL_GAP_M,
    Member,
    PlacedObject,
    access_zone,
    free_candidates,
    wall_box,
    wall_candidates,
)

SIDE_GAP_M = 0.03
SEAT_GAP_M = 0.04  # between a chair's box and its table's
VIEW_M = (1.2, 4.0)  # between a sofa and its screen
CHAIR_M = (0.65, 0.68, 1.15)  # the largest at a dining table
MOST_CHAIRS = 6
DESK_KINDS: tuple[Kind, ...] = ("computer", "table_lamp", "small_object")
WORKTOP_KINDS: tuple[Kind, ...] = ("small_appliance", "small_appliance", "small_object", "cooktop")
RUN_LOW_M = 0.6  # what is lower stands on a worktop, not in a row with cabinets
HOOD_LOW_M = 1.5
WORKTOP_GAP_M = 0.45  # between a worktop and the wall cabinets


def bed_group(f: Furnisher) -> list[PlacedObject]:
    """A bed with its head to a wall, a bedside table at each side, lamps and plants on them."""
    table = f.choice("bedside_table", (0.7, 0.6, 0.8))
    for bed in f.choices("bed", (2.2, 2.4, 1.6)):
        sides = [] if table is None else _at_head(bed, table)
        places = wall_candidates(bed, f.plan.walls, f.rng, N_PLACES)
        group = f.layout.place_group(bed, places, _always(sides))
        for bedside in group[1:]:
            f.on_top("table_lamp" if f.chance(0.8) else "small_plant", bedside, (0.4, 0.4, 0.7))
        if group:
            return group
    return []


def _always(members: list[Member]) -> Callable[[Box], list[Member]]:
    return lambda _: members


def _at_head(bed: FurnitureItem, table: FurnitureItem) -> list[Member]:
    x = (bed.size_m[0] + table.size_m[0]) / 2 + SIDE_GAP_M
    y = (bed.size_m[1] - table.size_m[1]) / 2
    return [Member(table, x, y), Member(table, -x, y)]


def table_group(f: Furnisher) -> list[PlacedObject]:
    """A dining table somewhere on the floor with two to six chairs that face it."""
    chairs = f.choices("chair", CHAIR_M, copies=MOST_CHAIRS)
    for table, chair in zip(f.choices("dining_table", (2.4, 1.6, 1.2)), chairs, strict=False):
        places = free_candidates(table, f.plan, f.rng, N_PLACES)
        group = f.layout.place_group(table, places, partial(chairs_round, chair=chair, rng=f.rng))
        if group:
            f.on_top("small_object" if f.chance(0.6) else "small_plant", group[0], (0.5, 0.5, 0.5))
            return group
    return []


def chairs_round(table: Box, chair: FurnitureItem, rng: np.random.Generator) -> list[Member]:
    """One or two chairs along each long side, sometimes one at each end; each within 6 degrees of facing it."""
    width, depth = table.size_m
    seats: list[tuple[float, float, float]] = []  # x, y of the table's edge, yaw
    per_side = 2 if width > 2 * chair.size_m[0] + 0.15 else 1
    for k in range(per_side):
        x = (k + 0.5) * width / per_side - width / 2
        seats += [(x, depth / 2, 0.0), (x, -depth / 2, math.pi)]
    if rng.random() < 0.5 and depth > chair.size_m[0]:
        seats += [(width / 2, 0.0, -math.pi / 2), (-width / 2, 0.0, math.pi / 2)]
    return [_seat(chair, x, y, yaw, rng) for x, y, yaw in seats]


def _seat(chair: FurnitureItem, x: float, y: float, yaw: float, rng: np.random.Generator) -> Member:
    """A chair that faces the edge point (x, y), turned a little."""
    turn = float(rng.uniform(-0.1, 0.1))
    reach = chair.size_m[1] / 2 * math.cos(turn) + chair.size_m[0] / 2 * abs(math.sin(turn))
    away = reach + SEAT_GAP_M + float(rng.uniform(0, 0.12))
    return Member(chair, x - away * math.sin(yaw), y + away * math.cos(yaw), yaw + turn)


def desk_group(f: Furnisher) -> list[PlacedObject]:
    """A desk against a wall with a chair that faces it, a computer, a lamp and papers on it."""
    seat_kind: Kind = "office_chair" if f.chance(0.8) else "chair"
    for desk, chair in zip(f.choices("desk", (2.0, 1.2, 1.3)), f.choices(seat_kind, (0.8, 0.8, 1.4)), strict=False):
        seat = replace(_seat(chair, 0.0, -desk.size_m[1] / 2, math.pi, f.rng), required=True)
        places = wall_candidates(desk, f.plan.walls, f.rng, N_PLACES)
        group = f.layout.place_group(desk, places, _always([seat]))
        if group:
            for kind in DESK_KINDS:
                if f.chance(0.75):
                    f.on_top(kind, group[0], (0.9, 0.7, 0.8))
            return group
    return []


def screen_group(f: Furnisher) -> list[PlacedObject]:
    """A stand with a screen against a wall, a sofa that faces it, a low table between them."""
    table = f.choice("coffee_table", (1.3, 0.9, 0.6))
    view_m = float(f.rng.uniform(2.0, 3.2))
    for stand, sofa in zip(f.choices("tv_stand", (2.4, 0.8, 1.3)), f.choices("sofa", (2.6, 1.2, 1.2)), strict=False):
        places = wall_candidates(stand, f.plan.walls, f.rng, 2 * N_PLACES)
        group = f.layout.place_group(stand, places, partial(_facing, f, sofa=sofa, table=table, view_m=view_m))
        if group:
            f.on_top("tv", group[0], (2.0, 0.6, 1.2))
            f.layout.zones.append(_between(group[0].box, group[1].box))
            for low_table in group[2:]:
                f.on_top("small_object", low_table, (0.4, 0.4, 0.4))
            return group
    return []


def _facing(
    f: Furnisher, stand: Box, sofa: FurnitureItem, table: FurnitureItem | None, view_m: float
) -> list[Member] | None:
    """The sofa at the opposite wall where that is near enough, else ``view_m`` away; None: too near for a sofa."""
    front = stand.at(0, -stand.size_m[1] / 2)
    to_wall = f.plan.ray_m(front, stand.front) - sofa.size_m[1] - WALL_GAP_M
    distance = to_wall if to_wall <= VIEW_M[1] else view_m
    if distance < VIEW_M[0]:
        return None
    sofa_front = -stand.size_m[1] / 2 - distance
    members = [Member(sofa, 0.0, sofa_front - sofa.size_m[1] / 2, math.pi, required=True)]
    if table is not None and distance > table.size_m[1] + 0.8:
        members.append(Member(table, 0.0, sofa_front + 0.35 + table.size_m[1] / 2))
    return members


def _between(stand: Box, sofa: Box) -> Box:
    """The space from a stand to the sofa that faces it."""
    distance = math.dist(stand.center_m, sofa.center_m) - (stand.size_m[1] + sofa.size_m[1]) / 2
    return access_zone(stand, distance)


def lounge_group(f: Furnisher) -> list[PlacedObject]:
    """A sofa or armchair against a wall with a small table beside it or before it."""
    seat = f.choice("armchair" if f.chance(0.5) else "sofa", (2.4, 1.2, 1.3))
    table = f.choice("side_table" if f.chance(0.5) else "coffee_table", (1.0, 0.8, 0.7))
    if seat is None or table is None:
        return []
    beside = Member(table, (seat.size_m[0] + table.size_m[0]) / 2 + SIDE_GAP_M, 0.0)
    before = Member(table, 0.0, -(seat.size_m[1] + table.size_m[1]) / 2 - 0.35)
    member = before if seat.kind == "sofa" else beside
    group = f.layout.place_group(seat, wall_candidates(seat, f.plan.walls, f.rng, N_PLACES), lambda _: [member])
    if len(group) == 2:
        f.on_top("table_lamp" if f.chance(0.4) else "small_object", group[1], (0.4, 0.4, 0.6))
    return group


def kitchen_run(f: Furnisher, kinds: Sequence[Kind]) -> list[PlacedObject]:
    """Cabinets and appliances side by side along one of the longest walls, cabinets and a hood above them.

    What finds no place there goes on along the next wall.
    """
    longest = sorted(f.plan.walls, key=lambda wall: -wall.length_m)[:3]
    run: list[PlacedObject] = []
    left = list(kinds)
    for index in f.rng.permutation(len(longest)):
        placed, left = _run_along(f, longest[index], left)
        run += placed
    for each in run:
        _above_worktop(f, each)
    return run


def _run_along(f: Furnisher, wall: Wall, kinds: Sequence[Kind]) -> tuple[list[PlacedObject], list[Kind]]:
    """What was placed along a wall, and the kinds that did not fit."""
    run: list[PlacedObject] = []
    left: list[Kind] = []
    offset = WALL_GAP_M
    for kind in kinds:
        placed = _next_in_run(f, wall, kind, offset)
        if placed is None:
            left.append(kind)
            continue
        run.append(placed)
        offset = _end_along(wall, placed.box) + 0.002
    return run, left


def _next_in_run(f: Furnisher, wall: Wall, kind: Kind, start_m: float) -> PlacedObject | None:
    """The item at the first free stretch of a wall from ``start_m`` on."""
    for item in f.choices(kind, (1.1, 0.8, 2.3)):
        if item.size_m[2] < RUN_LOW_M:
            continue
        offsets = np.arange(start_m, wall.length_m - item.size_m[0] - WALL_GAP_M, 0.05)
        placed = f.layout.place(item, [wall_box(item, wall, float(x)) for x in offsets], access_m=0.6)
        if placed is not None:
            return placed
    return None


def _end_along(wall: Wall, box: Box) -> float:
    offset = box.center_m[0] - wall.start_m[0], box.center_m[1] - wall.start_m[1]
    return offset[0] * wall.along[0] + offset[1] * wall.along[1] + box.size_m[0] / 2


def _above_worktop(f: Furnisher, placed: PlacedObject) -> None:
    width, top = placed.box.size_m[0], placed.box.high_m
    if top > 1.2:
        return
    if placed.kind in ("oven", "cooktop"):
        f.hang_above("hood", placed, max(0.65, HOOD_LOW_M - top), (width + 0.3, 0.7, 1.2))
    elif placed.kind == "kitchen_cabinet":
        if f.chance(0.8):
            f.hang_above("kitchen_wall_cabinet", placed, WORKTOP_GAP_M, (width + 0.005, 0.5, 1.0))
        if f.chance(0.6):
            f.on_top(WORKTOP_KINDS[f.rng.integers(len(WORKTOP_KINDS))], placed, (0.7, 0.6, WORKTOP_GAP_M))
