"""Floor plans: rectangular, L-shaped and multi-alcove outlines with axis-aligned walls."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from roomseg.scenes.boxes import Box, penetration_m
from roomseg.scenes.polygons import signed_area

Shape = Literal["rectangle", "L", "alcoves"]
Rectangle = tuple[float, float, float, float]  # x low, y low, x high, y high, metres

MIN_NOTCH_M = 0.5
MIN_PASSAGE_M = 1.7  # what notches must leave of a room's side
TOUCH_M = 1e-6


@dataclass(frozen=True)
class Wall:
    """A straight wall; the room is on the left of start -> end."""

    start_m: tuple[float, float]
    end_m: tuple[float, float]

    @cached_property
    def length_m(self) -> float:
        return math.dist(self.start_m, self.end_m)

    @cached_property
    def along(self) -> tuple[float, float]:
        """The unit vector from start to end."""
        return (
            (self.end_m[0] - self.start_m[0]) / self.length_m,
            (self.end_m[1] - self.start_m[1]) / self.length_m,
        )

    @property
    def inward(self) -> tuple[float, float]:
        return -self.along[1], self.along[0]

    @property
    def facing_yaw_rad(self) -> float:
        """The yaw of an object with its back to this wall (its local -Y points into the room)."""
        return math.atan2(self.inward[0], -self.inward[1])

    def at(self, offset_m: float, distance_m: float) -> tuple[float, float]:
        """The floor position ``offset_m`` from the wall's start and ``distance_m`` into the room."""
        return (
            self.start_m[0] + self.along[0] * offset_m + self.inward[0] * distance_m,
            self.start_m[1] + self.along[1] * offset_m + self.inward[1] * distance_m,
        )

    def box(self, offset_m: tuple[float, float], depth_m: tuple[float, float], height_m: tuple[float, float]) -> Box:
        """The box over a stretch of the wall, from one depth into the room to another."""
        center = self.at(sum(offset_m) / 2, sum(depth_m) / 2)
        size = offset_m[1] - offset_m[0], depth_m[1] - depth_m[0]
        return Box(center, size, *height_m, yaw_rad=self.facing_yaw_rad)


@dataclass(frozen=True)
class FloorPlan:
    """A simple counter-clockwise polygon whose sides run along x and y in turn."""

    outline: np.ndarray  # (n, 2) float64, metres

    @cached_property
    def walls(self) -> tuple[Wall, ...]:
        corners = [(float(x), float(y)) for x, y in self.outline]
        return tuple(Wall(a, b) for a, b in zip(corners, corners[1:] + corners[:1], strict=True))

    @cached_property
    def bounds(self) -> Rectangle:
        (x0, y0), (x1, y1) = self.outline.min(axis=0).tolist(), self.outline.max(axis=0).tolist()
        return x0, y0, x1, y1

    @cached_property
    def area_m2(self) -> float:
        return signed_area(self.outline)

    @cached_property
    def rectangles(self) -> tuple[Rectangle, ...]:
        """The floor as rectangles that meet but do not overlap."""
        return tuple(self._cells(inside=True))

    @cached_property
    def _notches(self) -> tuple[Box, ...]:
        """What of the bounding rectangle is outside the outline."""
        return tuple(
            Box(((x0 + x1) / 2, (y0 + y1) / 2), (x1 - x0, y1 - y0), 0.0, 1.0)
            for x0, y0, x1, y1 in self._cells(inside=False)
        )

    def _cells(self, inside: bool) -> list[Rectangle]:
        xs, ys = np.unique(self.outline[:, 0]), np.unique(self.outline[:, 1])
        cells = []
        for (x0, x1), (y0, y1) in itertools.product(itertools.pairwise(xs), itertools.pairwise(ys)):
            if self._is_inside((x0 + x1) / 2, (y0 + y1) / 2) == inside:
                cells.append((float(x0), float(y0), float(x1), float(y1)))
        return cells

    def _is_inside(self, x: float, y: float) -> bool:
        """Even-odd rule, for a point on no wall."""
        rising = [w for w in self.walls if w.start_m[0] == w.end_m[0] and w.start_m[0] > x]
        crossed = sum(min(w.start_m[1], w.end_m[1]) < y < max(w.start_m[1], w.end_m[1]) for w in rising)
        return crossed % 2 == 1

    def contains(self, points: np.ndarray) -> np.ndarray:  # (n, 2) -> (n,) bool
        """Whether points are inside the outline or on it."""
        inside = np.zeros(len(points), bool)
        for x0, y0, x1, y1 in self.rectangles:
            inside |= ((points >= (x0, y0)) & (points <= (x1, y1))).all(axis=1)
        return inside

    def wall_distance(self, points: np.ndarray) -> np.ndarray:  # (n, 2) -> (n,) metres
        """Distance to the nearest wall."""
        distances = []
        for wall in self.walls:
            offset = points - np.array(wall.start_m)
            along = np.clip(offset @ np.array(wall.along), 0, wall.length_m)
            distances.append(np.linalg.norm(offset - along[:, None] * np.array(wall.along), axis=1))
        return np.min(distances, axis=0)

    def ray_m(self, point_m: tuple[float, float], direction: tuple[float, float]) -> float:
        """Distance along a unit vector from a point inside to the first wall; 0 for a point outside."""
        nearest = math.inf
        for wall in self.walls:
            facing = direction[0] * wall.inward[0] + direction[1] * wall.inward[1]
            if facing >= -1e-12:  # parallel, or a wall seen from behind
                continue
            offset = point_m[0] - wall.start_m[0], point_m[1] - wall.start_m[1]
            t = (offset[0] * wall.inward[0] + offset[1] * wall.inward[1]) / -facing
            along = (offset[0] + t * direction[0]) * wall.along[0] + (offset[1] + t * direction[1]) * wall.along[1]
            if t >= 0 and -TOUCH_M <= along <= wall.length_m + TOUCH_M:
                nearest = min(nearest, t)
        return nearest if math.isfinite(nearest) else 0.0

    def contains_box(self, box: Box) -> bool:
        """Whether a box's footprint is inside the outline."""
        x0, y0, x1, y1 = self.bounds
        reach_x, reach_y = box.reach((1, 0)), box.reach((0, 1))
        x, y = box.center_m
        if x - reach_x < x0 - TOUCH_M or x + reach_x > x1 + TOUCH_M:
            return False
        if y - reach_y < y0 - TOUCH_M or y + reach_y > y1 + TOUCH_M:
            return False
        footprint = Box(box.center_m, box.size_m, 0.0, 1.0, box.yaw_rad)
        return all(penetration_m(footprint, notch) <= TOUCH_M for notch in self._notches)


def draw_plan(shape: Shape, width_m: float, depth_m: float, rng: np.random.Generator) -> FloorPlan:
    """An outline of the shape in the rectangle (0, 0) - (width, depth).

    ``L`` lacks one corner; ``alcoves`` lacks two or three corners, or a piece from the middle of a side. A rectangle
    too small for a notch of ``MIN_NOTCH_M`` keeps its corners.
    """
    cuts = {"rectangle": [], "L": _draw_corners(1, rng), "alcoves": _draw_corners(int(rng.integers(2, 4)), rng)}[shape]
    if shape == "alcoves" and rng.random() < 0.35:
        return FloorPlan(_bay_outline(width_m, depth_m, rng))
    sizes = {corner: _draw_notch(width_m, depth_m, len(cuts), rng) for corner in cuts}
    return FloorPlan(_cut_outline(width_m, depth_m, sizes))


def _draw_corners(n: int, rng: np.random.Generator) -> list[int]:
    return sorted(rng.permutation(4)[:n].tolist())


def _draw_notch(width_m: float, depth_m: float, n_cuts: int, rng: np.random.Generator) -> tuple[float, float]:
    """Sides of a corner's notch; (0, 0) where it would leave no passage between two notches."""
    share = 0.5 if n_cuts == 1 else 0.32
    sides = []
    for length in (width_m, depth_m):
        left_for_cuts = (length - MIN_PASSAGE_M) / min(n_cuts, 2)
        highest = min(share * length, left_for_cuts)
        if highest < MIN_NOTCH_M:
            return 0.0, 0.0
        sides.append(float(rng.uniform(MIN_NOTCH_M, highest)))
    return sides[0], sides[1]


def _cut_outline(width: float, depth: float, notch_of: dict[int, tuple[float, float]]) -> np.ndarray:
    """The rectangle less a notch at each named corner (0: origin, then counter-clockwise)."""
    corners = [(0.0, 0.0, 1, 1), (width, 0.0, -1, 1), (width, depth, -1, -1), (0.0, depth, 1, -1)]
    outline = []
    for index, (x, y, inward_x, inward_y) in enumerate(corners):
        notch_x, notch_y = notch_of.get(index, (0.0, 0.0))
        if notch_x == 0:
            outline.append((x, y))
            continue
        on_x, on_y = (x + inward_x * notch_x, y), (x, y + inward_y * notch_y)
        inner = (x + inward_x * notch_x, y + inward_y * notch_y)
        arrives_along_y = index in (0, 2)  # the side before corners 0 and 2 is vertical
        outline += [on_y, inner, on_x] if arrives_along_y else [on_x, inner, on_y]
    return np.array(outline, np.float64)


def _bay_outline(width: float, depth: float, rng: np.random.Generator) -> np.ndarray:
    """A piece cut from the middle of the lower side, which leaves an alcove at either end of it."""
    highest = min(0.3 * depth, depth - MIN_PASSAGE_M)
    left_for_pier = width - 2 * MIN_PASSAGE_M
    if highest < MIN_NOTCH_M or left_for_pier < MIN_NOTCH_M:
        return _cut_outline(width, depth, {})
    pier, high = rng.uniform(MIN_NOTCH_M, min(left_for_pier, 0.4 * width)), rng.uniform(MIN_NOTCH_M, highest)
    left = rng.uniform(MIN_PASSAGE_M, width - MIN_PASSAGE_M - pier)
    notch = [(left, 0.0), (left, high), (left + pier, high), (left + pier, 0.0)]
    return np.array([(0.0, 0.0), *notch, (width, 0.0), (width, depth), (0.0, depth)], np.float64)
