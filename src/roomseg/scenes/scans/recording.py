"""A recording: two cameras fixed to one another, and shots that are decoded only when they are looked at.

Every layout (``.sens``, exported folders, TUM, Open3D) is opened as a ``Recording``; here it becomes a ``Scan``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from roomseg.errors import UserError
from roomseg.geometry.raster import Frame
from roomseg.scenes.scans.images import Size, check_size
from roomseg.scenes.scans.registration import Rig, register
from roomseg.scenes.source import PosedFrame

RIGID_TOLERANCE = 0.01
FARTHEST_M = 1e7  # of a camera from the origin

LabelReader = Callable[[], np.ndarray]  # (H, W) uint8 class ids, at the size of colour or of depth
LabelFinder = Callable[[Sequence[str]], LabelReader | None]  # from the names a frame goes by; None: it has no labels


@dataclass(frozen=True)
class Shot:
    name: str  # file and frame, for messages
    pose: np.ndarray  # (4, 4) float64, depth camera to world
    depth: Callable[[], np.ndarray]  # (H, W) float32, metres, 0 = none
    color: Callable[[], np.ndarray]  # (H', W', 3) uint8
    label: LabelReader | None


@dataclass(frozen=True)
class Recording:
    rig: Rig
    shots: tuple[Shot, ...]
    meta: dict[str, Any] = field(default_factory=dict)


def recording(where: str, rig: Rig, shots: Sequence[Shot], labelled: bool) -> Recording:
    """Of the shots with a rigid pose and, where the recording is ``labelled``, with labels; the others are counted.

    Raises ``UserError`` where none is left.
    """
    posed = [shot for shot in shots if is_rigid(shot.pose)]
    kept = [shot for shot in posed if shot.label is not None or not labelled]
    if not kept:
        raise UserError(
            f"{where}: of {len(shots)} frames {len(posed)} have a rigid camera-to-world pose"
            f"{' and 0 have labels' if labelled and posed else ''}; expected one at least: complete the recording"
        )
    meta = {"frames": len(kept), "frames_without_pose": len(shots) - len(posed)}
    if labelled:
        meta["frames_without_label"] = len(posed) - len(kept)
    return Recording(rig, tuple(kept), meta)


def is_rigid(matrix: np.ndarray) -> bool:
    """Whether a (4, 4) matrix is a rotation and a translation, all finite."""
    rotation = matrix[:3, :3]
    if not np.isfinite(matrix).all() or np.abs(rotation).max() > 2 or np.abs(matrix[:3, 3]).max() > FARTHEST_M:
        return False
    errors = (np.abs(rotation @ rotation.T - np.eye(3)).max(), np.abs(matrix[3] - (0, 0, 0, 1)).max())
    return bool(max(errors) < RIGID_TOLERANCE and np.linalg.det(rotation) > 0)


def check_rigid(matrix: np.ndarray, where: str) -> np.ndarray:
    if not is_rigid(matrix):
        raise UserError(f"{where}: got {np.round(matrix, 3).tolist()}; expected a rotation and a translation, 4 x 4")
    return matrix


def metres(raw: np.ndarray, units_per_m: float, invalid: int = 0) -> np.ndarray:  # (H, W) uint16 -> float32
    """Depth in metres, 0 where the sensor gave nothing or ``invalid``."""
    depth = raw.astype(np.float32) / np.float32(units_per_m)
    if invalid:
        depth[raw == invalid] = 0
    return depth


@dataclass(frozen=True)
class RecordedFrames:
    """The frames of a recording in a world with +Z up; a ``Scan.frames``."""

    recording: Recording
    world: np.ndarray  # (4, 4) the recording's world to that one
    max_depth_m: float  # what is farther is dropped

    def __call__(self) -> Iterator[PosedFrame]:
        for shot in self.recording.shots:
            yield PosedFrame(self._frame(shot), self.recording.rig.depth, self.world @ shot.pose)

    def depths(self, at_most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Depth (H, W) and pose (4, 4) of at most so many shots, evenly spread; nothing else is decoded."""
        shots = self.recording.shots
        for i in np.unique(np.linspace(0, len(shots) - 1, at_most).round().astype(int)):
            yield self._depth(shots[i]), self.world @ shots[i].pose

    def _frame(self, shot: Shot) -> Frame:
        rig, depth, color = self.recording.rig, self._depth(shot), shot.color()
        check_size(_size(color), (rig.color.width, rig.color.height), f"{shot.name}: colour")
        unknown = np.zeros(color.shape[:2], np.uint8)
        label = unknown if shot.label is None else shot.label()
        if label.shape == depth.shape != color.shape[:2]:  # seen by the depth camera
            frame = register(depth, color, unknown, rig)
            return frame._replace(label=np.where(frame.depth > 0, label, 0).astype(np.uint8))
        check_size(_size(label), _size(color), f"{shot.name}: label")
        return register(depth, color, label, rig)

    def _depth(self, shot: Shot) -> np.ndarray:
        depth, camera = shot.depth(), self.recording.rig.depth
        check_size(_size(depth), (camera.width, camera.height), f"{shot.name}: depth")
        return np.where(depth <= self.max_depth_m, depth, np.float32(0))


def _size(image: np.ndarray) -> Size:
    return image.shape[1], image.shape[0]
