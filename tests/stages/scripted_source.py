"""A source of small finished rooms, some of which fail as the script says. Worker processes import it.

The script is ``rooms.json`` in the folder ``render.rgbd_root``: a list of [id, split, what happens when it is loaded].
"""

import json
import os
import time
from pathlib import Path

import numpy as np

from roomseg.config import RenderConfig
from roomseg.data.rooms import TSDF_STEPS, Panorama, Room
from roomseg.errors import UserError
from roomseg.ports import Rejected, RoomKey

SIDE = 32
TURNED_AWAY = Rejected("house-9", "house-9.json: has no rooms")


def write_script(folder: Path, rooms: list[tuple[str, str, str]]) -> None:
    (folder / "rooms.json").write_text(json.dumps(rooms))


def open_scripted(config: RenderConfig) -> "ScriptedSource":
    assert config.rgbd_root is not None
    return ScriptedSource(Path(config.rgbd_root))


class ScriptedSource:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = json.loads((folder / "rooms.json").read_text())

    def plan(self) -> tuple[list[RoomKey], list[Rejected]]:
        keys = [RoomKey(room_id, f"{room_id}-house", split, (what,)) for room_id, split, what in self.script]
        return keys, [TURNED_AWAY]

    def load(self, key: RoomKey) -> Room:
        what = key.place[0]
        if what == "raises":
            raise UserError(f"{key.id}.obj: has no faces")
        if what == "bug":
            return {}[key.id]
        if what == "memory":
            raise MemoryError("Unable to allocate 9.00 TiB")
        if what == "waits" and self._first_time(key):
            time.sleep(600)
        if what == "dies" or (what == "dies once" and self._first_time(key)):
            os._exit(1)
        return hollow_room(key, 255 if what == "bad label" else 17)

    def _first_time(self, key: RoomKey) -> bool:
        mark = self.folder / key.id
        if mark.exists():
            return False
        mark.touch()
        return True

    def digest(self) -> str:
        return "scripted"


def hollow_room(key: RoomKey, wall: int = 17) -> Room:
    """A cube's inside: its six sides lie 4 voxels from the volume's, with a colour of their own for each id."""
    place = np.indices((SIDE, SIDE, SIDE))
    inward = np.minimum(place, SIDE - 1 - place).min(axis=0) - 4.0  # voxels from the surface, + inside
    tsdf = np.rint(np.clip(inward / 3, -1, 1) * TSDF_STEPS).astype(np.int8)
    tsdf[inward < -3] = TSDF_STEPS
    full = tsdf < TSDF_STEPS
    color = np.random.default_rng(list(key.id.encode())).integers(1, 255, 3).astype(np.uint8)
    rgb = np.where(full[..., None], color, 0).astype(np.uint8)
    label = np.where(full, wall, 0).astype(np.uint8)
    view = Panorama(np.full(3, 0.04 * (SIDE - 1) / 2), np.zeros((32, 64, 3), np.uint8), np.full((32, 64), 17, np.uint8))
    return Room(key.id, key.house_id, key.split, np.zeros(3), 0.04, tsdf, rgb, label, panoramas=(view,))
