"""Recordings as folders of pictures: how their frames are found, and the readers of one frame's files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from roomseg.errors import UserError
from roomseg.scenes.scans.images import decode_color, decode_depth, image_size, read_image
from roomseg.scenes.scans.labels import read_classes
from roomseg.scenes.scans.recording import LabelFinder, LabelReader, Recording, Shot, metres, recording
from roomseg.scenes.scans.registration import Rig

_NUMBER = re.compile(r"([0-9]+)")
_DAMAGED_ID = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class FrameFiles:
    names: tuple[str, ...]  # that its labels may go by: the stem of its depth, then of its colour
    depth: Path
    color: Path
    pose: np.ndarray  # (4, 4) camera to world


@dataclass(frozen=True)
class DepthUnit:
    per_m: float
    invalid: int = 0  # besides 0


def folder_recording(
    folder: Path, frames: Sequence[FrameFiles], rig: Rig, unit: DepthUnit, labels: LabelFinder | None
) -> Recording:
    """The recording of these files; raises ``UserError`` where no frame has all it needs."""
    shots = [
        Shot(
            name=str(frame.depth),
            pose=frame.pose,
            depth=partial(_read_depth, frame.depth, rig, unit),
            color=partial(_read_color, frame.color, rig),
            label=labels(frame.names) if labels is not None else None,
        )
        for frame in frames
    ]
    return recording(str(folder), rig, shots, labelled=labels is not None)


def _read_depth(path: Path, rig: Rig, unit: DepthUnit) -> np.ndarray:  # (H, W) float32, metres
    raw = decode_depth(read_image(path), str(path), (rig.depth.width, rig.depth.height))
    return metres(raw, unit.per_m, unit.invalid)


def _read_color(path: Path, rig: Rig) -> np.ndarray:  # (H', W', 3) uint8
    return decode_color(read_image(path), str(path), (rig.color.width, rig.color.height))


@dataclass(frozen=True)
class LabelFolder:
    """A folder of label pictures named as the frames; a ``LabelFinder``."""

    folder: Path
    table: np.ndarray  # (65536,) uint8, ids to classes
    needs_all: bool  # a frame without labels is an error

    def __call__(self, names: Sequence[str]) -> LabelReader | None:
        path = next((p for p in (self.folder / f"{name}.png" for name in names) if p.is_file()), None)
        if path is not None:
            return partial(self._read, path)
        if self.needs_all:
            raise UserError(
                f"{self.folder} has no {names[0]}.png; expected labels for every frame: add them or the rest"
            )
        return None

    def _read(self, path: Path) -> np.ndarray:  # (H, W) uint8
        return read_classes(read_image(path), str(path), self.table)


def sizes(frame: FrameFiles) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height of a frame's depth and colour."""
    return image_size(frame.depth), image_size(frame.color)


def pictures(folder: Path, suffixes: tuple[str, ...] = (".png", ".jpg", ".jpeg")) -> list[Path]:
    """The pictures of a folder by the numbers in their names."""
    found = (path for path in folder.iterdir() if path.suffix.lower() in suffixes and not path.name.startswith("."))
    return sorted(found, key=lambda path: _natural(path.name))


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sorts ``frame-9`` before ``frame-10``."""
    return [(0, int(part), part) if part.isdigit() else (1, 0, part) for part in _NUMBER.split(name)]


def same_count(folder: Path, counts: dict[str, int]) -> None:
    """Raises ``UserError`` where things that are paired by order are not equally many, or none."""
    if len(set(counts.values())) > 1 or not all(counts.values()):
        got = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise UserError(f"{folder}: got {got}; expected as many of each, at least one: complete the recording")


def room_id(folder: Path, root: Path) -> str:
    """The folder's path below ``root`` as an id; of ``root`` itself its name."""
    parts = folder.relative_to(root).parts or (folder.resolve().name,)
    return _DAMAGED_ID.sub("-", "_".join(parts)) or "recording"
