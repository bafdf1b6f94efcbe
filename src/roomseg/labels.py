"""The 30 classes of the 99 -> 30 merge of 3D-FRONT: the only place for their ids, names and colours."""

VOID = 0

CLASS_NAMES: tuple[str, ...] = (
    "void",
    "ceiling",
    "cabinet",
    "table",
    "sewerpipe",
    "door/window",
    "lamp",
    "sofa",
    "chair",
    "stool",
    "appliance",
    "build element",
    "others",
    "bed",
    "custom platform",
    "plant",
    "baseboard",
    "wall",
    "basin",
    "bath",
    "floor",
    "art",
    "beam",
    "stair",
    "flue",
    "recreation",
    "column",
    "wardrobe",
    "mirror",
    "wainscot",
)

N_CLASSES = len(CLASS_NAMES)

# sRGB, chosen so that classes that touch in a room (wall, floor, ceiling, bed, sofa, table, chair) stay far apart.
CLASS_COLORS: tuple[tuple[int, int, int], ...] = (
    (0, 0, 0),
    (222, 222, 235),
    (140, 86, 75),
    (255, 152, 60),
    (90, 110, 130),
    (110, 200, 235),
    (255, 225, 70),
    (227, 60, 80),
    (30, 110, 190),
    (125, 80, 190),
    (90, 90, 100),
    (170, 170, 110),
    (150, 150, 150),
    (230, 120, 190),
    (190, 150, 110),
    (60, 160, 60),
    (120, 60, 30),
    (174, 199, 232),
    (20, 150, 160),
    (70, 190, 180),
    (196, 176, 140),
    (200, 60, 200),
    (100, 70, 60),
    (160, 130, 200),
    (60, 60, 70),
    (240, 90, 30),
    (180, 190, 200),
    (100, 40, 110),
    (150, 230, 255),
    (210, 190, 90),
)


def class_id(name: str) -> int:
    """The id of a class name; raises ``ValueError`` for a name that is none of ``CLASS_NAMES``."""
    return CLASS_NAMES.index(name)
