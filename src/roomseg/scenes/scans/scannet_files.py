"""One ScanNet scan on disk: what there is of it, and its frames, from its ``.sens`` or from exported folders."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from roomseg.errors import UserError
from roomseg.scenes.scans.exported import is_frame_files, is_scannet_export, open_frame_files, open_scannet_export
from roomseg.scenes.scans.folders import LabelFolder, pictures
from roomseg.scenes.scans.images import decode_ids, read_image
from roomseg.scenes.scans.intrinsics import pinhole
from roomseg.scenes.scans.label_zip import LabelZip
from roomseg.scenes.scans.labels import nyu40_table
from roomseg.scenes.scans.recording import LabelFinder, Recording, Shot, check_rigid, metres, recording
from roomseg.scenes.scans.registration import Rig
from roomseg.scenes.scans.sens import SensFrame, SensHeader, read_color, read_depth, read_frames, read_header
from roomseg.scenes.scans.textfiles import key_values, matrix

SCAN_ID = re.compile(r"(scene[0-9]{4})_[0-9]{2}")
PLACES = (".", "scans", "scans_test", "scannet_frames_25k")  # below the root
LABEL_ZIPS = ("_2d-label-filt.zip", "_2d-label.zip")  # filtered ones are the release's better ones
LABEL_FOLDERS = ("label-filt", "label")

Layout = Literal["sens", "export", "frames"]
Table = Callable[[], np.ndarray]  # (65536,) uint8: ScanNet ids to classes


@dataclass(frozen=True)
class ScanFiles:
    id: str
    folder: Path
    layout: Layout | None  # None: no frames
    labels: Path | None  # a zip or a folder

    @property
    def is_whole(self) -> bool:
        return self.layout is not None and self.labels is not None

    @property
    def space(self) -> str:
        """The place that was scanned, maybe several times."""
        return self.id.split("_")[0]


def find_scans(root: Path) -> list[ScanFiles]:
    """The folders ``scene%04d_%02d`` in ``root`` and its usual sub-folders, by id; of several the first whole one."""
    found: dict[str, ScanFiles] = {}
    for place in (root / name for name in PLACES if (root / name).is_dir()):
        for folder in place.iterdir():
            if not SCAN_ID.fullmatch(folder.name) or not folder.is_dir():
                continue
            scan = scan_files(folder)
            if scan.id not in found or (scan.is_whole and not found[scan.id].is_whole):
                found[scan.id] = scan
    return sorted(found.values(), key=lambda scan: scan.id)


def scan_files(folder: Path) -> ScanFiles:
    zips = (folder / f"{folder.name}{ending}" for ending in LABEL_ZIPS)
    labels = next((path for path in zips if path.is_file()), None)
    labels = labels or next((path for path in (folder / name for name in LABEL_FOLDERS) if path.is_dir()), None)
    return ScanFiles(folder.name, folder, _layout(folder), labels)


def _layout(folder: Path) -> Layout | None:
    if (folder / f"{folder.name}.sens").is_file():
        return "sens"
    if is_scannet_export(folder):
        return "export"
    return "frames" if is_frame_files(folder) else None


def open_scan(scan: ScanFiles, stride: int, table: Table) -> Recording:
    """Its frames whose number is a multiple of ``stride``; raises ``UserError``."""
    assert scan.layout is not None, "open_scan: a scan without frames"
    finder = None if scan.labels is None else _label_finder(scan.labels, table)
    if scan.layout == "sens":
        return _open_sens(scan.folder / f"{scan.id}.sens", stride, finder)
    open_folder = open_scannet_export if scan.layout == "export" else open_frame_files
    return open_folder(scan.folder, stride, None, finder)


def _label_finder(path: Path, table: Table) -> LabelFinder:
    """Zips, and folders of 16 bits, hold ScanNet's ids; folders of 8 bits hold NYU's."""
    if path.is_file():
        return LabelZip(path, table())
    first = next(iter(pictures(path, (".png",))), None)
    if first is None:
        raise UserError(f"{path} has no pictures; expected labels such as 0.png: unpack them again")
    is_wide = decode_ids(read_image(first), str(first)).dtype == np.uint16
    return LabelFolder(path, table() if is_wide else nyu40_table(), needs_all=False)


def _open_sens(path: Path, stride: int, labels: LabelFinder | None) -> Recording:
    header = read_header(path)
    rig = Rig(
        pinhole(header.depth_intrinsic, header.depth_size, f"{path}: depth intrinsic"),
        pinhole(header.color_intrinsic, header.color_size, f"{path}: colour intrinsic"),
        check_rigid(header.depth_extrinsic, f"{path}: depth extrinsic"),
    )
    shots = [_shot(path, header, frame, labels) for frame in read_frames(path, header, stride)]
    return recording(str(path), rig, shots, labelled=labels is not None)


def _shot(path: Path, header: SensHeader, frame: SensFrame, labels: LabelFinder | None) -> Shot:
    return Shot(
        name=f"{path}: frame {frame.index}",
        pose=frame.pose,
        depth=lambda: metres(read_depth(path, header, frame), header.depth_units_per_m),
        color=partial(read_color, path, header, frame),
        label=labels((str(frame.index),)) if labels is not None else None,
    )


def scan_info(scan: ScanFiles) -> tuple[np.ndarray | None, str]:
    """The rotation (4, 4) that lines the scan up with the axes, if its ``.txt`` has one, and the kind of room."""
    path = scan.folder / f"{scan.id}.txt"
    info = key_values(path) if path.is_file() else {}
    alignment = None
    if "axisAlignment" in info:
        where = f"{path}: axisAlignment"
        alignment = check_rigid(matrix(info["axisAlignment"], where), where)
    return alignment, info.get("sceneType") or "unknown"
