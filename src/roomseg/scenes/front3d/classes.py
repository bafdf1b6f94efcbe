"""Which of the 99 names of 3D-FRONT a mesh or a piece of furniture has."""

from __future__ import annotations

import re

from roomseg.errors import UserError
from roomseg.front3d_names import NAMES

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


_RAW_ID = {_plain(name): raw for raw, name in enumerate(NAMES)}
_RAW_ID |= {_plain(alias): _RAW_ID[_plain(name)] for alias, name in ALIASES.items()}


def mesh_raw_id(mesh_type: str) -> int:
    """The raw id of a structural mesh from its ``type``; raises ``UserError`` for an unknown one."""
    raw = _RAW_ID.get(_plain(mesh_type) or "void")
    if raw is None:
        raise UserError(f"mesh type {mesh_type!r} is none of the {len(NAMES)} names of 3D-FRONT")
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
    raise UserError(f"category {category!r} and title {title!r} are none of the {len(NAMES)} names of 3D-FRONT")
