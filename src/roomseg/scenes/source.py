"""What sources give to ``render``: rooms as scenes (meshes) or as scans (RGB-D frames with poses).

Finished volumes are the third kind: ``data.rooms.Room``. ``ports.RoomSource`` is the interface of a source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from roomseg.geometry.cameras import Pinhole
from roomseg.geometry.mesh import TriangleMesh
from roomseg.geometry.raster import Frame


class Scene(Protocol):
    """A room as a mesh, metres, +Z up, floor at z = 0, with what is needed to put cameras into it."""

    @property
    def id(self) -> str: ...

    @property
    def house_id(self) -> str: ...

    @property
    def room_type(self) -> str: ...

    @property
    def mesh(self) -> TriangleMesh: ...

    @property
    def height_m(self) -> float: ...

    @property
    def floor_bounds(self) -> np.ndarray:
        """(2, 2) lowest and highest x, y of the floor, metres."""
        ...

    @property
    def credits(self) -> tuple[str, ...]:
        """Creator, library and licence of what is in the mesh, sorted."""
        ...

    @property
    def object_names(self) -> tuple[str, ...]: ...

    def is_free(self, points: np.ndarray, clearance_m: float) -> np.ndarray:
        """(n, 3) -> (n,) bool: inside the room and at least the clearance away from its shell and every object."""
        ...

    def ahead_m(self, point: tuple[float, float], direction: tuple[float, float]) -> float:
        """The way along a unit direction on the floor plan from a point in the room to its wall."""
        ...


@dataclass(frozen=True)
class PosedFrame:
    frame: Frame  # label is 0 where nothing is known
    camera: Pinhole  # of depth; colour and labels are brought into it
    pose: np.ndarray  # (4, 4) float64, camera to world, +Z up


@dataclass(frozen=True)
class Scan:
    """A room as RGB-D frames, to be fused."""

    id: str
    house_id: str
    labels: str  # text of the label set (labels.py)
    frames: Callable[[], Iterator[PosedFrame]]  # from the start at each call; frames without a valid pose left out
    credits: tuple[str, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)  # JSON types
