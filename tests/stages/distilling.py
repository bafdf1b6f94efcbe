"""Small furnished boxes with panoramas that fit them, a teacher and a student, and distillation with all that."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file

from roomseg.config import DistillConfig, override
from roomseg.data.rooms import Panorama, Room
from roomseg.geometry.projection import panorama_hits
from roomseg.labels import label_set
from roomseg.models.student import build_student
from roomseg.models.teacher import build_teacher
from roomseg.ports import StageContext
from roomseg.profiles import demo
from roomseg.runtime.cache import StoreCache
from roomseg.runtime.checkpoints import StoreCheckpoints
from roomseg.runtime.progress import open_progress
from roomseg.runtime.storage import DirectoryStore
from roomseg.stages.distill import run
from roomseg.stages.networks import card_of
from tests.data.rooms import FolderArtifact, small_room, write_rooms
from tests.stages.test_teacher import FolderWriter

HEIGHT = 64  # of the panoramas, pixels
SIZES = (40, 46, 34)
LABELS = label_set("panorooms3d")
PALETTE = np.random.default_rng(0).integers(0, 256, (30, 3)).astype(np.uint8)


def furnished(seed: int, split: str = "train", views: int = 1) -> Room:
    """Walls (class 1), a floor (2), a ceiling (3) and boxes of other classes in class colours."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*map(np.arange, SIZES), indexing="ij"), axis=-1).astype(np.float64)
    far = np.array(SIZES) - 1
    sides = np.concatenate([grid - 5.3, far - 5.3 - grid], axis=-1)
    distance, label = sides.min(-1), np.array([1, 1, 2, 1, 1, 3])[sides.argmin(-1)]
    for _ in range(3):
        low = rng.uniform([6, 6, 5], [28, 34, 6])
        high = low + rng.uniform(3, 7, 3)
        box = np.maximum(low - grid, grid - high).max(-1)
        label[box < distance] = rng.integers(4, 12)
        distance = np.minimum(distance, box)
    tsdf = np.clip(np.round(distance / 5 * 127), -127, 127).astype(np.int8)
    tsdf[distance < -4] = 127  # unseen
    label = np.where(tsdf < 127, label, 0).astype(np.uint8)
    room = replace(
        small_room(seed, split, truncation_voxels=5),
        origin_m=rng.normal(size=3),
        tsdf=tsdf,
        rgb=(PALETTE[label] * (tsdf < 127)[..., None]).astype(np.uint8),
        label=label,
    )
    places = rng.uniform([14, 14, 16], [26, 32, 24], (views, 3))
    return replace(room, panoramas=tuple(seen_from(room, place) for place in places))


def seen_from(room: Room, place_voxel: np.ndarray) -> Panorama:
    hits = panorama_hits(room.tsdf, place_voxel, HEIGHT)
    label = np.where(hits.voxel >= 0, room.label.reshape(-1)[hits.voxel], 0).astype(np.uint8)
    return Panorama(room.origin_m + room.voxel_m * place_voxel, PALETTE[label], label)


def rooms_artifact(folder: Path, rooms: list[Room]) -> FolderArtifact:
    return write_rooms(folder, {"rooms/a.parquet": rooms})[0]


def teacher_artifact(folder: Path, labels: str = "panorooms3d", seed: int = 0) -> FolderArtifact:
    """A teacher with random weights."""
    folder.mkdir(parents=True)
    classes = label_set(labels).names
    model = build_teacher("micro", len(classes), "linear", (HEIGHT, 2 * HEIGHT), seed=seed)
    save_file(model.state_dict(), folder / "teacher.safetensors")
    card = {"backbone": "micro", "decoder": "linear", "patch": 16, "height": HEIGHT, "labels": labels}
    normalization = model.normalization._asdict()
    (folder / "teacher.json").write_text(json.dumps(card | {"classes": classes, "normalization": normalization}))
    return FolderArtifact(folder)


def student_artifact(folder: Path, room: Room) -> FolderArtifact:
    """A student with random weights."""
    folder.mkdir(parents=True)
    save_file(build_student("T", seed=5).state_dict(), folder / "model.safetensors")
    (folder / "model.json").write_text(json.dumps(asdict(card_of("T", True, room))))
    return FolderArtifact(folder)


def configured(*settings: str) -> DistillConfig:
    few = ["iterations=1", "validate_every=2", "weight=1", "tau=2"]
    return override(demo(), [f"distill.{setting}" for setting in (*few, *settings)]).distill


@dataclass
class Tracked:
    entries: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    def log(self, step: int, metrics: Any) -> None:
        self.entries.append((step, dict(metrics)))


@dataclass
class Bench:
    """Inputs, a store that its runs share, and what they report."""

    root: Path
    inputs: dict[str, FolderArtifact]
    tracker: Tracked = field(default_factory=Tracked)
    said: list[str] = field(default_factory=list)
    runs: int = 0

    @property
    def store(self) -> DirectoryStore:
        return DirectoryStore(self.root / "store")

    def context(self) -> StageContext:
        """Of a new run."""
        self.runs += 1
        folder = self.root / f"run{self.runs}"
        (folder / "work").mkdir(parents=True)
        return StageContext(
            inputs=self.inputs,
            outputs=FolderWriter(folder / "artifact"),
            checkpoints=StoreCheckpoints(self.store, "distill", f"run{self.runs}", folder / "work", print),
            cache=StoreCache(self.store, self.root / "near", self.said.append),
            tracker=self.tracker,
            progress=open_progress(),
            registry=None,  # type: ignore[arg-type]  # nothing is registered here
            work_dir=folder / "work",
            fetch=Path,
        )

    def distill(self, *settings: str) -> tuple[dict[str, float], FolderArtifact]:
        scores = run(configured(*settings), self.context())
        return scores, FolderArtifact(self.root / f"run{self.runs}" / "artifact")


def bench(root: Path, rooms: list[Room], teacher_labels: str = "panorooms3d") -> Bench:
    return Bench(
        root,
        {
            "rooms": rooms_artifact(root / "rooms", rooms),
            "teacher": teacher_artifact(root / "teacher", teacher_labels),
            "pretrained": student_artifact(root / "pretrained", rooms[0]),
        },
    )
