"""ScanNet (Dai et al. 2017) as a source of rooms: scans with the 20 classes of its benchmark."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from roomseg.errors import UserError
from roomseg.labels import SCANNET20
from roomseg.ports import Rejected, RoomKey
from roomseg.scenes.scans.digest import files_digest
from roomseg.scenes.scans.labels import scannet_table
from roomseg.scenes.scans.recording import RecordedFrames
from roomseg.scenes.scans.scannet_files import SCAN_ID, ScanFiles, find_scans, open_scan, scan_files, scan_info
from roomseg.scenes.scans.textfiles import read_text
from roomseg.scenes.source import Scan
from roomseg.splits import SPLITS, split_by_house

ScannetSplit = Literal["official", "random", "house"]

LIST = "scannetv2_{}.txt"
TABLE = "scannetv2-labels.combined.tsv"
RANDOM_SHARES = (1361 / 1513, 77 / 1513, 75 / 1513)  # the paper's, section 5
VAL_SHARE = 0.05  # of the spaces of the training list, where the benchmark's validation scans are the test
CREDIT = "Angela Dai and others, ScanNet, ScanNet Terms of Use (non-commercial research)"


class ScannetSource:
    """The labelled scans below ``root``: ``scene%04d_%02d`` with a ``.sens`` and ``_2d-label-filt.zip``, or exported.

    How they are split:

    - ``official``: by the benchmark's lists, copied to ``root``. Its test labels are not public; where no scan of the
      test list has labels here, its validation scans are the test, and 5% of the spaces of its training list are the
      validation. So no checkpoint is chosen on the scans that are reported.
    - ``random``: as the paper, 1361 / 77 / 75 of 1513 scans, or the same shares of fewer. Several scans show one
      space, so this leaks: most test scans show a space that was trained on.
    - ``house``: the same shares of spaces; none is in two splits.
    """

    def __init__(
        self,
        root: Path,
        split: ScannetSplit = "official",
        seed: int = 0,
        frame_stride: int = 1,
        limits: Mapping[str, int] | None = None,  # most scans of a split, where it is named
        max_depth_m: float = 4.5,  # the sensor's values are noise beyond
    ) -> None:
        if not root.is_dir():
            raise UserError(f"scannet: {root} is not a folder; expected one with scene0000_00 or scans/ in it")
        self.root, self.split, self.seed = root, split, seed
        self.frame_stride, self.limits, self.max_depth_m = frame_stride, dict(limits or {}), max_depth_m

    def plan(self) -> tuple[list[RoomKey], list[Rejected]]:
        """Looks at names only. Raises ``UserError`` where nothing is found, or a list or the table of labels misses."""
        usable, rejected = self._usable()
        if not usable:
            raise UserError(
                f"{self.root}: no scan has frames and labels, {len(rejected)} have not both; expected .sens "
                "and _2d-label-filt.zip in each scene%04d_%02d"
            )
        if any(scan.labels is not None and scan.labels.name != "label" for scan in usable):
            self._table_path()
        if self.split == "official":
            sides = self._official(usable)
            rejected += self._off_the_lists(usable, rejected)
        else:
            sides = self._drawn(usable)
        keys = [
            key for side in SPLITS for key in self._keys([scan for scan in usable if sides.get(scan.id) == side], side)
        ]
        return keys, sorted(rejected, key=lambda each: each.id)

    def _usable(self) -> tuple[list[ScanFiles], list[Rejected]]:
        usable, rejected = [], []
        for scan in find_scans(self.root):
            if scan.layout is None:
                rejected.append(Rejected(scan.id, "no .sens and no exported frames"))
            elif scan.labels is None:
                rejected.append(Rejected(scan.id, "no labels: neither _2d-label-filt.zip nor a folder label"))
            else:
                usable.append(scan)
        return usable, rejected

    def _keys(self, scans: Sequence[ScanFiles], side: str) -> list[RoomKey]:
        """In the order of their ids; of more than the limit those that the seed draws."""
        limit = self.limits.get(side, len(scans))
        drawn = sorted(scans, key=lambda scan: hashlib.sha256(f"{self.seed}/{scan.id}".encode()).digest())[:limit]
        return [
            RoomKey(scan.id, scan.space, side, (scan.folder.relative_to(self.root).as_posix(),))
            for scan in sorted(drawn, key=lambda scan: scan.id)
        ]

    def _drawn(self, scans: Sequence[ScanFiles]) -> dict[str, str]:  # scan -> split
        groups = {scan.id: scan.space if self.split == "house" else scan.id for scan in scans}
        sides = split_by_house(groups.values(), RANDOM_SHARES, self.seed)
        return {scan: sides[group] for scan, group in groups.items()}

    def _official(self, usable: Sequence[ScanFiles]) -> dict[str, str]:  # scan -> split
        listed = {side: self._listed(side) for side in SPLITS}
        sides = {scan: side for side in SPLITS for scan in listed[side]}
        if not listed["test"] & {scan.id for scan in usable}:
            spaces = {scan: scan.split("_")[0] for scan in listed["train"]}
            drawn = split_by_house(spaces.values(), (1 - VAL_SHARE, VAL_SHARE, 0.0), self.seed)
            sides |= {scan: "val" if drawn[space] == "val" else "train" for scan, space in spaces.items()}
            sides |= dict.fromkeys(listed["val"], "test")
        return sides

    def _off_the_lists(self, usable: Sequence[ScanFiles], rejected: Sequence[Rejected]) -> list[Rejected]:
        """Scans in none of the lists, and those of the training and validation lists that are not there."""
        found, named = {scan.id for scan in usable}, self._listed("train") | self._listed("val")
        unlisted = found - named - self._listed("test")
        absent = named - found - {each.id for each in rejected}
        return [
            *(Rejected(scan, "in none of the benchmark's lists") for scan in unlisted),
            *(Rejected(scan, "in the benchmark's lists, but not found") for scan in absent),
        ]

    def _listed(self, side: str) -> set[str]:
        path = self._beside(LIST.format(side))
        if path is None:
            if side == "test":
                return set()
            raise UserError(
                f"{self.root} has no {LIST.format(side)}; expected the benchmark's lists beside the scans: copy them "
                "from Tasks/Benchmark of ScanNet's repository, or set the split to random or house"
            )
        scans = read_text(path).split()
        wrong = next((scan for scan in scans if not SCAN_ID.fullmatch(scan)), None)
        if wrong is not None:
            raise UserError(f"{path}: got {wrong[:40]!r}; expected one scan a line, such as scene0000_00")
        return set(scans)

    @cached_property
    def _table(self) -> np.ndarray:  # (65536,) uint8, ScanNet's ids to classes
        return scannet_table(self._table_path())

    def _table_path(self) -> Path:
        path = self._beside(TABLE)
        if path is None:
            raise UserError(
                f"{self.root} has no {TABLE}, which turns label ids into classes: copy it there from the release"
            )
        return path

    def _beside(self, name: str) -> Path | None:
        """A file of the release as a whole: in the root or, where that is its folder ``scans``, one above."""
        return next((path for path in (self.root / name, self.root.parent / name) if path.is_file()), None)

    def load(self, key: RoomKey) -> Scan:
        """Reads where the frames lie, not what they show. Raises ``UserError``."""
        scan = scan_files(self.root / str(key.place[0]))
        if scan.layout is None:
            raise UserError(f"{scan.folder} has no frames any more; expected what was planned: start the stage again")
        alignment, room_type = scan_info(scan)
        recorded = open_scan(scan, self.frame_stride, lambda: self._table)
        world = np.eye(4) if alignment is None else alignment
        return Scan(
            id=key.id,
            house_id=key.house_id,
            labels=SCANNET20.text,
            frames=RecordedFrames(recorded, world, self.max_depth_m),
            credits=(CREDIT,),
            meta={
                "layout": scan.layout,
                "room_type": room_type,
                "axis_aligned": alignment is not None,
                "frame_stride": self.frame_stride,
                **recorded.meta,
            },
        )

    def digest(self) -> str:
        """Of the names and sizes of the scans' files, and of all of the lists and the table."""
        small = [path for path in map(self._beside, (TABLE, *map(LIST.format, SPLITS))) if path is not None]
        return files_digest(self.root, [scan.folder for scan in find_scans(self.root)], small)
