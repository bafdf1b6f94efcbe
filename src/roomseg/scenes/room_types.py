"""What each type of room is furnished with: the essential groups first, then what fills it."""

from __future__ import annotations

from collections.abc import Callable

from roomseg.config import RoomType
from roomseg.scenes.furnisher import ANY_SIZE, Furnisher, Size
from roomseg.scenes.furniture import Kind
from roomseg.scenes.groups import bed_group, desk_group, kitchen_run, lounge_group, screen_group, table_group

Filler = Callable[[Furnisher], object]

MIN_OBJECTS = 8
WANTED_A_M2 = 0.6, 1.2  # objects on a square metre of floor, at random
WANTED = 12, 24  # and the least and the most of them; a small room may not take so many
MAX_FILL_TRIES = 50
PLATFORM_M2, STAIR_M2, TWO_LAMPS_M2 = 11.0, 13.0, 20.0  # floors larger than this get one
PICTURE_LOW_M = 1.2
HEADROOM_M = 1.85


def furnish(f: Furnisher, room_type: RoomType) -> None:
    """Fill a layout: the building's own parts, the room's essential furniture, then others up to a random number."""
    _building_parts(f, room_type)
    ESSENTIALS[room_type](f)
    for _ in range(1 if f.plan.area_m2 < TWO_LAMPS_M2 else 2):
        f.from_ceiling("ceiling_lamp", HEADROOM_M)
    wanted = min(max(WANTED[0], round(f.plan.area_m2 * f.rng.uniform(*WANTED_A_M2))), WANTED[1])
    fillers = FILLERS[room_type]
    for _ in range(MAX_FILL_TRIES):
        if len(f.layout.placed) >= wanted:
            break
        fillers[int(f.rng.integers(len(fillers)))](f)


def _building_parts(f: Furnisher, room_type: RoomType) -> None:
    """Columns, pipes, flues, beams, stairs, platforms and heating: they come before the furniture."""
    if f.chance(0.25):
        f.floor_to_ceiling("column", (0.6, 0.6))
    if f.chance({"bathroom": 0.6, "kitchen": 0.4}.get(room_type, 0.08)):
        f.floor_to_ceiling("sewer_pipe", (0.5, 0.5))
    if f.chance({"kitchen": 0.4, "living_room": 0.25}.get(room_type, 0.05)):
        f.floor_to_ceiling("flue", (0.8, 0.8))
    if f.chance(0.25):
        f.across_ceiling("beam")
    if room_type in ("living_room", "office") and f.plan.area_m2 > STAIR_M2 and f.chance(0.2):
        f.in_corner("stair", (2.4, 3.2, 3.2))
    if room_type in ("living_room", "bedroom") and f.plan.area_m2 > PLATFORM_M2 and f.chance(0.3):
        platform = f.in_corner("custom_platform", (2.4, 2.4, 0.6))
        if platform is not None:
            f.on_top("plant" if f.chance(0.5) else "floor_object", platform, (0.8, 0.8, 1.6))
    if f.chance(0.6):
        f.at_window("radiator", under=True, within=(2.0, 0.35, 1.0))
    if f.chance(0.35):
        f.at_window("curtain", under=False, within=(2.6, 0.4, 2.3))


def _bedroom(f: Furnisher) -> None:
    if f.chance(0.8):
        bed_group(f)
    else:
        f.against_wall("bunk_bed" if f.chance(0.6) else "crib", (2.4, 2.4, 2.3)) or bed_group(f)
        f.on_floor("toy", (1.0, 1.0, 1.2))
    f.against_wall("wardrobe", (2.6, 0.9, 2.5), access_m=0.5)
    chest = f.against_wall("dresser" if f.chance(0.6) else "dressing_table", (1.8, 0.8, 1.8), access_m=0.4)
    if chest is not None:
        _decorate(f, chest.kind, 1)
    if f.chance(0.5):
        desk_group(f)


def _living_room(f: Furnisher) -> None:
    screen_group(f)
    if f.chance(0.6):
        table_group(f)
    f.against_wall("bookcase", (2.5, 0.7, 2.4), access_m=0.3)
    if f.chance(0.35):
        f.against_wall("fireplace", (2.0, 0.8, 2.4), access_m=0.5)
    if f.chance(0.4):
        f.against_wall("piano", (2.0, 2.0, 1.6), access_m=0.5)


def _office(f: Furnisher) -> None:
    for _ in range(min(max(1, int(f.plan.area_m2 / f.rng.uniform(6.0, 14.0))), 4)):
        desk_group(f)
    f.against_wall("bookcase", (2.5, 0.7, 2.4), access_m=0.3)
    cabinet = f.against_wall("cabinet", (1.8, 0.8, 1.8), access_m=0.4)
    if cabinet is not None:
        f.on_top("printer" if f.chance(0.7) else "small_plant", cabinet, (0.7, 0.7, 0.6))
    if f.chance(0.3):
        table_group(f)


def _kitchen(f: Furnisher) -> None:
    run: list[Kind] = ["refrigerator", "kitchen_cabinet", "oven", "kitchen_cabinet", "sink", "kitchen_cabinet"]
    extras: tuple[Kind, ...] = ("dishwasher", "kitchen_tall_cabinet", "kitchen_cabinet", "washing_machine")
    kitchen_run(f, [*run, *(kind for kind in extras if f.chance(0.5))])
    table_group(f)


def _bathroom(f: Furnisher) -> None:
    f.in_corner("bath" if f.chance(0.6) else "shower", (2.0, 1.6, 2.3)) or f.in_corner("shower")
    basin = f.against_wall("washbasin", (1.8, 0.8, 1.3), access_m=0.4)
    if basin is not None:
        f.hang_above("mirror", basin, 0.15, (1.4, 0.3, 1.1))
    f.against_wall("toilet", (0.8, 0.9, 1.2), access_m=0.4)
    if f.chance(0.4):
        f.against_wall("bidet", (0.7, 0.8, 0.8), access_m=0.3)


def _decorate(f: Furnisher, kind: Kind, n: int = 1) -> None:
    """Small things on one of the pieces of a kind."""
    pieces = [placed for placed in f.layout.placed if placed.kind == kind]
    for _ in range(n if pieces else 0):
        piece = pieces[int(f.rng.integers(len(pieces)))]
        kinds: tuple[Kind, ...] = ("small_object", "small_plant", "table_lamp", "sculpture", "speaker")
        f.on_top(kinds[int(f.rng.integers(len(kinds)))], piece, (0.45, 0.45, 0.6))


def _wall(kind: Kind, within: Size = ANY_SIZE, access_m: float = 0.3) -> Filler:
    return lambda f: f.against_wall(kind, within, access_m)


def _hung(kind: Kind, low_m: float, within: Size = ANY_SIZE) -> Filler:
    return lambda f: f.hang(kind, low_m, within)


def _corner(kind: Kind, within: Size = ANY_SIZE) -> Filler:
    return lambda f: f.in_corner(kind, within)


def _floor(kind: Kind, within: Size = ANY_SIZE) -> Filler:
    return lambda f: f.on_floor(kind, within)


def _on(kind: Kind) -> Filler:
    return lambda f: _decorate(f, kind)


def _rug(width_m: float) -> Filler:
    return lambda f: None if _has(f, "rug") else f.rug((width_m, width_m, 0.2))


def _has(f: Furnisher, kind: Kind) -> bool:
    return any(placed.kind == kind for placed in f.layout.placed)


PICTURE = _hung("picture", PICTURE_LOW_M, (1.6, 0.2, 1.3))
MIRROR = _hung("mirror", 0.7, (1.4, 0.3, 1.8))
PLANT = _corner("plant", (1.0, 1.0, 2.2))
WALL_LAMP = _hung("wall_lamp", 1.6, (0.6, 0.5, 0.8))
BUILD_ELEMENT = _wall("build_element", (1.0, 0.8, 2.4))
BOX = _wall("box", (0.9, 0.9, 0.9), 0.0)

ESSENTIALS: dict[RoomType, Callable[[Furnisher], None]] = {
    "bedroom": _bedroom,
    "living_room": _living_room,
    "office": _office,
    "kitchen": _kitchen,
    "bathroom": _bathroom,
}

FILLERS: dict[RoomType, tuple[Filler, ...]] = {
    "bedroom": (
        PICTURE,
        MIRROR,
        PLANT,
        WALL_LAMP,
        BOX,
        _rug(3.0),
        _wall("bookcase", (1.5, 0.6, 2.4)),
        _wall("armchair", (1.2, 1.2, 1.3)),
        _wall("bench", (1.6, 0.7, 1.0)),
        _wall("cabinet", (1.5, 0.7, 1.8)),
        _hung("shelf", 1.4, (1.5, 0.5, 1.0)),
        _corner("floor_lamp", (0.8, 0.8, 2.2)),
        _corner("clothes_rack"),
        _wall("instrument", (1.4, 0.7, 1.4)),
        _floor("toy", (1.0, 1.0, 1.2)),
        _on("dresser"),
        _on("desk"),
        _on("bookcase"),
    ),
    "living_room": (
        PICTURE,
        PICTURE,
        MIRROR,
        PLANT,
        PLANT,
        WALL_LAMP,
        _rug(4.0),
        lounge_group,
        _wall("armchair", (1.2, 1.2, 1.3)),
        _wall("cabinet", (2.0, 0.7, 1.8)),
        _wall("bookcase", (2.5, 0.7, 2.4)),
        _wall("corner_sofa", (3.0, 3.0, 1.2)),
        _wall("speaker", (0.6, 0.6, 1.4), 0.0),
        _wall("stool", (0.7, 0.7, 0.8), 0.0),
        _corner("floor_lamp", (0.8, 0.8, 2.2)),
        _corner("sculpture", (0.8, 0.8, 1.9)),
        _floor("game_table", (2.9, 1.7, 1.9)),
        _floor("toy", (1.0, 1.0, 1.2)),
        _wall("instrument", (1.4, 0.7, 1.4)),
        _on("coffee_table"),
        _on("cabinet"),
        _on("bookcase"),
    ),
    "office": (
        PICTURE,
        PLANT,
        WALL_LAMP,
        BOX,
        lounge_group,
        _rug(3.0),
        _wall("bookcase", (2.5, 0.7, 2.4)),
        _wall("cabinet", (1.8, 0.8, 1.8)),
        _wall("floor_object", (1.5, 1.0, 2.0), 0.0),
        _corner("bin", (0.6, 0.6, 0.9)),
        _corner("floor_lamp", (0.8, 0.8, 2.2)),
        _corner("fan", (0.8, 0.8, 1.6)),
        _hung("air_conditioner", 2.0, (1.3, 0.5, 0.6)),
        _hung("shelf", 1.4, (1.5, 0.5, 1.0)),
        _on("desk"),
        _on("cabinet"),
        _floor("sports", (1.8, 1.2, 2.3)),
    ),
    "kitchen": (
        PICTURE,
        PLANT,
        BUILD_ELEMENT,
        _on("kitchen_cabinet"),
        _on("kitchen_cabinet"),
        _on("dining_table"),
        _corner("bin", (0.6, 0.6, 1.0)),
        _wall("cabinet", (1.5, 0.7, 2.0)),
        _wall("bar_stool", (0.6, 0.6, 1.2), 0.0),
        _wall("stool", (0.7, 0.7, 0.8), 0.0),
        _wall("washing_machine", (0.8, 0.8, 1.2)),
        _wall("bench", (1.6, 0.7, 1.0)),
        _hung("shelf", 1.4, (1.2, 0.4, 0.8)),
        _hung("air_conditioner", 2.0, (1.3, 0.5, 0.6)),
        _rug(2.0),
    ),
    "bathroom": (
        PICTURE,
        MIRROR,
        WALL_LAMP,
        BUILD_ELEMENT,
        _hung("towel_rack", 0.9, (1.0, 0.4, 1.0)),
        _wall("washing_machine", (0.8, 0.8, 1.2)),
        _wall("cabinet", (1.0, 0.6, 2.0)),
        _wall("stool", (0.6, 0.6, 0.7), 0.0),
        _wall("radiator", (1.4, 0.4, 1.9), 0.0),
        _wall("floor_object", (0.8, 0.8, 1.5), 0.0),
        _corner("bin", (0.5, 0.5, 0.9)),
        _corner("plant", (0.7, 0.7, 1.6)),
        _hung("shelf", 1.4, (1.0, 0.4, 0.8)),
        _on("washing_machine"),
        _on("cabinet"),
        _rug(1.5),
    ),
}
