"""The generator: a furnished room from a seed.

A room depends on its seed alone: not on the rooms before it, nor on how many processes make them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from roomseg.config import RoomType
from roomseg.errors import UserError
from roomseg.geometry.mesh import TriangleMesh, join_meshes
from roomseg.scenes.floorplan import FloorPlan, Shape, draw_plan
from roomseg.scenes.furnisher import Furnisher
from roomseg.scenes.furniture import FurnitureItem, FurnitureLibrary
from roomseg.scenes.layout import Layout, PlacedObject, placed_mesh
from roomseg.scenes.openings import FittedOpening, draw_openings, keep_free_zones
from roomseg.scenes.room_types import MIN_OBJECTS, furnish
from roomseg.scenes.scene_room import SceneRoom
from roomseg.scenes.shell import ShellStyle, build_shell
from roomseg.scenes.surfaces import Finish
from roomseg.scenes.textures import Texture
from roomseg.scenes.viewpoints import CLEARANCE_M, camera_poses, panorama_cameras

__all__ = ["PlacedObject", "SceneRoom", "camera_poses", "generate_room", "panorama_cameras"]

MAX_ATTEMPTS = 20
MIN_FREE_SHARE = 0.15  # of the floor's bounds, at eye height
EYE_HEIGHT_M = 1.6
SHAPES: tuple[Shape, ...] = ("rectangle", "L", "alcoves")
SHAPE_SHARES: dict[RoomType, tuple[float, float, float]] = {
    "living_room": (0.3, 0.35, 0.35),
    "bedroom": (0.45, 0.3, 0.25),
    "office": (0.45, 0.3, 0.25),
    "kitchen": (0.7, 0.2, 0.1),
    "bathroom": (0.8, 0.15, 0.05),
}
SIZE_SHARES: dict[RoomType, tuple[float, float]] = {  # the part of the range of sides that a type takes
    "living_room": (0.4, 1.0),
    "bedroom": (0.1, 0.6),
    "office": (0.1, 0.7),
    "kitchen": (0.0, 0.5),
    "bathroom": (0.0, 0.25),
}


def generate_room(
    seed: Sequence[int],
    house_id: str,
    index: int,
    room_type: RoomType,
    size_range_m: tuple[float, float],
    furniture: FurnitureLibrary,
    textures: tuple[Sequence[Texture], Sequence[Texture]],
) -> SceneRoom:
    """The room of a house that ``seed`` (non-negative numbers, such as global seed, house and room) stands for.

    ``size_range_m`` has the shortest and longest side of its bounding rectangle; ``textures``, floors' and walls'.
    Raises ``UserError`` where the sides are too short for ``MIN_OBJECTS`` objects.
    """
    for attempt in range(MAX_ATTEMPTS):
        rng = np.random.default_rng(np.random.SeedSequence([*seed, index, attempt]))
        room = _attempt(rng, house_id, index, room_type, size_range_m, furniture, textures)
        if room is not None:
            return room
    raise UserError(
        f"a {room_type} of sides {size_range_m[0]:g}-{size_range_m[1]:g} m did not hold {MIN_OBJECTS} objects in "
        f"{MAX_ATTEMPTS} attempts; set render.room_size_m higher"
    )


def _attempt(
    rng: np.random.Generator,
    house_id: str,
    index: int,
    room_type: RoomType,
    size_range_m: tuple[float, float],
    furniture: FurnitureLibrary,
    textures: tuple[Sequence[Texture], Sequence[Texture]],
) -> SceneRoom | None:
    """One room; None where too few objects fit or cameras find no space."""
    plan, height_m = _draw_space(room_type, size_range_m, rng)
    fitted = draw_openings(plan, height_m, room_type, furniture, rng)
    openings = [each.opening for each in fitted]
    layout = Layout(plan, height_m)
    layout.zones += keep_free_zones(plan, openings)
    style = _draw_style(room_type, textures, rng)
    furnish(Furnisher(layout, openings, furniture, rng), room_type)
    if len(layout.placed) < MIN_OBJECTS:
        return None
    objects = tuple(layout.placed)
    room = SceneRoom(
        id=f"{house_id}-{index}",
        house_id=house_id,
        room_type=room_type,
        mesh=join_meshes([build_shell(plan, height_m, openings, style), *_models(objects, fitted, furniture)]),
        plan=plan,
        height_m=height_m,
        credits=_credits([o.item for o in objects] + [each.item for each in fitted], style),
        objects=objects,
        openings=tuple(openings),
    )
    return room if _free_share(room) >= MIN_FREE_SHARE else None


def _draw_space(
    room_type: RoomType, size_range_m: tuple[float, float], rng: np.random.Generator
) -> tuple[FloorPlan, float]:
    """Outline and height."""
    low, high = SIZE_SHARES[room_type]
    width, depth = size_range_m[0] + (size_range_m[1] - size_range_m[0]) * rng.uniform(low, high, 2)
    shape = SHAPES[rng.choice(len(SHAPES), p=SHAPE_SHARES[room_type])]
    height_m = rng.uniform(2.5, 2.7) if rng.random() < 0.8 else rng.uniform(2.4, 2.9)
    return draw_plan(shape, float(width), float(depth), rng), float(height_m)


def _draw_style(
    room_type: RoomType, textures: tuple[Sequence[Texture], Sequence[Texture]], rng: np.random.Generator
) -> ShellStyle:
    floors, walls = textures
    red, green, blue = rng.integers(195, 250, 3).tolist()
    wainscot = 0.0
    if room_type != "kitchen" and rng.random() < 0.25:
        wainscot = float(rng.uniform(0.7, 1.1))
    return ShellStyle(
        floor=Finish((170, 140, 110), floors[int(rng.integers(len(floors)))]),
        wall=Finish((red, green, blue), walls[int(rng.integers(len(walls)))] if rng.random() < 0.6 else None),
        ceiling=Finish((int(rng.integers(235, 251)),) * 3),
        trim=Finish(_trim_color(rng)),
        outside=Finish((168, 200, 232)),
        wainscot_high_m=wainscot,
        has_cornice=bool(rng.random() < 0.4),
    )


def _trim_color(rng: np.random.Generator) -> tuple[int, int, int]:
    """White paint, or wood."""
    if rng.random() < 0.6:
        return (int(rng.integers(225, 250)),) * 3
    shade = rng.uniform(0.5, 1.1)
    return int(165 * shade), int(120 * shade), int(80 * shade)


def _models(
    objects: Sequence[PlacedObject], fitted: Sequence[FittedOpening], furniture: FurnitureLibrary
) -> list[TriangleMesh]:
    in_holes = [PlacedObject(each.item, each.box) for each in fitted]
    return [placed_mesh(placed, furniture.mesh(placed.item)) for placed in [*objects, *in_holes]]


def _credits(items: Sequence[FurnitureItem], style: ShellStyle) -> tuple[str, ...]:
    models = {f"{item.creator}, {item.library}, {item.licence}" for item in items}
    textures = {finish.texture.credit for finish in (style.floor, style.wall) if finish.texture is not None}
    return tuple(sorted(models | textures))


def _free_share(room: SceneRoom) -> float:
    """The part of the bounding rectangle where a camera could stand at eye height, on a 20 cm grid."""
    x0, y0, x1, y1 = room.plan.bounds
    grid = np.stack(np.meshgrid(np.arange(x0, x1, 0.2), np.arange(y0, y1, 0.2)), axis=-1).reshape(-1, 2)
    points = np.column_stack([grid, np.full(len(grid), EYE_HEIGHT_M)])
    return float(room.is_free(points, CLEARANCE_M).mean())
