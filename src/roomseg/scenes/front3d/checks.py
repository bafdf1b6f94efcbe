"""Why a room is not taken: each reason a short sentence with its numbers.

The paper removed rooms with unlabelled furniture by hand; these checks do that, and find what else spoils a room.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from roomseg.errors import UserError
from roomseg.front3d_names import MERGED
from roomseg.labels import PANOROOMS3D
from roomseg.scenes.boxes import Box
from roomseg.scenes.front3d.classes import furniture_raw_id, mesh_raw_id
from roomseg.scenes.front3d.furniture import PlacedModel, furniture_of
from roomseg.scenes.front3d.house import Furniture, House, HouseRoom, Placement
from roomseg.scenes.front3d.library import MODELS, plain_name
from roomseg.scenes.front3d.models import ModelStore
from roomseg.scenes.front3d.room import Front3dRoom
from roomseg.scenes.polygons import signed_area

MIN_FURNITURE = 2
SCALE = (1e-5, 20.0)  # a thin lamp's can be 10 and right
LONGEST_SIDE_M = 10.0  # of a placed piece of furniture
MIN_FLOOR_M2 = 2.0
MIN_CEILING_SHARE = 0.5  # of the floor that has a ceiling over it
MAX_OVERLAP = 0.3  # of the smaller of two boxes that is in the other
ON_FLOOR_M = 0.1  # what begins above it stands or hangs on something; what ends below it is a rug

SOLID = ("appliance", "basin", "bath", "bed", "cabinet", "chair", "sofa", "stool", "table", "wardrobe")
SEATS = ("chair", "sofa", "stool")
DESKS = ("cabinet/shelf/desk",)  # cabinets that one sits at
HOLLOW = ("bunk bed", "kids bed", "l-shaped sofa")  # whose box holds room for others


def faults_before_loading(house: House, room: HouseRoom, models: ModelStore) -> list[str]:
    """Reasons that the house file alone has; none: the room can be assembled."""
    faults = list(_building_faults(house, room))
    furniture = list(furniture_of(house, room, models))
    for piece, placement in furniture:
        faults += _furniture_faults(piece, placement, models)
    if len(furniture) < MIN_FURNITURE:
        faults.append(f"too little furniture: {len(furniture)}; expected {MIN_FURNITURE} at least")
    return list(dict.fromkeys(faults))


def faults_of_room(room: Front3dRoom) -> list[str]:
    """Reasons that only the assembled room shows."""
    faults = []
    if room.floor.area_m2 < MIN_FLOOR_M2:
        faults.append(f"no floor: it has {room.floor.area_m2:.1f} m2; expected {MIN_FLOOR_M2:g} m2 at least")
    elif room.floor.covered_share < MIN_CEILING_SHARE:
        share = room.floor.covered_share
        faults.append(f"no ceiling over {1 - share:.0%} of the floor; expected {1 - MIN_CEILING_SHARE:.0%} at most")
    for model in room.furniture:
        longest = max(*model.box.size_m, model.box.high_m - model.box.low_m)
        if longest > LONGEST_SIDE_M:
            faults.append(f"absurd scale: a {model.name} ({model.jid}) is {longest:.1f} m long")
    if len(room.furniture) < MIN_FURNITURE:
        faults.append(f"too little furniture: {len(room.furniture)} in the room; expected {MIN_FURNITURE} at least")
    return faults + list(_interpenetrations(room.furniture))


def overlap_share(a: Box, b: Box) -> float:
    """The part of the smaller box that is in the other, by volume."""
    height = min(a.high_m, b.high_m) - max(a.low_m, b.low_m)
    smaller = min(box.size_m[0] * box.size_m[1] * (box.high_m - box.low_m) for box in (a, b))
    if height <= 0 or smaller <= 0:
        return 0.0
    return abs(signed_area(_clipped(_footprint(a), _footprint(b)))) * height / smaller


def _building_faults(house: House, room: HouseRoom) -> Iterator[str]:
    classes = set()
    for child in room.children:
        if child.ref in house.meshes:
            try:
                classes.add(PANOROOMS3D.names[MERGED[mesh_raw_id(house.meshes[child.ref].type)]])
            except UserError as error:
                yield str(error)
    for needed in ("floor", "ceiling"):
        if needed not in classes:
            yield f"no {needed}: none of the room's meshes is one"


def _furniture_faults(piece: Furniture, placement: Placement, models: ModelStore) -> Iterator[str]:
    try:
        furniture_raw_id(piece.category, piece.title)
    except UserError as error:
        yield f"unlabelled furniture: {piece.jid}: {error}"
    try:
        if not models.has(plain_name(piece.jid)):
            yield f"broken model: {piece.jid} was released, but is not in {MODELS}"
    except UserError as error:
        yield f"broken model: {error}"
    low, high = SCALE
    if not all(low <= abs(scale) <= high for scale in placement.scale):
        yield f"absurd scale: {piece.jid} is scaled by {list(placement.scale)}; expected {low:g} to {high:g}"


def _interpenetrations(furniture: Sequence[PlacedModel]) -> Iterator[str]:
    """Pairs that stand on the floor and are far in each other, but for those that may: a chair under a table."""
    standing = [model for model in furniture if _stands(model)]
    for a, b in combinations(standing, 2):
        share = 0.0 if _may_overlap(a, b) else overlap_share(a.box, b.box)
        if share > MAX_OVERLAP:
            yield (
                f"interpenetration: {share:.0%} of a {a.name} ({a.jid}) or a {b.name} ({b.jid}) is in the other; "
                f"expected {MAX_OVERLAP:.0%} at most"
            )


def _stands(model: PlacedModel) -> bool:
    solid = PANOROOMS3D.names[model.label] in SOLID and model.name not in HOLLOW
    return solid and model.box.low_m <= ON_FLOOR_M <= model.box.high_m


def _may_overlap(a: PlacedModel, b: PlacedModel) -> bool:
    """Whether one is a seat and the other is sat at."""

    def is_sat_at(model: PlacedModel) -> bool:
        return PANOROOMS3D.names[model.label] == "table" or model.name in DESKS

    def is_seat(model: PlacedModel) -> bool:
        return PANOROOMS3D.names[model.label] in SEATS

    return (is_seat(a) and is_sat_at(b)) or (is_seat(b) and is_sat_at(a))


def _footprint(box: Box) -> np.ndarray:  # (4, 2) counter-clockwise
    half_x, half_y = box.size_m[0] / 2, box.size_m[1] / 2
    return np.array([box.at(x * half_x, y * half_y) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))])


def _clipped(polygon: np.ndarray, by: np.ndarray) -> np.ndarray:  # (n, 2), (m, 2) convex, counter-clockwise -> (k, 2)
    """What of a polygon is in another: cut at each side of the other in turn."""
    for start, end in zip(by, np.roll(by, -1, axis=0), strict=True):
        if not len(polygon):
            break
        along = end - start
        left = along[0] * (polygon[:, 1] - start[1]) - along[1] * (polygon[:, 0] - start[0])  # (n,) > 0: inside
        kept = []
        for k in range(len(polygon)):
            if left[k - 1] * left[k] < 0:
                kept.append(polygon[k - 1] + (polygon[k] - polygon[k - 1]) * left[k - 1] / (left[k - 1] - left[k]))
            if left[k] >= 0:
                kept.append(polygon[k])
        polygon = np.array(kept).reshape(-1, 2)
    return polygon
