"""Where a scan lies: its units and its way up, by rules that are told to the user, and its bounds without strays.

Up: of Y and Z the axis along which more of the surface faces (floor, ceiling, table tops) and along which the scan is
shorter and more of a room's height, and of its two ends that one away from what lies flat, for furniture stands on
floors; glTF is Y up by its specification. Units: the one of m, cm, mm in which the scan's height is nearest to a
room's, or ft or in where only they make it a room's. Bounds: what is dense enough to be a surface.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.spatial import cKDTree

from roomseg.errors import UserError
from roomseg.scenes.user_scan.samples import Samples

Unit = Literal["m", "cm", "mm", "ft", "in"]
UpAxis = Literal["+x", "+y", "+z", "-x", "-y", "-z"]

UNITS: tuple[Unit, ...] = get_args(Unit)
METRES: dict[str, float] = {"m": 1.0, "cm": 0.01, "mm": 0.001, "ft": 0.3048, "in": 0.0254}
METRIC: tuple[Unit, ...] = ("m", "cm", "mm")
ROOM_HEIGHT_M = 2.6
USUAL_HEIGHT_M = (2.0, 4.5)  # of rooms: in no two units is the same height within it
LEAST_HEIGHT_M, MOST_HEIGHT_M = 0.25, 25.0
NEIGHBOUR, FAR_APART = 9, 8.0  # a stray's 9th neighbour is so many times as far as that of the densest points
FACES_ALONG = math.cos(math.radians(20.0))
USUAL_UP = {".glb": "+y", ".gltf": "+y", ".obj": "+y", ".ply": "+z"}  # by specification the first two, else by custom
SPECIFIED = (".glb", ".gltf")
CUSTOM_WEIGHT = 1.3  # how much more the other axis, or the other end of it, must speak for itself
UPRIGHT_WEIGHT = 1.15  # so much more lies flat in the lower half of a room that surely stands upright
CELL_M, GRAIN_M = 0.2, 0.02
FEWEST_GRAINS, GRAINS_SHARE = (2, 8), 0.08  # of a cell that is surface: of the fullest, but within these bounds
FULLEST = 100  # cells
FEWEST_NEIGHBOURS = 4  # of the 26 cells around one that is surface
CUT_PERCENT = 0.5  # of the cells, at each end of each axis
MARGIN_M = 0.1
MAX_EXTENT_M = 120.0
FEWEST_POINTS = 10  # of fewer nothing can be found out


@dataclass(frozen=True)
class Placement:
    to_room: np.ndarray  # (4, 4) float64: the file's coordinates to metres, +Z up, the lowest corner near 0
    bounds: np.ndarray  # (2, 3) metres in the room, of what is dense enough to be a surface
    units: Unit
    up: UpAxis
    reasons: tuple[str, str]  # why these units, why this up
    warnings: tuple[str, ...] = ()  # what of it is doubtful

    def apply(self, points: np.ndarray) -> np.ndarray:  # (N, 3) -> (N, 3) metres
        return points @ self.to_room[:3, :3].T + self.to_room[:3, 3]

    def inside(self, samples: Samples) -> Samples:
        """Those within the bounds, in the room's coordinates."""
        points = self.apply(samples.points)
        kept = ((points >= self.bounds[0]) & (points <= self.bounds[1])).all(axis=1)
        normals = samples.normals[kept] @ self.to_room[:3, :3].T
        return Samples(points[kept], normals / np.linalg.norm(normals, axis=1, keepdims=True))


def place(samples: Samples, suffix: str, units: Unit | None, up: UpAxis | None) -> Placement:
    """What is None is found out; raises ``UserError`` for a scan of no size, no plausible unit or too large."""
    if not len(samples.points):
        raise UserError("got a scan whose faces have no area; expected a mesh of a room, or points without faces")
    if len(samples.points) < FEWEST_POINTS:
        raise UserError(
            f"got a cloud of {len(samples.points)} finite points; expected a room, {FEWEST_POINTS} points at the "
            "least: was it exported whole?"
        )
    core = _without_strays(samples)
    chosen_up, why_up = (up, "as given") if up else _found_up(core, suffix)
    extent, axis = np.ptp(np.percentile(core.points, (2, 98), axis=0), axis=0), "xyz".index(chosen_up[1])
    if not np.delete(extent, axis).max() > 0:
        raise UserError("got a scan whose points all lie in one place; expected a room: scan it again")
    height, warnings = float(extent[axis]), []
    unit, why_unit = (units, "as given") if units else _found_units(height, suffix)
    if not units:
        warnings += _doubts_about_units(height, unit)
    if not up and _is_usual(height * METRES[unit]):  # what is no room, a table say, need not have its weight below
        chosen_up, why_up, doubts = _right_end_up(core, chosen_up, why_up, suffix)
        warnings += doubts
    to_room, bounds = _moved(samples, core, METRES[unit] * _rotation(chosen_up))
    return Placement(to_room, bounds, unit, chosen_up, (why_unit, why_up), tuple(warnings))


def _moved(samples: Samples, core: Samples, turn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # (4, 4), (2, 3)
    """The scaled turn with the shift that puts the lowest corner of the bounds at 0, and the bounds there."""
    middle = np.percentile(core.points @ turn.T, (2, 98), axis=0).mean(axis=0)
    bounds = _bounds(samples.points @ turn.T - middle)
    to_room = np.eye(4)
    to_room[:3, :3], to_room[:3, 3] = turn, -middle - bounds[0]
    return to_room, bounds - bounds[0]


def _rotation(up: UpAxis) -> np.ndarray:  # (3, 3)
    """The turn that takes the axis to +Z and, of the other two, keeps what it can."""
    axis, sign = "xyz".index(up[1]), 1.0 if up[0] == "+" else -1.0
    rows = np.roll(np.eye(3), -axis - 1, axis=0)  # the axes in a ring, the one that is up last
    if up[1] == "y":
        rows = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    return rows if sign > 0 else np.diag([1.0, -1.0, -1.0]) @ rows


def _without_strays(samples: Samples) -> Samples:
    """Those whose neighbours are near, in any unit: strays, even where they are many, lie far apart."""
    gap = cKDTree(samples.points).query(samples.points, [NEIGHBOUR], workers=-1)[0][:, 0]
    kept = gap <= FAR_APART * np.percentile(gap, 2)
    return Samples(samples.points[kept], samples.normals[kept])


def _found_up(samples: Samples, suffix: str) -> tuple[UpAxis, str]:
    usual: UpAxis = "+y" if USUAL_UP.get(suffix) == "+y" else "+z"
    if suffix in SPECIFIED:
        return usual, "as glTF specifies"
    says = {axis: _speaks_for(samples, "xyz".index(axis[1])) for axis in ("+y", "+z")}
    other: UpAxis = "+z" if usual == "+y" else "+y"
    if says[other] > CUSTOM_WEIGHT * says[usual]:
        return other, f"more of it faces along {other[1].upper()}, and it is lower that way"
    return usual, f"usual in {suffix[1:].upper()} files, and its shape does not speak against it"


def _speaks_for(samples: Samples, axis: int) -> float:
    facing = (np.abs(samples.normals[:, axis]) > FACES_ALONG).mean()
    low, high = np.percentile(samples.points[:, axis], (2, 98))
    height = max(float(high - low), 1e-9)
    plausible = math.exp(-min(_unlike_a_room(height, unit) for unit in METRIC) / 0.5)
    return float(facing + 0.02) / height * plausible


def _right_end_up(core: Samples, up: UpAxis, why: str, suffix: str) -> tuple[UpAxis, str, list[str]]:
    """``up`` or its opposite, why, and what is doubtful: more of a room lies flat near its floor than its ceiling."""
    axis, sign = "xyz".index(up[1]), 1.0 if up[0] == "+" else -1.0
    flat = sign * core.points[np.abs(core.normals[:, axis]) > FACES_ALONG, axis]
    middle = np.percentile(sign * core.points[:, axis], (2, 98)).mean()
    below, above = int((flat < middle).sum()), int((flat > middle).sum())
    if below > UPRIGHT_WEIGHT * above:
        return up, why, []
    other: UpAxis = "-y" if up == "+y" else "-z"
    if above <= CUSTOM_WEIGHT * below:
        guess = (
            f"that {up.upper()} and not {other.upper()} is up is a guess: as much lies flat near the one end as near "
        )
        return up, why, [] if suffix in SPECIFIED else [f"{guess}the other; if it is upside down, say --up {other}"]
    if suffix in SPECIFIED:
        return (
            up,
            why,
            [f"more of it lies flat near its ceiling than near its floor; if it is upside down, say --up {other}"],
        )
    why += "; turned over: more of it lies flat at that end, and furniture stands on floors"
    return other, why, []


def _unlike_a_room(height: float, unit: Unit) -> float:
    return abs(math.log(height * METRES[unit] / ROOM_HEIGHT_M))


def _is_usual(height_m: float) -> bool:
    return USUAL_HEIGHT_M[0] <= height_m <= USUAL_HEIGHT_M[1]


def _found_units(height: float, suffix: str) -> tuple[Unit, str]:
    units = METRIC if suffix in SPECIFIED else UNITS
    usual = [unit for unit in units if _is_usual(height * METRES[unit])]
    unit = usual[0] if usual else min(METRIC, key=lambda unit: _unlike_a_room(max(height, 1e-9), unit))
    height_m = height * METRES[unit]
    if not LEAST_HEIGHT_M <= height_m <= MOST_HEIGHT_M:
        raise UserError(
            f"got a scan that is {height:.3g} units high; expected a room in {', '.join(UNITS)}: "
            "say its unit by --units, or its way up by --up"
        )
    return unit, f"it is then {height_m:.2f} m high"


def _doubts_about_units(height: float, unit: Unit) -> list[str]:
    if unit not in METRIC:
        return [f"taken to be in {unit}, for it is {height:.2f} units high; if that is another unit, say it by --units"]
    if _is_usual(height * METRES[unit]):
        return []
    fits = [
        f" (in {other} it is {height * METRES[other]:.2f} m)" for other in UNITS if _is_usual(height * METRES[other])
    ]
    usual = "{:g} to {:g} m of a room".format(*USUAL_HEIGHT_M)
    it_is = f"it is {height * METRES[unit]:.2f} m high, expected {usual}"
    return [f"{it_is}{''.join(fits)}: are units and up right?"]


def _bounds(points: np.ndarray) -> np.ndarray:  # (M, 3) metres -> (2, 3)
    """Of the cells that hold enough grains; a stray has a cell for itself."""
    near = points[(np.abs(points) < 1e6).all(axis=1)]
    grains = np.unique(np.floor(near / GRAIN_M).astype(np.int64), axis=0)
    cells, count = np.unique(np.floor(grains * (GRAIN_M / CELL_M) + 1e-6).astype(np.int64), axis=0, return_counts=True)
    full = np.sort(count)[-min(FULLEST, len(count)) :][0]
    dense = cells[count >= np.clip(GRAINS_SHARE * full, *FEWEST_GRAINS)]
    near_each = cKDTree(dense).query_ball_point(dense, 1.1, p=np.inf, return_length=True) if len(dense) else dense[:, 0]
    kept = dense[near_each > FEWEST_NEIGHBOURS]
    if not len(kept):
        _check_extent(np.ptp(np.percentile(points, (2, 98), axis=0), axis=0))
        raise UserError(
            f"got {len(points):,} points that lie too far apart for a surface (fewer than {FEWEST_GRAINS[0]} in any "
            f"{CELL_M * 100:.0f} cm): expected a room scanned closely; if its unit is wrong, say it by --units"
        )
    lower, upper = np.percentile(kept * CELL_M, (CUT_PERCENT, 100 - CUT_PERCENT), axis=0)
    bounds = np.stack([lower - MARGIN_M, upper + CELL_M + MARGIN_M])
    _check_extent(bounds[1] - bounds[0])
    return bounds


def _check_extent(extent: np.ndarray) -> None:  # (3,) metres
    if extent.max() > MAX_EXTENT_M:
        size = " x ".join(f"{side:.0f}" for side in extent)
        raise UserError(
            f"got a scan of {size} m; expected at most {MAX_EXTENT_M:.0f} m a side: cut it into parts, or, if its unit "
            "is wrong, say it by --units"
        )
