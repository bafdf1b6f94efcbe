"""3D-FRONT as a source of rooms: living rooms and bedrooms of its houses, furnished with 3D-FUTURE models."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path

from roomseg.config import RoomType
from roomseg.errors import UserError
from roomseg.ports import Rejected, RoomKey
from roomseg.scenes.front3d.checks import faults_before_loading, faults_of_room
from roomseg.scenes.front3d.finishes import Finishes, Look
from roomseg.scenes.front3d.house import House, HouseRoom, parse_house
from roomseg.scenes.front3d.library import open_library, plain_name
from roomseg.scenes.front3d.models import ModelStore
from roomseg.scenes.front3d.room import Front3dRoom, assemble_room
from roomseg.scenes.front3d.structure import TextureStore
from roomseg.scenes.textures import Texture
from roomseg.splits import SPLITS, read_published_split, split_by_house

TYPE_OF_ROOM: dict[str, RoomType] = {  # 3D-FRONT's types, lower case; rooms of others are not taken
    "livingroom": "living_room",
    "livingdiningroom": "living_room",
    "bedroom": "bedroom",
    "masterbedroom": "bedroom",
    "secondbedroom": "bedroom",
    "library": "office",
    "study": "office",
    "kitchen": "kitchen",
    "bathroom": "bathroom",
    "masterbathroom": "bathroom",
    "secondbathroom": "bathroom",
}
SAMPLED_HOUSES = 48  # that say which textures lie on floors and walls
HELD_HOUSES = 2  # rooms of one house mostly follow one another


class Front3dSource:
    """Opens the folder, raising ``UserError`` where it holds no 3D-FRONT.

    ``split`` is "house" (by ``shares`` of the houses that have a room to take) or a folder with the published lists
    ``train.txt``, ``val.txt`` and ``test.txt`` of room ids. ``limits`` are the most rooms of a split. ``textures`` are
    floors and walls for the augmentation where 3D-FRONT-texture has none.
    """

    def __init__(
        self,
        *,
        root: Path,
        seed: int,
        room_types: tuple[RoomType, ...],
        shares: tuple[float, float, float] = (0.9, 0.05, 0.05),
        limits: Mapping[str, int] | None = None,
        augment_textures: bool = True,
        textures: tuple[Sequence[Texture], Sequence[Texture]] = ((), ()),
        split: str | Path = "house",
    ) -> None:
        self._library = open_library(Path(root))
        self._seed, self._room_types, self._shares = seed, room_types, shares
        self._limits = dict(limits or {})
        self._augment, self._own_textures = augment_textures, textures
        self._published = None if split == "house" else read_published_split(Path(split))
        self._models, self._textures = ModelStore(self._library), TextureStore(self._library)
        self._house = lru_cache(HELD_HOUSES)(self._parse)

    def plan(self) -> tuple[list[RoomKey], list[Rejected]]:
        """Rooms in the order of house and room, split by split; each house file is read once."""
        rooms: list[tuple[str, str, int]] = []  # room id, house id, place in the house
        rejected: list[Rejected] = []
        for house_id in self._house_ids():
            try:
                house = self._parse(plain_name(house_id))
            except UserError as error:
                rejected.append(Rejected(house_id, str(error)))
                continue
            for room in self._wanted(house):
                room_id = f"{house_id}_{room.index}"
                faults = faults_before_loading(house, room, self._models)
                if faults:
                    rejected.append(Rejected(room_id, "; ".join(faults)))
                else:
                    rooms.append((room_id, house_id, room.index))
        split_of = self._split_of(rooms)
        if self._published is not None:
            known = {each.id for each in rejected} | {room_id for room_id, _, _ in rooms}
            for room_id, split in split_of.items():
                if not known & {room_id, room_id.rpartition("_")[0]}:
                    reason = f"listed in {split}.txt, but no such room of a wanted type is here"
                    rejected.append(Rejected(room_id, reason))
        keys = []
        for split in SPLITS:
            of_split = (RoomKey(i, house, split, (house, n)) for i, house, n in rooms if split_of[i] == split)
            keys += list(islice(of_split, self._limits.get(split)))
        return keys, rejected

    def load(self, key: RoomKey) -> Front3dRoom:
        """Raises ``UserError`` with the reasons why a room cannot be used."""
        house_id, index = str(key.place[0]), int(key.place[1])
        house = self._house(house_id)
        room = house.rooms[index]
        self._refuse(faults_before_loading(house, room, self._models))
        look = self._finishes.look(key.id) if self._augment else Look()
        room_type = TYPE_OF_ROOM[room.type.lower()]
        scene = assemble_room(house, room, room_type, self._models, self._textures, look)
        self._refuse(faults_of_room(scene))
        return scene

    def digest(self) -> str:
        """Of the names and sizes of all files, and of the split lists."""
        lists = sorted((self._published or {}).items())
        return hashlib.sha256(f"{self._library.digest()} {lists}".encode()).hexdigest()

    def _parse(self, house_id: str) -> House:
        return parse_house(*self._library.read_house(house_id))

    def _house_ids(self) -> list[str]:
        if self._published is None:
            return list(self._library.houses)
        listed = {room_id.rpartition("_")[0] for room_id in self._published}
        return [house_id for house_id in self._library.houses if house_id in listed]

    def _wanted(self, house: House) -> Iterator[HouseRoom]:
        for room in house.rooms:
            listed = self._published is None or f"{house.id}_{room.index}" in self._published
            if listed and TYPE_OF_ROOM.get(room.type.lower()) in self._room_types:
                yield room

    def _split_of(self, rooms: Sequence[tuple[str, str, int]]) -> Mapping[str, str]:
        """The split of each room id."""
        if self._published is not None:
            return self._published
        of_house = split_by_house({house_id for _, house_id, _ in rooms}, self._shares, self._seed)
        return {room_id: of_house[house_id] for room_id, house_id, _ in rooms}

    @cached_property
    def _finishes(self) -> Finishes:
        return Finishes(self._sample(), self._textures, self._own_textures, self._seed)

    def _sample(self) -> Iterator[House]:
        """The first houses that can be read, where there are textures for them to use."""
        if self._library.textures:
            for house_id in islice(self._library.houses, SAMPLED_HOUSES):
                try:
                    yield self._parse(house_id)
                except UserError:  # plan() has told
                    continue

    @staticmethod
    def _refuse(faults: list[str]) -> None:
        if faults:
            raise UserError("; ".join(faults))
