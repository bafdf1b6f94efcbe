"""Folders of posed RGB-D frames as a source of rooms: what a user with a phone, a robot or a public recording has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from roomseg.errors import UserError
from roomseg.labels import PANOROOMS3D, LabelSet
from roomseg.ports import Rejected, RoomKey
from roomseg.scenes.scans.digest import files_digest
from roomseg.scenes.scans.exported import is_frame_files, is_scannet_export, open_frame_files, open_scannet_export
from roomseg.scenes.scans.folders import LabelFolder, room_id
from roomseg.scenes.scans.gravity import Up, world_to_z_up
from roomseg.scenes.scans.intrinsics import LENS_FILES
from roomseg.scenes.scans.labels import id_table
from roomseg.scenes.scans.open3d import is_open3d, open_open3d
from roomseg.scenes.scans.recording import LabelFinder, RecordedFrames, Recording
from roomseg.scenes.scans.tum import is_tum, open_tum
from roomseg.scenes.source import Scan
from roomseg.splits import SPLITS, split_by_house

DEEPEST = 2  # folders below the root that recordings are looked for in
LABEL_FOLDER = "label"

Opener = Callable[[Path, int, float | None, LabelFinder | None], Recording]  # folder, stride, depth units, labels


@dataclass(frozen=True)
class Layout:
    name: str
    is_here: Callable[[Path], bool]
    open: Opener
    up: Up  # of its world, as far as the layout says


LAYOUTS = (  # the first that fits
    Layout("tum", is_tum, open_tum, "auto"),
    Layout("scannet", is_scannet_export, open_scannet_export, "+z"),
    Layout("frames", is_frame_files, open_frame_files, "auto"),
    Layout("open3d", is_open3d, open_open3d, "auto"),
)


class RgbdSource:
    """``root`` is a recording, a folder of recordings, or a folder of houses with a folder for each recording.

    A recording in TUM's, Open3D's, 7-Scenes' or ScanNet's exported layout. A folder ``label`` in it, if there is one,
    has a PNG for each frame, named as its depth, with the ids that ``labels`` names: a label set, ``nyu40`` or a label
    file. Without the folder, or with ``labels`` None, all is void. A file ``intrinsics.txt`` (3 x 3) or an Open3D
    camera JSON goes before the layout's usual intrinsics.
    """

    def __init__(
        self,
        root: Path,
        shares: tuple[float, float, float] = (0.8, 0.1, 0.1),  # of the houses: train, val, test
        seed: int = 0,
        frame_stride: int = 1,
        labels: str | None = PANOROOMS3D.name,
        up: Up = "auto",
        depth_units_per_m: float | None = None,  # None: the layout's
        max_depth_m: float = 4.5,
    ) -> None:
        if not root.is_dir():
            raise UserError(f"rgbd: {root} is not a folder; expected one with a recording or recordings in it")
        self.root, self.shares, self.seed = root, shares, seed
        self.frame_stride, self.up, self.depth_units_per_m = frame_stride, up, depth_units_per_m
        self.max_depth_m, self.labels = max_depth_m, labels

    def plan(self) -> tuple[list[RoomKey], list[Rejected]]:
        """Looks at names only. Raises ``UserError`` where there is no recording, or for a faulty label file."""
        self._id_table()  # its faults are not those of a room
        folders = self._recordings()
        houses = [self._house(folder) for folder in folders]
        sides = split_by_house(houses, self.shares, self.seed)
        keys: dict[str, RoomKey] = {}
        rejected = []
        for folder, house in zip(folders, houses, strict=True):
            key = RoomKey(room_id(folder, self.root), house, sides[house], (folder.relative_to(self.root).as_posix(),))
            if key.id in keys:
                rejected.append(Rejected(key.id, f"{folder} has the same id as {keys[key.id].place[0]}: rename it"))
            else:
                keys[key.id] = key
        return sorted(keys.values(), key=lambda key: (SPLITS.index(key.split), key.id)), rejected

    def _recordings(self) -> list[Path]:
        level = [self.root]
        found: list[Path] = []
        for _ in range(DEEPEST + 1):
            found += [folder for folder in level if layout_of(folder) is not None]
            level = sorted(sub for folder in level if folder not in found for sub in folder.iterdir() if sub.is_dir())
        if not found:
            names = ", ".join(layout.name for layout in LAYOUTS)
            raise UserError(
                f"{self.root}: no recording in it or {DEEPEST} folders below; expected one of these: {names}"
            )
        return sorted(found)

    def _house(self, folder: Path) -> str:
        return room_id(folder.parent if len(folder.relative_to(self.root).parts) == DEEPEST else folder, self.root)

    def _id_table(self) -> tuple[np.ndarray, LabelSet]:  # (65536,) uint8
        return id_table(self.labels or PANOROOMS3D.name)

    def load(self, key: RoomKey) -> Scan:
        """Decodes a few depth pictures where it must find out what is up. Raises ``UserError``."""
        folder = self.root / str(key.place[0])
        layout = layout_of(folder)
        if layout is None:
            raise UserError(f"{folder} is no recording any more; expected what was planned: start the stage again")
        table, label_set = self._id_table()
        has_labels = self.labels is not None and (folder / LABEL_FOLDER).is_dir()
        labels = LabelFolder(folder / LABEL_FOLDER, table, needs_all=True) if has_labels else None
        recorded = layout.open(folder, self.frame_stride, self.depth_units_per_m, labels)
        up = self.up if self.up != "auto" else layout.up
        world = world_to_z_up(up, recorded, self.max_depth_m)
        meta = {"room_type": "unknown", "layout": layout.name, "labelled": has_labels, "up": up}
        frames = RecordedFrames(recorded, world, self.max_depth_m)
        meta |= {"frame_stride": self.frame_stride, **recorded.meta}
        return Scan(key.id, key.house_id, label_set.text, frames, meta=meta)

    def digest(self) -> str:
        """Of the names and sizes of the recordings' files, and of all of their lens files."""
        folders = self._recordings()
        lenses = [folder / name for folder in folders for name in LENS_FILES if (folder / name).is_file()]
        return files_digest(self.root, folders, lenses)


def layout_of(folder: Path) -> Layout | None:
    return next((layout for layout in LAYOUTS if layout.is_here(folder)), None)
