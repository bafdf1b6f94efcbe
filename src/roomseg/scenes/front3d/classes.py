"""The 99 names of 3D-FRONT, their merge to the 30 classes, and the name of a mesh or of a piece of furniture.

A raw id is a place in ``TABLE``: the ids that the published PanoRooms3D rooms hold.
"""

from __future__ import annotations

import re

import numpy as np

from roomseg.errors import UserError
from roomseg.labels import PANOROOMS3D

# (name in 3D-FRONT, merged class)
TABLE: tuple[tuple[str, str], ...] = (
    ("void", "void"),
    ("smartcustomizedceiling", "ceiling"),
    ("cabinet/lightband", "cabinet"),
    ("tea table", "table"),
    ("cornice", "ceiling"),
    ("sewerpipe", "sewerpipe"),
    ("children cabinet", "cabinet"),
    ("hole", "door/window"),
    ("ceiling lamp", "lamp"),
    ("chaise longue sofa", "sofa"),
    ("lazy sofa", "sofa"),
    ("appliance", "appliance"),
    ("round end table", "table"),
    ("build element", "build element"),
    ("dining chair", "chair"),
    ("others", "others"),
    ("armchair", "chair"),
    ("bed", "bed"),
    ("two-seat sofa", "sofa"),
    ("lighting", "lamp"),
    ("kids bed", "bed"),
    ("pocket", "door/window"),
    ("storage unit", "cabinet"),
    ("media unit", "cabinet"),
    ("slabside", "wall"),
    ("footstool / sofastool / bed end stool / stool", "stool"),
    ("300 - on top of others", "others"),
    ("customizedplatform", "custom platform"),
    ("sideboard / side cabinet / console", "cabinet"),
    ("plants", "plant"),
    ("ceiling", "ceiling"),
    ("slabtop", "ceiling"),
    ("pendant lamp", "lamp"),
    ("lightband", "lamp"),
    ("electric", "appliance"),
    ("pier/stool", "stool"),
    ("table", "table"),
    ("extrusioncustomizedceilingmodel", "ceiling"),
    ("baseboard", "baseboard"),
    ("front", "wall"),
    ("wallinner", "wall"),
    ("basin", "basin"),
    ("bath", "bath"),
    ("customizedpersonalizedmodel", "custom platform"),
    ("baywindow", "door/window"),
    ("customizedfurniture", "custom platform"),
    ("sofa", "sofa"),
    ("kitchen cabinet", "cabinet"),
    ("cabinet", "cabinet"),
    ("walltop", "wall"),
    ("chair", "chair"),
    ("floor", "floor"),
    ("customizedceiling", "ceiling"),
    ("500 - attach to ceiling", "ceiling"),
    ("customizedbackgroundmodel", "custom platform"),
    ("drawer chest / corner cabinet", "cabinet"),
    ("tv stand", "cabinet"),
    ("400 - attach to wall", "wall"),
    ("window", "door/window"),
    ("art", "art"),
    ("back", "wall"),
    ("accessory", "custom platform"),
    ("200 - on the floor", "floor"),
    ("beam", "beam"),
    ("stair", "stair"),
    ("wine cooler", "appliance"),
    ("outdoor furniture", "custom platform"),
    ("double bed", "bed"),
    ("dining table", "table"),
    ("cabinet/shelf/desk", "cabinet"),
    ("single bed", "bed"),
    ("classic chinese chair", "chair"),
    ("corner/side table", "table"),
    ("flue", "flue"),
    ("shelf", "cabinet"),
    ("customizedfeaturewall", "wall"),
    ("nightstand", "cabinet"),
    ("recreation", "recreation"),
    ("lounge chair / book-chair / computer chair", "chair"),
    ("slabbottom", "floor"),
    ("dressing table", "table"),
    ("desk", "table"),
    ("column", "column"),
    ("dressing chair", "chair"),
    ("wardrobe", "wardrobe"),
    ("extrusioncustomizedbackgroundwall", "wall"),
    ("electronics", "appliance"),
    ("bunk bed", "bed"),
    ("bed frame", "bed"),
    ("three-seat / multi-person sofa", "sofa"),
    ("customizedfixedfurniture", "custom platform"),
    ("bookcase / jewelry armoire", "cabinet"),
    ("mirror", "mirror"),
    ("wallbottom", "wall"),
    ("barstool", "stool"),
    ("wallouter", "wall"),
    ("l-shaped sofa", "sofa"),
    ("customized_wainscot", "wainscot"),
    ("door", "door/window"),
)

# Words of 3D-FUTURE's model_info.json, which older houses use too, for a name of the table.
ALIASES = {
    "coffee table": "tea table",
    "console table": "sideboard / side cabinet / console",
    "couch bed": "bed",
    "floor lamp": "lighting",
    "folding chair": "chair",
    "hanging chair": "chair",
    "king-size bed": "double bed",
    "lounge chair / cafe chair / office chair": "lounge chair / book-chair / computer chair",
    "loveseat sofa": "two-seat sofa",
    "shoe cabinet": "cabinet",
    "sideboard / side cabinet / console table": "sideboard / side cabinet / console",
    "table lamp": "lighting",
    "three-seat / multi-seat sofa": "three-seat / multi-person sofa",
    "wall lamp": "lighting",
    "wine cabinet": "wine cooler",
}


def _plain(name: str) -> str:
    """Lower case, single spaces, none around ``/``: the spellings of the releases differ in these."""
    return re.sub(r"\s*/\s*", "/", " ".join(name.lower().split()))


NAMES: tuple[str, ...] = tuple(name for name, _ in TABLE)
MERGED = np.array([PANOROOMS3D.id(merged) for _, merged in TABLE], np.uint8)  # (99,) raw id -> class
_RAW_ID = {_plain(name): raw for raw, name in enumerate(NAMES)}
_RAW_ID |= {_plain(alias): _RAW_ID[_plain(name)] for alias, name in ALIASES.items()}


def mesh_raw_id(mesh_type: str) -> int:
    """The raw id of a structural mesh from its ``type``; raises ``UserError`` for an unknown one."""
    raw = _RAW_ID.get(_plain(mesh_type) or "void")
    if raw is None:
        raise UserError(f"mesh type {mesh_type!r} is none of the {len(TABLE)} names of 3D-FRONT")
    return raw


def furniture_raw_id(category: str, title: str) -> int:
    """The raw id of a piece of furniture: its category, or else the part of its title before ``/``.

    Raises ``UserError`` where both are empty or neither is a known name.
    """
    group = title.split("/")[0]
    if not category.strip() and not group.strip():
        raise UserError("it has neither category nor title")
    for word in (category, group):
        if _plain(word) in _RAW_ID:
            return _RAW_ID[_plain(word)]
    raise UserError(f"category {category!r} and title {title!r} are none of the {len(TABLE)} names of 3D-FRONT")
