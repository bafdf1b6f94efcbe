"""What distillation needs of each viewpoint: which voxel each pixel sees, and what the frozen teacher says of it.

Both depend on nothing that training changes, so they are made once and kept in ``ctx.cache``: other runs, with another
temperature or student, take them from there, and the teacher is not even loaded. A key names the shard and the row of
the room, the viewpoint, the code, and for the teacher's arrays its weights; ``data.view_files`` has the bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any, TypeVar

import numpy as np
import torch

from roomseg.config import DistillConfig
from roomseg.data.dataset import RoomRef, RoomSet
from roomseg.data.rooms import Panorama, Room
from roomseg.data.view_files import Header, pack_floats, pack_hits, unpack_floats, unpack_hits
from roomseg.errors import UserError
from roomseg.geometry.raycast_torch import caster_on
from roomseg.models.teacher import Teacher
from roomseg.ports import ArtifactReader, Cache, Progress
from roomseg.processes import given_cores
from roomseg.stages.distillation.judging import examine, fault_of
from roomseg.stages.teacher import load_teacher, panorama_tensor, told_of_the_panorama
from roomseg.training import training_device

HITS_CODE = "roomseg.stages.distillation.judging"
TEACHER_CODE = "roomseg.models.teacher"
Unpacked = TypeVar("Unpacked")


@dataclass(frozen=True)
class View:
    """One viewpoint of a room."""

    voxel: np.ndarray  # (H, 2H) int32, flat index of the voxel of the surface that a pixel sees, -1 for none
    logits: np.ndarray | None  # (K, h, w) float16, of the teacher's patches; None where nothing is learnt from them
    features: np.ndarray | None  # (d, h, w) float16, its tokens, likewise


@dataclass(frozen=True)
class UsableRoom:
    place: int  # in the set of rooms
    views: tuple[int, ...]  # numbers of its panoramas that may be learnt from, one at least


@dataclass(frozen=True)
class LeftOut:
    """A viewpoint that cannot be learnt from, and why."""

    room: str
    view: int
    reason: str


class TeacherOf:
    """The trained teacher of an artifact, read when it is asked something for the first time."""

    def __init__(self, artifact: ArtifactReader) -> None:
        self._artifact, self._lock = artifact, Lock()
        self.digests = [artifact.sha256(name) for name in ("teacher.safetensors", "teacher.json")]

    def __call__(self, ask: Callable[[Teacher, torch.Tensor], torch.Tensor], panorama: Panorama) -> np.ndarray:
        """What ``ask(teacher, image)`` gives for a panorama, as float16 without the batch's axis."""
        with self._lock, torch.inference_mode(), told_of_the_panorama(panorama):
            image = panorama_tensor(panorama).to(training_device())
            return ask(self._teacher, image)[0].to("cpu", torch.float16).numpy()

    def forget(self) -> None:
        """Give its memory back; it is read again if it is asked again."""
        self.__dict__.pop("_teacher", None)

    @cached_property
    def _teacher(self) -> Teacher:
        return load_teacher(self._artifact).to(training_device())


class RoomViews:
    """The viewpoints of a set of rooms, at most ``config.views`` a room."""

    def __init__(self, rooms: RoomSet, teacher: TeacherOf, cache: Cache, config: DistillConfig) -> None:
        self._rooms, self._teacher, self._cache, self._config = rooms, teacher, cache, config

    def prepare(self, progress: Progress) -> tuple[list[UsableRoom], list[LeftOut]]:
        """Make what is missing, and say which viewpoints may be learnt from.

        Raises ``UserError`` for the first that may not, where ``on_bad_view`` is ``stop``, and if none is left.
        """
        usable, left_out = [], []
        n = len(self._rooms)
        pool = ThreadPoolExecutor(given_cores())
        try:
            results: Iterator[list[LeftOut | int]] = pool.map(self._prepare_room, range(n))
            for place, views in enumerate(progress.track(results, "distill: views", total=n, unit="rooms")):
                left_out += [view for view in views if isinstance(view, LeftOut)]
                good = tuple(view for view in views if not isinstance(view, LeftOut))
                if good:
                    usable.append(UsableRoom(place, good))
                self._refuse(left_out)
        finally:
            pool.shutdown(cancel_futures=True)
        self._teacher.forget()
        if not usable:
            raise UserError(_nothing_left(left_out))
        return usable, left_out

    def read(self, place: int, number: int) -> View:
        """A viewpoint from the cache; what has been lost since is made again."""
        ref = _Opened(self._rooms.refs[place])
        voxel, _ = self._hits(ref, number)
        return View(voxel, *self._teachers(ref, number))

    def _prepare_room(self, place: int) -> list[LeftOut | int]:
        """The viewpoints that may be learnt from, and the others with their reasons."""
        ref = _Opened(self._rooms.refs[place])
        views: list[LeftOut | int] = []
        number, stored = 0, 1
        while number < min(stored, self._config.views):
            try:
                _, header = self._hits(ref, number)
            except IndexError:  # only of the first: a header says how many there are
                return [LeftOut(ref.id, 0, "the room has no panorama")]
            stored, fault = header["stored"], fault_of(header, self._config)
            if fault is None:
                self._teachers(ref, number)
            views.append(number if fault is None else LeftOut(ref.id, number, fault))
            number += 1
        return views

    def _refuse(self, left_out: Sequence[LeftOut]) -> None:
        if left_out and self._config.on_bad_view == "stop":
            bad = left_out[0]
            raise UserError(
                f"distill: room {bad.room}, panorama {bad.view}: {bad.reason}; "
                "render it again, or leave such views out with distill.on_bad_view=skip"
            )

    def _hits(self, ref: _Opened, number: int) -> tuple[np.ndarray, Header]:
        def make() -> bytes:
            caster = caster_on(training_device())
            voxel, noted = examine(ref.room, ref.panoramas[number], self._config.hits, caster)
            noted |= {"room": ref.id, "view": number, "stored": len(ref.panoramas)}
            return pack_hits(voxel, ref.room.shape, noted)

        parts = ref.names(number) | {"way": self._config.hits}  # not the device: the hits are the same
        return self._get(self._cache.key("hits", parts, HITS_CODE), make, unpack_hits, ref, number)

    def _teachers(self, ref: _Opened, number: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Logits and features, each if it is learnt from."""
        logits = self._ask(Teacher.coarse_logits, "logits", ref, number) if self._config.weight else None
        features = self._ask(Teacher.features, "features", ref, number) if self._config.feature_weight else None
        return logits, features

    def _ask(self, ask: Callable[..., torch.Tensor], kind: str, ref: _Opened, number: int) -> np.ndarray:
        def make() -> bytes:
            return pack_floats(self._teacher(ask, ref.panoramas[number]), {"room": ref.id, "view": number})

        parts = ref.names(number) | {"teacher": self._teacher.digests}
        return self._get(self._cache.key(kind, parts, TEACHER_CODE), make, unpack_floats, ref, number)[0]

    def _get(
        self,
        key: str,
        make: Callable[[], bytes],
        unpack: Callable[[bytes], tuple[Unpacked, Header]],
        ref: _Opened,
        number: int,
    ) -> tuple[Unpacked, Header]:
        content = self._cache.get(key)
        if content is not None:
            try:
                value, header = unpack(content)
            except ValueError:
                header = {}
            if (header.get("room"), header.get("view")) == (ref.id, number):
                return value, header
        content = make()
        self._cache.put(key, content)
        return unpack(content)


class _Opened:
    """A room that is read where it is needed, and once."""

    def __init__(self, ref: RoomRef) -> None:
        self.ref, self.id = ref, ref.id

    def names(self, number: int) -> dict[str, Any]:
        """What says which bytes a viewpoint is made of: nothing is read for it."""
        return {"shard": self.ref.artifact.sha256(self.ref.shard), "row": self.ref.row, "view": number}

    @cached_property
    def room(self) -> Room:
        return self.ref.load()

    @cached_property
    def panoramas(self) -> Sequence[Panorama]:
        return self.ref.panoramas()


def _nothing_left(left_out: Sequence[LeftOut]) -> str:
    first = left_out[0]
    return (
        f"distill: no panorama of {len({view.room for view in left_out})} training rooms can be learnt from, "
        f"the first (room {first.room}) because {first.reason}; render again, or lower distill.min_hit_rate "
        "or distill.min_label_agreement"
    )
