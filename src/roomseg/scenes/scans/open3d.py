"""The layout of Open3D's examples and of Redwood: a folder of colour, a folder of depth, joined by order, and a
trajectory (``*.log`` or Open3D's JSON). Colour is registered to depth; depth is in millimetres."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from roomseg.errors import UserError
from roomseg.scenes.scans.folders import DepthUnit, FrameFiles, folder_recording, pictures, same_count, sizes
from roomseg.scenes.scans.images import Size
from roomseg.scenes.scans.intrinsics import json_lens, lens_matrix, own_lens, pinhole, registered_rig, resized
from roomseg.scenes.scans.recording import LabelFinder, Recording
from roomseg.scenes.scans.registration import Rig
from roomseg.scenes.scans.textfiles import numbers, read_json, read_text

COLOR_FOLDERS = ("color", "image", "rgb")
TRAJECTORIES = ("*.log", "*trajectory*.json", "scene/*.log", "scene/*trajectory*.json")
MM = 1000.0
USUAL_LENS = lens_matrix(525, 525, 319.5, 239.5)


def is_open3d(folder: Path) -> bool:
    return (folder / "depth").is_dir() and _color_folder(folder) is not None and bool(_trajectories(folder))


def _color_folder(folder: Path) -> Path | None:
    return next((folder / name for name in COLOR_FOLDERS if (folder / name).is_dir()), None)


def _trajectories(folder: Path) -> list[Path]:
    """Those of the first place that has any."""
    return next((found for pattern in TRAJECTORIES if (found := sorted(folder.glob(pattern)))), [])


def open_open3d(folder: Path, stride: int, per_m: float | None, labels: LabelFinder | None) -> Recording:
    """Every ``stride``-th frame; raises ``UserError`` where colour, depth and poses are not equally many."""
    color_folder, paths = _color_folder(folder), _trajectories(folder)
    assert color_folder is not None, "open_open3d: ask is_open3d first"
    if len(paths) != 1:
        names = ", ".join(str(path.relative_to(folder)) for path in paths)
        raise UserError(f"{folder}: got the trajectories {names}; expected one: keep the one that fits the pictures")
    depth, color = pictures(folder / "depth", (".png",)), pictures(color_folder)
    poses, lens = _read_json_trajectory(paths[0]) if paths[0].suffix == ".json" else (_read_log(paths[0]), None)
    counts = {"colour pictures": len(color), "depth pictures": len(depth), f"poses in {paths[0].name}": len(poses)}
    same_count(folder, counts)
    joined = list(zip(depth, color, poses, strict=True))[::stride]
    frames = [FrameFiles((d.stem, c.stem), d, c, pose) for d, c, pose in joined]
    return folder_recording(folder, frames, _rig(folder, frames[0], lens), DepthUnit(per_m or MM), labels)


def _rig(folder: Path, first: FrameFiles, lens: tuple[np.ndarray, Size, str] | None) -> Rig:
    """By the folder's own lens file, else by the trajectory, else by the usual lens."""
    depth, color = sizes(first)
    if lens is None or own_lens(folder) is not None:
        return registered_rig(folder, depth, color, USUAL_LENS)
    matrix, size, where = lens
    camera = pinhole(matrix, size, where)
    return Rig(resized(camera, depth, where), resized(camera, color, where), np.eye(4))


def _read_log(path: Path) -> np.ndarray:  # (n, 4, 4) camera to world
    """Five lines a frame: three whole numbers, then the matrix, row-major."""
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    rest = [" ".join(lines[i + 1 : i + 5]) for i in range(0, len(lines), 5)]
    values = [numbers(text, f"{path}: pose {i}") for i, text in enumerate(rest)]
    bad = next((i for i, row in enumerate(values) if len(row) != 16), None)
    if bad is not None:
        raise UserError(f"{path}: pose {bad} has {len(values[bad])} numbers; expected 16 in the 4 lines after its head")
    return np.array(values).reshape(-1, 4, 4)


def _read_json_trajectory(path: Path) -> tuple[np.ndarray, tuple[np.ndarray, Size, str]]:
    """Poses (n, 4, 4) camera to world, and the lens of the first frame. The file has world to camera, column-major."""
    content = read_json(path)
    entries = content.get("parameters") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path}: expected a list parameters with a camera for each frame, as Open3D writes it")
    poses = []
    for i, entry in enumerate(entries):
        try:
            columns = np.array(entry["extrinsic"], np.float64).reshape(4, 4)
            poses.append(np.linalg.inv(columns.T))
        except np.linalg.LinAlgError:
            poses.append(np.full((4, 4), np.nan))
        except (KeyError, TypeError, ValueError, OverflowError):
            raise UserError(f"{path}: parameters[{i}].extrinsic: expected 16 numbers") from None
    where = f"{path}: parameters[0].intrinsic"
    return np.array(poses), (*json_lens(entries[0].get("intrinsic"), where), where)
