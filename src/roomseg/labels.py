"""Label sets: the only place for class ids, names and colours. Id 0 is void (empty, unseen or unlabelled) in each."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from roomseg.errors import UserError

VOID = 0
VOID_NAME = "void"
MAX_CLASSES = 255  # with void; 255 says "not to be judged" in pictures


@dataclass(frozen=True)
class LabelSet:
    """Raises ``ValueError`` for names and colours that do not fit together."""

    name: str
    names: tuple[str, ...]  # by id
    colors: tuple[tuple[int, int, int], ...]  # sRGB
    shell: tuple[str, ...]  # classes of the building itself, and of what is fixed flat on it

    def __post_init__(self) -> None:
        if not all(isinstance(name, str) for name in (self.name, *self.names, *self.shell)):
            raise ValueError(f"got the names {self.name!r}, {self.names}, {self.shell}; expected text")
        if not 2 <= len(self.names) <= MAX_CLASSES:
            raise ValueError(f"got {len(self.names) - 1} classes besides void; expected 1 to {MAX_CLASSES - 1}")
        twice = next((name for name in self.names if self.names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"the class {twice!r} is there twice; expected names that differ")
        if self.names[VOID] != VOID_NAME or not set(self.shell) <= set(self.names):
            raise ValueError(f"got the classes {self.names} with the shell {self.shell}; expected void first")
        if len(self.colors) != len(self) or not all(_is_color(color) for color in self.colors):
            raise ValueError(f"got the colours {self.colors}; expected three numbers of 0 to 255 for each class")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def text(self) -> str:
        """What stands for the set in files: the name of a set of ours, or all that another one has, as JSON."""
        return self.name if LABEL_SETS.get(self.name) == self else json.dumps(asdict(self), separators=(",", ":"))

    def id(self, name: str) -> int:
        """The id of a class name; raises ``ValueError`` for a name that is none of the set's."""
        return self.names.index(name)


def _is_color(color: tuple[int, ...]) -> bool:
    return len(color) == 3 and all(isinstance(value, int) and 0 <= value <= 255 for value in color)


PANOROOMS3D = LabelSet(  # the 30 classes of the 99 -> 30 merge of 3D-FRONT
    "panorooms3d",
    names=(
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
    ),
    # Chosen so that classes that touch in a room (wall, floor, ceiling, bed, sofa, table, chair) stay far apart.
    colors=(
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
    ),
    shell=("ceiling", "door/window", "baseboard", "wall", "floor", "art", "beam", "mirror", "wainscot"),
)

SCANNET20 = LabelSet(  # the 20 classes of the ScanNet benchmark, in its order
    "scannet20",
    names=(
        "void",
        "wall",
        "floor",
        "cabinet",
        "bed",
        "chair",
        "sofa",
        "table",
        "door",
        "window",
        "bookshelf",
        "picture",
        "counter",
        "desk",
        "curtain",
        "refrigerator",
        "shower curtain",
        "toilet",
        "sink",
        "bathtub",
        "otherfurniture",
    ),
    # Those of the benchmark's own pictures.
    colors=(
        (0, 0, 0),
        (174, 199, 232),
        (152, 223, 138),
        (31, 119, 180),
        (255, 187, 120),
        (188, 189, 34),
        (140, 86, 75),
        (255, 152, 150),
        (214, 39, 40),
        (197, 176, 213),
        (148, 103, 189),
        (196, 156, 148),
        (23, 190, 207),
        (247, 182, 210),
        (219, 219, 141),
        (255, 127, 14),
        (158, 218, 229),
        (44, 160, 44),
        (112, 128, 144),
        (227, 119, 194),
        (82, 84, 163),
    ),
    shell=("wall", "floor", "door", "window", "picture"),
)

LABEL_SETS = {each.name: each for each in (PANOROOMS3D, SCANNET20)}


def label_set(text: str) -> LabelSet:
    """The label set that ``LabelSet.text`` stands for; raises ``UserError`` for any other text."""
    if text in LABEL_SETS:
        return LABEL_SETS[text]
    if not text.startswith("{"):
        raise UserError(f"label set {text!r} is unknown; there are {', '.join(LABEL_SETS)}")
    try:
        values = json.loads(text)
        colors = tuple((red, green, blue) for red, green, blue in values["colors"])
        return LabelSet(values["name"], tuple(values["names"]), colors, tuple(values["shell"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"a label set is damaged ({error}): {text}; make again what holds it") from None
