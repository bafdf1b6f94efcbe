"""The shell of a room: floor, ceiling, walls with real holes, strips along walls, and what fills the holes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from roomseg.geometry.mesh import TriangleMesh, join_meshes
from roomseg.labels import PANOROOMS3D
from roomseg.scenes.floorplan import FloorPlan, Wall
from roomseg.scenes.surfaces import Finish, quads

FLOOR, CEILING, WALL = PANOROOMS3D.id("floor"), PANOROOMS3D.id("ceiling"), PANOROOMS3D.id("wall")
OPENING, BASEBOARD, WAINSCOT = PANOROOMS3D.id("door/window"), PANOROOMS3D.id("baseboard"), PANOROOMS3D.id("wainscot")

OpeningKind = Literal["door", "window"]

BASEBOARD_HIGH_M = 0.08
STRIP_PROUD_M = 0.015  # how far baseboards and wainscots stand out from the wall
CORNICE_M = 0.07


@dataclass(frozen=True)
class Opening:
    """A hole in a wall for a door or a window."""

    kind: OpeningKind
    wall: int  # index into FloorPlan.walls
    from_m: float  # along the wall from its start
    to_m: float
    low_m: float
    high_m: float
    depth_m: float  # of the hole, outwards

    @property
    def area_m2(self) -> float:
        return (self.to_m - self.from_m) * (self.high_m - self.low_m)


@dataclass(frozen=True)
class ShellStyle:
    floor: Finish
    wall: Finish
    ceiling: Finish
    trim: Finish  # baseboards, wainscot
    outside: Finish  # what is seen through windows
    wainscot_high_m: float = 0.0  # 0: none
    has_cornice: bool = False


def build_shell(plan: FloorPlan, height_m: float, openings: Sequence[Opening], style: ShellStyle) -> TriangleMesh:
    """Everything of the room that is not an object, single-sided and facing in."""
    meshes = [
        horizontal(plan, 0.0, FLOOR, style.floor, faces_up=True),
        horizontal(plan, height_m, CEILING, style.ceiling, faces_up=False),
        wall_surface(plan, openings, 0.0, height_m, WALL, style.wall),
        wall_strip(plan, openings, 0.0, BASEBOARD_HIGH_M, STRIP_PROUD_M, BASEBOARD, style.trim),
    ]
    if style.wainscot_high_m > 0:
        span = BASEBOARD_HIGH_M, style.wainscot_high_m
        meshes.append(wall_strip(plan, openings, *span, STRIP_PROUD_M, WAINSCOT, style.trim))
    if style.has_cornice:
        meshes.append(wall_strip(plan, [], height_m - CORNICE_M, height_m, CORNICE_M, CEILING, style.ceiling))
    for opening in openings:
        meshes += _hole(plan.walls[opening.wall], opening, style)
    return join_meshes(meshes)


def horizontal(plan: FloorPlan, z_m: float, label: int, finish: Finish, faces_up: bool) -> TriangleMesh:
    """The floor or the ceiling."""
    corners = [[(x0, y0, z_m), (x1, y0, z_m), (x1, y1, z_m), (x0, y1, z_m)] for x0, y0, x1, y1 in plan.rectangles]
    corners_m = np.array(corners) if faces_up else np.array(corners)[:, ::-1]
    return quads(corners_m, label, finish, uv_m=corners_m[..., :2])


def wall_surface(
    plan: FloorPlan,
    openings: Sequence[Opening],
    low_m: float,
    high_m: float,
    label: int,
    finish: Finish,
    proud_m: float = 0.0,
) -> TriangleMesh:
    """All walls between two heights, less the openings, moved ``proud_m`` into the room."""
    corners, uv = [], []
    for index, wall in enumerate(plan.walls):
        in_wall = [opening for opening in openings if opening.wall == index]
        before, after = _corner_reach(plan, index, proud_m)
        for from_m, to_m, low, high in wall_pieces(-before, wall.length_m + after, low_m, high_m, in_wall):
            corners.append(_upright(wall, from_m, to_m, low, high, proud_m))
            right, left = wall.length_m - from_m, wall.length_m - to_m
            uv.append([(left, low), (right, low), (right, high), (left, high)])
    return quads(np.array(corners), label, finish, np.array(uv))


def wall_pieces(
    start_m: float, end_m: float, low_m: float, high_m: float, openings: Sequence[Opening]
) -> list[tuple[float, float, float, float]]:
    """The stretch of one wall less its openings, as rectangles (from, to, low, high)."""
    pieces, done = [], start_m
    for opening in sorted(openings, key=lambda o: o.from_m):
        below, above = min(opening.low_m, high_m), max(opening.high_m, low_m)
        if below >= high_m or above <= low_m:
            continue
        pieces.append((done, opening.from_m, low_m, high_m))
        pieces.append((opening.from_m, opening.to_m, low_m, below))
        pieces.append((opening.from_m, opening.to_m, above, high_m))
        done = opening.to_m
    pieces.append((done, end_m, low_m, high_m))
    return [piece for piece in pieces if piece[1] - piece[0] > 1e-9 and piece[3] - piece[2] > 1e-9]


def wall_strip(
    plan: FloorPlan,
    openings: Sequence[Opening],
    low_m: float,
    high_m: float,
    proud_m: float,
    label: int,
    finish: Finish,
) -> TriangleMesh:
    """A strip that stands out from the walls, with its ledges above and below."""
    ledges = []
    for index, wall in enumerate(plan.walls):
        in_wall = [opening for opening in openings if opening.wall == index]
        before, after = _corner_reach(plan, index, proud_m)
        for from_m, to_m, low, high in wall_pieces(-before, wall.length_m + after, low_m, high_m, in_wall):
            (x0, y0), (x1, y1) = wall.at(from_m, 0), wall.at(to_m, 0)
            (x2, y2), (x3, y3) = wall.at(to_m, proud_m), wall.at(from_m, proud_m)
            ledges.append([(x0, y0, high), (x1, y1, high), (x2, y2, high), (x3, y3, high)])
            ledges.append([(x3, y3, low), (x2, y2, low), (x1, y1, low), (x0, y0, low)])
    front = wall_surface(plan, openings, low_m, high_m, label, finish, proud_m)
    return join_meshes([front, quads(np.array(ledges), label, finish)])


def _corner_reach(plan: FloorPlan, index: int, proud_m: float) -> tuple[float, float]:
    """How far a strip goes on past its wall's start and end: ``proud_m`` round corners that point into the room."""
    walls = plan.walls
    previous, wall, following = walls[index - 1], walls[index], walls[(index + 1) % len(walls)]
    return (
        proud_m if _turns_right(previous, wall) else 0.0,
        proud_m if _turns_right(wall, following) else 0.0,
    )


def _turns_right(wall: Wall, following: Wall) -> bool:
    return wall.along[0] * following.along[1] - wall.along[1] * following.along[0] < 0


def _upright(
    wall: Wall, from_m: float, to_m: float, low_m: float, high_m: float, inward_m: float
) -> list[tuple[float, float, float]]:
    """A rectangle parallel to a wall, facing in."""
    (x0, y0), (x1, y1) = wall.at(from_m, inward_m), wall.at(to_m, inward_m)
    return [(x1, y1, low_m), (x0, y0, low_m), (x0, y0, high_m), (x1, y1, high_m)]


def _hole(wall: Wall, opening: Opening, style: ShellStyle) -> list[TriangleMesh]:
    """The four sides of a hole, and a plane at its far end: daylight behind a window, a dark hall behind a door."""
    near, far = 0.0, -opening.depth_m
    low, high = opening.low_m, opening.high_m
    (x0, y0), (x1, y1) = wall.at(opening.from_m, near), wall.at(opening.to_m, near)
    (x2, y2), (x3, y3) = wall.at(opening.to_m, far), wall.at(opening.from_m, far)
    sides = [
        [(x1, y1, low), (x0, y0, low), (x3, y3, low), (x2, y2, low)],
        [(x0, y0, high), (x1, y1, high), (x2, y2, high), (x3, y3, high)],
        [(x0, y0, low), (x0, y0, high), (x3, y3, high), (x3, y3, low)],
        [(x2, y2, low), (x2, y2, high), (x1, y1, high), (x1, y1, low)],
    ]
    back = _upright(wall, opening.from_m, opening.to_m, low, high, far)
    behind = style.outside if opening.kind == "window" else style.trim
    return [
        quads(np.array(sides), WALL, Finish(style.wall.color)),
        quads(np.array([back]), OPENING, behind),
    ]
