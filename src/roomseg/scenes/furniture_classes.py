"""The kinds of furniture (what placement knows a thing as) and the class of each among the 30."""

from __future__ import annotations

from typing import Literal, get_args

from roomseg.labels import PANOROOMS3D

Kind = Literal[
    # bedroom
    "bed",
    "bunk_bed",
    "crib",
    "bedside_table",
    "wardrobe",
    "dresser",
    # seats
    "chair",
    "office_chair",
    "armchair",
    "sofa",
    "corner_sofa",
    "bench",
    "stool",
    "bar_stool",
    # tables and storage
    "dining_table",
    "coffee_table",
    "side_table",
    "desk",
    "dressing_table",
    "tv_stand",
    "bookcase",
    "shelf",  # hung on a wall
    "cabinet",
    "kitchen_cabinet",  # stands, with a worktop
    "kitchen_tall_cabinet",
    "kitchen_wall_cabinet",
    # appliances
    "tv",
    "computer",  # stands on a desk
    "printer",
    "speaker",  # and what else of its sort stands on a TV stand or a shelf
    "oven",
    "cooktop",
    "hood",
    "refrigerator",
    "dishwasher",
    "washing_machine",
    "small_appliance",  # stands on a worktop
    "air_conditioner",
    "fan",
    # water
    "sink",  # a kitchen's
    "washbasin",
    "bath",
    "shower",
    "toilet",
    "bidet",
    # lamps
    "ceiling_lamp",
    "floor_lamp",
    "table_lamp",
    "wall_lamp",
    # decoration
    "plant",
    "small_plant",  # stands on furniture
    "picture",
    "sculpture",
    "mirror",  # hung on a wall or standing against one
    "rug",
    "curtain",
    # recreation
    "piano",
    "game_table",
    "sports",
    "instrument",
    "toy",
    # the building
    "door",
    "window",
    "radiator",
    "fireplace",
    "stair",
    "column",
    "beam",
    "flue",
    "sewer_pipe",
    "wainscot",
    "custom_platform",
    "build_element",
    # the rest
    "small_object",  # stands on furniture
    "box",
    "bin",
    "clothes_rack",
    "towel_rack",
    "floor_object",  # baskets, ladders, screens, suitcases
]

KINDS: tuple[Kind, ...] = get_args(Kind)

# By the meaning of the 99 names of 3D-FRONT that each class merges: a nightstand, a bookcase and a TV stand are
# cabinets, a desk and a tea table are tables, a radiator is a build element, what lies on the floor is floor.
_KINDS_OF_CLASS: dict[str, tuple[Kind, ...]] = {
    "cabinet": (
        "bedside_table",
        "dresser",
        "tv_stand",
        "bookcase",
        "shelf",
        "cabinet",
        "kitchen_cabinet",
        "kitchen_tall_cabinet",
        "kitchen_wall_cabinet",
    ),
    "table": ("dining_table", "coffee_table", "side_table", "desk", "dressing_table"),
    "sewerpipe": ("sewer_pipe",),
    "door/window": ("door", "window", "curtain"),
    "lamp": ("ceiling_lamp", "floor_lamp", "table_lamp", "wall_lamp"),
    "sofa": ("sofa", "corner_sofa"),
    "chair": ("chair", "office_chair", "armchair"),
    "stool": ("stool", "bar_stool", "bench"),
    "appliance": (
        "tv",
        "computer",
        "printer",
        "speaker",
        "oven",
        "cooktop",
        "hood",
        "refrigerator",
        "dishwasher",
        "washing_machine",
        "small_appliance",
        "air_conditioner",
        "fan",
    ),
    "build element": ("radiator", "fireplace", "build_element"),
    "others": ("toilet", "bidet", "small_object", "box", "bin", "clothes_rack", "towel_rack", "floor_object"),
    "bed": ("bed", "bunk_bed", "crib"),
    "custom platform": ("custom_platform",),
    "plant": ("plant", "small_plant"),
    "basin": ("sink", "washbasin"),
    "bath": ("bath", "shower"),
    "floor": ("rug",),
    "art": ("picture", "sculpture"),
    "beam": ("beam",),
    "stair": ("stair",),
    "flue": ("flue",),
    "recreation": ("piano", "game_table", "sports", "instrument", "toy"),
    "column": ("column",),
    "wardrobe": ("wardrobe",),
    "mirror": ("mirror",),
    "wainscot": ("wainscot",),
}

LABEL_OF_KIND: dict[Kind, int] = {
    kind: PANOROOMS3D.id(name) for name, kinds in _KINDS_OF_CLASS.items() for kind in kinds
}
