"""The layout of the TUM RGB-D benchmark: ``rgb.txt``, ``depth.txt`` and ``groundtruth.txt`` join pictures and poses
by time; colour is registered to depth, and depth has 5000 units to a metre."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from roomseg.errors import UserError
from roomseg.scenes.scans.folders import DepthUnit, FrameFiles, folder_recording, sizes
from roomseg.scenes.scans.intrinsics import lens_matrix, registered_rig
from roomseg.scenes.scans.recording import LabelFinder, Recording
from roomseg.scenes.scans.textfiles import numbers, read_text

LISTS = ("rgb.txt", "depth.txt", "groundtruth.txt")
UNITS_PER_M = 5000.0
MAX_APART_S = 0.02
LENSES = (  # of the benchmark's three cameras, by a part of the recording's name
    (("freiburg1", "fr1"), lens_matrix(517.3, 516.5, 318.6, 255.3)),
    (("freiburg2", "fr2"), lens_matrix(520.9, 521.0, 325.1, 249.7)),
    (("freiburg3", "fr3"), lens_matrix(535.4, 539.2, 320.1, 247.6)),
)
USUAL_LENS = lens_matrix(525, 525, 319.5, 239.5)


def is_tum(folder: Path) -> bool:
    return all((folder / name).is_file() for name in LISTS)


def open_tum(folder: Path, stride: int, per_m: float | None, labels: LabelFinder | None) -> Recording:
    """Every ``stride``-th depth picture that has a colour picture and a pose within 0.02 s."""
    depth_times, depth_files = _timed_files(folder / "depth.txt")
    color_times, color_files = _timed_files(folder / "rgb.txt")
    pose_times, poses = _timed_poses(folder / "groundtruth.txt")
    to_color, color_apart = _nearest(color_times, depth_times)
    to_pose, pose_apart = _nearest(pose_times, depth_times)
    joined = np.flatnonzero((color_apart <= MAX_APART_S) & (pose_apart <= MAX_APART_S))
    if not len(joined):
        raise UserError(
            f"{folder}: none of {len(depth_times)} depth pictures has colour and pose within {MAX_APART_S} s; expected "
            "rgb.txt, depth.txt and groundtruth.txt of one clock"
        )
    frames = []
    for i in joined[::stride]:
        depth, color = depth_files[i], color_files[to_color[i]]
        frames.append(FrameFiles((depth.stem, color.stem), depth, color, poses[to_pose[i]]))
    name = folder.resolve().name.lower()
    usual = next((lens for parts, lens in LENSES if any(part in name for part in parts)), USUAL_LENS)
    rig = registered_rig(folder, *sizes(frames[0]), usual)
    return folder_recording(folder, frames, rig, DepthUnit(per_m or UNITS_PER_M), labels)


def _lines(path: Path) -> list[list[str]]:
    return [line.split() for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]


def _timed_files(path: Path) -> tuple[np.ndarray, list[Path]]:  # (n,) seconds, ascending
    rows = _lines(path)
    if not rows or any(len(row) != 2 for row in rows):
        raise UserError(f"{path}: expected lines of a time and a file, at least one: write it again")
    times = numbers(" ".join(row[0] for row in rows), str(path))
    for _, name in rows:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(f"{path}: {name} lies outside the recording; expected a file below {path.parent}")
    order = np.argsort(times, kind="stable")
    return times[order], [path.parent / rows[i][1] for i in order]


def _timed_poses(path: Path) -> tuple[np.ndarray, np.ndarray]:  # (n,) seconds, ascending, (n, 4, 4)
    rows = _lines(path)
    if not rows or any(len(row) != 8 for row in rows):
        raise UserError(f"{path}: expected lines of time tx ty tz qx qy qz qw, at least one: write it again")
    table = numbers(" ".join(" ".join(row) for row in rows), str(path)).reshape(-1, 8)
    table = table[np.argsort(table[:, 0], kind="stable")]
    return table[:, 0], _pose_matrices(table[:, 1:4], table[:, 4:])


def _pose_matrices(shift: np.ndarray, quaternion: np.ndarray) -> np.ndarray:  # (n, 3), (n, 4) xyzw -> (n, 4, 4)
    """A quaternion without length gives a matrix of NaN."""
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y, z, w = (quaternion / np.linalg.norm(quaternion, axis=1, keepdims=True)).T
    pose = np.tile(np.eye(4), (len(shift), 1, 1))
    pose[:, 0, :3] = np.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], axis=1)
    pose[:, 1, :3] = np.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], axis=1)
    pose[:, 2, :3] = np.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], axis=1)
    pose[:, :3, 3] = shift
    return pose


def _nearest(times: np.ndarray, to: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each time of ``to`` (n,) the place of the nearest of ``times``, and how far it is."""
    after = np.searchsorted(times, to).clip(0, len(times) - 1)
    before = (after - 1).clip(0)
    nearest = np.where(np.abs(times[before] - to) <= np.abs(times[after] - to), before, after)
    return nearest, np.abs(times[nearest] - to)
