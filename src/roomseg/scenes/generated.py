"""The generator as a source of rooms: as many as are asked for, each a function of the seed and its key."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from roomseg.config import RoomType
from roomseg.errors import UserError
from roomseg.ports import Rejected, RoomKey
from roomseg.scenes.furniture import FurnitureLibrary, content_digest, open_furniture
from roomseg.scenes.generator import generate_room
from roomseg.scenes.scene_room import SceneRoom
from roomseg.scenes.textures import Texture, floor_textures, wall_textures
from roomseg.splits import SPLITS

IMAGE_FURNITURE = Path("/opt/roomseg/furniture")  # where images/render keeps the libraries


class GeneratedSource:
    """Houses of a few rooms each, of the types in turn; no house is in two splits."""

    def __init__(
        self,
        seed: int,
        rooms: Mapping[str, int],  # split -> how many
        rooms_per_house: int,
        room_types: tuple[RoomType, ...],
        size_range_m: tuple[float, float],  # of the sides of a room's bounding rectangle
        furniture: Path | None,  # the folder of the libraries; None: parametric furniture only
    ) -> None:
        self.seed, self.rooms, self.rooms_per_house = seed, rooms, rooms_per_house
        self.room_types, self.size_range_m, self.furniture = room_types, size_range_m, furniture

    def plan(self) -> tuple[list[RoomKey], list[Rejected]]:
        """Raises ``UserError`` for a damaged library, here once instead of for each room."""
        assert self._library.items
        keys, first_house = [], 0
        for split in SPLITS:
            count = self.rooms[split]
            keys += [self._key(split, first_house, n) for n in range(count)]
            first_house += -(-count // self.rooms_per_house)
        return keys, []

    def _key(self, split: str, first_house: int, n: int) -> RoomKey:
        house, index = first_house + n // self.rooms_per_house, n % self.rooms_per_house
        house_id = f"g{self.seed}h{house:06d}"
        return RoomKey(f"{house_id}-{index}", house_id, split, (house, index, n % len(self.room_types)))

    def load(self, key: RoomKey) -> SceneRoom:
        """Raises ``UserError`` for sides too short for furniture."""
        house, index, type_place = (int(each) for each in key.place)
        return generate_room(
            (self.seed, house, index),
            key.house_id,
            index,
            self.room_types[type_place],
            self.size_range_m,
            self._library,
            self._textures,
        )

    def digest(self) -> str:
        return content_digest(self.furniture)

    @cached_property
    def _library(self) -> FurnitureLibrary:
        return open_furniture(self.furniture)

    @cached_property
    def _textures(self) -> tuple[tuple[Texture, ...], tuple[Texture, ...]]:  # floors, walls
        return floor_textures(self.furniture), wall_textures(self.furniture)


def furniture_dir(setting: str) -> Path | None:
    """The folder of the ``.sh3f`` libraries that ``render.furniture_dir`` means; None where "auto" finds none."""
    if setting != "auto":
        directory = Path(setting)
        if not directory.is_dir():
            raise UserError(f"render.furniture_dir: {directory} is not a folder; expected one with .sh3f files")
        return directory
    named = os.environ.get("ROOMSEG_FURNITURE_DIR")
    candidates = [Path(named)] if named else [Path(".furniture"), IMAGE_FURNITURE]
    return next((d for d in candidates if d.is_dir()), None)
