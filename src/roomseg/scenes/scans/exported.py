"""Frames that ScanNet's own exporters write, and those that look like them.

- ``color/<n>.jpg``, ``depth/<n>.png``, ``pose/<n>.txt`` with ``intrinsic/`` (exporter in Python) or with
  ``intrinsics_color.txt`` and ``intrinsics_depth.txt`` (``scannet_frames_25k``)
- ``frame-<n>.color.jpg``, ``.depth.pgm``, ``.pose.txt`` with ``_info.txt`` (exporter in C++, 3RScan) or with
  ``camera-intrinsics.txt`` (7-Scenes and its like)

Depth in millimetres unless ``_info.txt`` says otherwise; poses are camera to world, of the depth camera.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from roomseg.errors import UserError
from roomseg.scenes.scans.folders import DepthUnit, FrameFiles, folder_recording, pictures, sizes
from roomseg.scenes.scans.images import Size
from roomseg.scenes.scans.intrinsics import lens_matrix, own_lens, pinhole, registered_rig
from roomseg.scenes.scans.recording import LabelFinder, Recording, check_rigid
from roomseg.scenes.scans.registration import Rig
from roomseg.scenes.scans.textfiles import key_values, matrix, numbers, read_matrix

MM = 1000.0
SEVEN_SCENES_LENS = lens_matrix(585, 585, 320, 240)
SEVEN_SCENES_INVALID = 65535
INFO = "_info.txt"
_DEPTH_NAME = re.compile(r"frame-([0-9]+)\.depth\.(png|pgm)")


def is_scannet_export(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in ("color", "depth", "pose"))


def open_scannet_export(folder: Path, stride: int, per_m: float | None, labels: LabelFinder | None) -> Recording:
    """Frames whose number is a multiple of ``stride``; raises ``UserError`` for missing or unpaired files."""
    depth = {_frame_number(path): path for path in pictures(folder / "depth")}
    color = {_frame_number(path): path for path in pictures(folder / "color")}
    frames = []
    for n in sorted(n for n in depth if n % stride == 0):
        if n not in color:
            raise UserError(
                f"{folder / 'color'} has no picture {n} though depth/ has; expected pairs: export them again"
            )
        names = (depth[n].stem, color[n].stem)
        frames.append(FrameFiles(names, depth[n], color[n], read_matrix(folder / "pose" / f"{depth[n].stem}.txt")))
    if not frames:
        raise UserError(
            f"{folder / 'depth'} has no pictures whose number is a multiple of {stride}; expected 16-bit PNGs such as "
            "0.png: export the scan again or lower the frame stride"
        )
    return folder_recording(folder, frames, _export_rig(folder, *sizes(frames[0])), DepthUnit(per_m or MM), labels)


def _frame_number(path: Path) -> int:
    if not path.stem.isdecimal():
        raise UserError(f"{path}: expected a frame's number for its name, such as 000100{path.suffix}: rename it")
    return int(path.stem)


def _export_rig(folder: Path, depth: Size, color: Size) -> Rig:
    inner = folder / "intrinsic"
    if inner.is_dir():
        depth_file, color_file = inner / "intrinsic_depth.txt", inner / "intrinsic_color.txt"
    else:
        depth_file, color_file = folder / "intrinsics_depth.txt", folder / "intrinsics_color.txt"
    extrinsic = inner / "extrinsic_depth.txt"
    return Rig(
        pinhole(read_matrix(depth_file, (4, 3)), depth, str(depth_file)),
        pinhole(read_matrix(color_file, (4, 3)), color, str(color_file)),
        check_rigid(read_matrix(extrinsic), str(extrinsic)) if extrinsic.is_file() else np.eye(4),
    )


def is_frame_files(folder: Path) -> bool:
    return any(_DEPTH_NAME.fullmatch(path.name) for path in folder.iterdir())


def open_frame_files(folder: Path, stride: int, per_m: float | None, labels: LabelFinder | None) -> Recording:
    """Frames whose number is a multiple of ``stride``; raises ``UserError`` for missing or unpaired files."""
    matches = (_DEPTH_NAME.fullmatch(path.name) for path in folder.iterdir())
    frames = []
    for number, stem, name in sorted((int(m[1]), f"frame-{m[1]}", m[0]) for m in matches if m):
        if number % stride:
            continue
        color = next((p for p in (folder / f"{stem}.color.{kind}" for kind in ("jpg", "png")) if p.is_file()), None)
        if color is None:
            raise UserError(f"{folder} has {name} but no {stem}.color.jpg or .png; expected pairs: export them again")
        frames.append(FrameFiles((stem,), folder / name, color, read_matrix(folder / f"{stem}.pose.txt")))
    if not frames:
        raise UserError(
            f"{folder} has no frame-*.depth.png whose number is a multiple of {stride}: lower the frame stride"
        )
    depth, color_size = sizes(frames[0])
    unit = DepthUnit(per_m or MM, SEVEN_SCENES_INVALID)
    if own_lens(folder) is None and (folder / INFO).is_file():
        rig, shift = _info_rig(folder / INFO, depth, color_size)
        unit = DepthUnit(per_m or shift, SEVEN_SCENES_INVALID)
    else:
        rig = registered_rig(folder, depth, color_size, SEVEN_SCENES_LENS)
    return folder_recording(folder, frames, rig, unit, labels)


def _info_rig(path: Path, depth: Size, color: Size) -> tuple[Rig, float]:
    """Cameras and depth units a metre."""
    info = key_values(path)
    try:
        texts = [info[f"m_calibration{name}"] for name in ("DepthIntrinsic", "ColorIntrinsic", "DepthExtrinsic")]
        shift = float(numbers(info["m_depthShift"], f"{path}: m_depthShift")[0])
    except (KeyError, IndexError) as error:
        raise UserError(f"{path}: {error} is missing; expected it as ScanNet's exporter writes it") from None
    if not (np.isfinite(shift) and shift > 0):
        raise UserError(f"{path}: m_depthShift is {shift}; expected a positive number of units a metre, usually 1000")
    depth_lens, color_lens, extrinsic = (matrix(text, str(path)) for text in texts)
    rig = Rig(
        pinhole(depth_lens, depth, f"{path}: m_calibrationDepthIntrinsic"),
        pinhole(color_lens, color, f"{path}: m_calibrationColorIntrinsic"),
        check_rigid(extrinsic, f"{path}: m_calibrationDepthExtrinsic"),
    )
    return rig, shift
