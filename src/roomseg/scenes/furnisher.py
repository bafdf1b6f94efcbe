"""The ways to put one thing into a room: against a wall, in a corner, on the floor, on a wall, on a table, overhead."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.boxes import Box
from roomseg.scenes.furniture import FurnitureItem, FurnitureLibrary, Kind
from roomseg.scenes.layout import (
    WALL_GAP_M,
    Layout,
    Member,
    PlacedObject,
    corner_candidates,
    free_candidates,
    member_box,
    standing,
    stretched,
    wall_box,
    wall_candidates,
)
from roomseg.scenes.shell import Opening

Size = tuple[float, float, float]  # largest width, depth and height, metres

ANY_SIZE: Size = (4.0, 4.0, 4.0)
MAX_ITEM_FACES = 40_000
MAX_ROOM_FACES = 250_000
REAL_SHARE = 0.85  # of the choices, where a kind has models of real libraries
HANG_GAP_M = 0.016  # just in front of a wainscot
UNDER_CEILING_M = 0.1  # what stands keeps below the cornice
TOP_SLACK_M = 0.015
PAST_WINDOW_M = 0.3  # how far curtains and radiators go past a window's sides
MIN_STRETCHED, MAX_STRETCHED = 0.7, 1.4  # heights over the room's that are stretched to it
N_PLACES = 30  # tried for each item


class Furnisher:
    """A layout, the library and the random numbers of one room.

    Every method returns what it placed, or None where nothing of the kind fits.
    """

    def __init__(
        self, layout: Layout, openings: list[Opening], furniture: FurnitureLibrary, rng: np.random.Generator
    ) -> None:
        self.layout = layout
        self.plan = layout.plan
        self.openings = openings
        self.furniture = furniture
        self.rng = rng
        self._faces_of: dict[str, int] = {}

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def choices(self, kind: Kind, within: Size = ANY_SIZE, n: int = 3, copies: int = 1) -> Iterator[FurnitureItem]:
        """Up to ``n`` random items of a kind that are small and light enough, then the one of least footprint."""
        highest = min(within[2], self.layout.height_m - UNDER_CEILING_M)
        limits = np.array([within[0], within[1], highest]) + 1e-6
        items = [item for item in self.furniture.of_kind(kind) if (np.array(item.size_m) <= limits).all()]
        if not items:
            return
        real = [item for item in items if item.library != "parametric"]
        own = [item for item in items if item.library == "parametric"]
        for _ in range(n):
            pool = real if real and (not own or self.chance(REAL_SHARE)) else own
            item = pool[self.rng.integers(len(pool))]
            if self._is_light(item, copies):
                yield item
        smallest = min(items, key=lambda item: item.size_m[0] * item.size_m[1])
        if self._is_light(smallest, copies):
            yield smallest

    def choice(self, kind: Kind, within: Size = ANY_SIZE) -> FurnitureItem | None:
        return next(self.choices(kind, within), None)

    def _is_light(self, item: FurnitureItem, copies: int = 1) -> bool:
        """Whether so many of the item leave enough of the room's faces for what is still to come."""
        if item.name not in self._faces_of:
            self._faces_of[item.name] = len(self.furniture.mesh(item))
        used = sum(self._faces_of.get(placed.name, 0) for placed in self.layout.placed)
        return copies * self._faces_of[item.name] <= min(MAX_ITEM_FACES, 0.4 * (MAX_ROOM_FACES - used))

    def against_wall(self, kind: Kind, within: Size = ANY_SIZE, access_m: float = 0.0) -> PlacedObject | None:
        for item in self.choices(kind, within):
            candidates = wall_candidates(item, self.plan.walls, self.rng, N_PLACES, _low(item))
            placed = self.layout.place(item, candidates, access_m)
            if placed:
                return placed
        return None

    def hang(self, kind: Kind, lowest_m: float, within: Size = ANY_SIZE) -> PlacedObject | None:
        """On a wall, with its bottom at the item's own height but not below ``lowest_m``."""
        for item in self.choices(kind, within):
            low = self._hung_low(item, max(lowest_m, item.elevation_m))
            candidates = wall_candidates(item, self.plan.walls, self.rng, N_PLACES, low, HANG_GAP_M)
            placed = self.layout.place(item, candidates)
            if placed:
                return placed
        return None

    def hang_above(self, kind: Kind, below: PlacedObject, gap_m: float, within: Size = ANY_SIZE) -> PlacedObject | None:
        """On the wall behind something, ``gap_m`` or more above it, centred on it."""
        for item in self.choices(kind, within):
            low = below.box.high_m + gap_m
            back = below.box.size_m[1] / 2 + WALL_GAP_M - HANG_GAP_M
            member = Member(item, 0.0, back - item.size_m[1] / 2)
            box = member_box(below.box, member)
            if low + item.size_m[2] > self.layout.height_m - UNDER_CEILING_M:
                continue
            placed = self.layout.place(item, [standing(item, box.center_m, box.yaw_rad, low)])
            if placed:
                return placed
        return None

    def _hung_low(self, item: FurnitureItem, low_m: float) -> float:
        return max(0.0, min(low_m, self.layout.height_m - UNDER_CEILING_M - item.size_m[2]))

    def in_corner(self, kind: Kind, within: Size = ANY_SIZE, gap_m: float = WALL_GAP_M) -> PlacedObject | None:
        for item in self.choices(kind, within):
            placed = self.layout.place(item, corner_candidates(item, self.plan.walls, self.rng, gap_m))
            if placed:
                return placed
        return None

    def floor_to_ceiling(self, kind: Kind, within: tuple[float, float]) -> PlacedObject | None:
        """In a corner, stretched to the ceiling."""
        items = self.furniture.of_kind(kind)
        for index in self.rng.permutation(len(items)):
            item = items[index]
            nearly_fits = MIN_STRETCHED <= item.size_m[2] / self.layout.height_m <= MAX_STRETCHED
            if not nearly_fits or item.size_m[0] > within[0] or item.size_m[1] > within[1] or not self._is_light(item):
                continue
            corners = corner_candidates(item, self.plan.walls, self.rng, 0.0)
            placed = self.layout.place(item, [stretched(box, high_m=self.layout.height_m) for box in corners])
            if placed:
                return placed
        return None

    def across_ceiling(self, kind: Kind) -> PlacedObject | None:
        """Under the ceiling from wall to wall."""
        item = self.furniture.of_kind(kind)[int(self.rng.integers(len(self.furniture.of_kind(kind))))]
        return self.layout.place(item, self._spans(item))

    def _spans(self, item: FurnitureItem) -> Iterable[Box]:
        for box in free_candidates(item, self.plan, self.rng, N_PLACES, self.layout.height_m - item.size_m[2]):
            along = math.cos(box.yaw_rad), math.sin(box.yaw_rad)
            ahead = self.plan.ray_m(box.center_m, along)
            behind = self.plan.ray_m(box.center_m, (-along[0], -along[1]))
            middle = (ahead - behind) / 2
            center = box.center_m[0] + middle * along[0], box.center_m[1] + middle * along[1]
            yield stretched(standing(item, center, box.yaw_rad, box.low_m), width_m=ahead + behind)

    def on_floor(self, kind: Kind, within: Size = ANY_SIZE) -> PlacedObject | None:
        for item in self.choices(kind, within):
            placed = self.layout.place(item, free_candidates(item, self.plan, self.rng, N_PLACES))
            if placed:
                return placed
        return None

    def rug(self, within: Size) -> PlacedObject | None:
        """Anywhere on the floor, furniture on it or not, so thin that nothing needs lifting."""
        for item in self.choices("rug", within):
            boxes = free_candidates(item, self.plan, self.rng, N_PLACES)
            thin = [stretched(box, high_m=min(item.size_m[2], 0.008)) for box in boxes]
            placed = self.layout.place(item, thin)
            if placed:
                return placed
        return None

    def from_ceiling(self, kind: Kind, headroom_m: float) -> PlacedObject | None:
        for item in self.choices(kind, (1.6, 1.6, self.layout.height_m - headroom_m)):
            low = self.layout.height_m - item.size_m[2]
            placed = self.layout.place(item, free_candidates(item, self.plan, self.rng, N_PLACES, low))
            if placed:
                return placed
        return None

    def at_window(self, kind: Kind, under: bool, within: Size = ANY_SIZE) -> PlacedObject | None:
        """Below a window's sill, or in front of the window from above it downwards."""
        windows = [opening for opening in self.openings if opening.kind == "window"]
        for index in self.rng.permutation(len(windows)):
            window = windows[index]
            wall = self.plan.walls[window.wall]
            widest = min(within[0], window.to_m - window.from_m + 2 * PAST_WINDOW_M)
            for item in self.choices(kind, (widest, *within[1:]), n=2):
                offset = (window.from_m + window.to_m - item.size_m[0]) / 2
                low = _low(item) if under else max(0.0, min(window.high_m + 0.1, 2.3) - item.size_m[2])
                placed = self.layout.place(item, [wall_box(item, wall, offset, low)], may_use_zones=not under)
                if placed:
                    return placed
        return None

    def on_top(self, kind: Kind, support: PlacedObject, within: Size = ANY_SIZE) -> PlacedObject | None:
        """On the flat top of something; facing the way it faces."""
        width, depth = support.box.size_m
        limits = min(within[0], width), min(within[1], depth), within[2]
        mesh = self.furniture.mesh(support.item)
        for item in self.choices(kind, limits):
            boxes = (box for box in self._top_boxes(item, support) if _holds(mesh, support, box))
            low_enough = item.size_m[2] < 0.5  # for a window's zone
            placed = self.layout.place(item, boxes, may_use_zones=low_enough)
            if placed:
                return placed
        return None

    def _top_boxes(self, item: FurnitureItem, support: PlacedObject) -> Iterator[Box]:
        """The middle of the top, then anywhere on it."""
        spare = np.maximum(np.array(support.box.size_m) - np.array(item.size_m[:2]), 0) / 2
        for trial in range(12):
            x, y = (0.0, 0.0) if trial == 0 and self.chance(0.5) else self.rng.uniform(-spare, spare).tolist()
            yield standing(item, support.box.at(x, y), support.box.yaw_rad, support.box.high_m)


def _low(item: FurnitureItem) -> float:
    """Radiators, washbasins and the like hang at their own height; what nearly stands, stands."""
    return item.elevation_m if item.elevation_m > 0.05 else 0.0


def _holds(mesh: TriangleMesh, support: PlacedObject, box: Box) -> bool:
    """Whether the support's top is a surface under the whole of a box that faces as it does."""
    half = np.array(box.size_m) * 0.45
    grid = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1]), axis=-1).reshape(-1, 2) * half  # (9, 2)
    offset = np.array(box.center_m) - np.array(support.box.center_m)
    cos, sin = math.cos(support.box.yaw_rad), math.sin(support.box.yaw_rad)
    local = grid + np.array([offset[0] * cos + offset[1] * sin, offset[1] * cos - offset[0] * sin])
    return bool(covered(mesh, support.item.size_m[2] - TOP_SLACK_M, local).all())


def covered(mesh: TriangleMesh, above_m: float, points: np.ndarray) -> np.ndarray:  # (n, 2) -> (n,) bool
    """Whether each point has a triangle of the mesh over it that is wholly above a height."""
    corners = mesh.vertices[mesh.faces]  # (F, 3, 3)
    corners = corners[(corners[..., 2] >= above_m).all(axis=1)][..., :2].astype(np.float64)  # (T, 3, 2)
    found = np.zeros(len(points), bool)
    edges = np.roll(corners, -1, axis=1) - corners  # (T, 3, 2)
    area = edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]
    upright = np.abs(area) < 1e-10
    corners, edges, sign = corners[~upright], edges[~upright], np.sign(area[~upright])
    for index, point in enumerate(points):
        to_point = point - corners
        side = edges[..., 0] * to_point[..., 1] - edges[..., 1] * to_point[..., 0]  # (T, 3)
        found[index] = (side * sign[:, None] >= -1e-9).all(axis=1).any()
    return found
