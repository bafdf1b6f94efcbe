"""distill: room by room, the teacher's class distributions go into the student (paper, section 4).

What does not change in training is found once a room before it: the pixel -> voxel map of its panorama, and the
frozen teacher's coarse logits. Each step then needs the student's logits at the voxels that are hit, and no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from roomseg.config import DistillConfig
from roomseg.data.dataset import RoomSet, epoch_order, open_rooms
from roomseg.data.rooms import Panorama, Room
from roomseg.errors import UserError
from roomseg.geometry.equirect import solid_angle_weights
from roomseg.geometry.projection import HitMap, panorama_hits
from roomseg.losses import CollapsedTeacher, collapse_teacher, collapsed_distillation
from roomseg.metrics import all_scores
from roomseg.models.student import Student, pad_with_empty
from roomseg.models.teacher import Teacher
from roomseg.ports import Progress, StageContext
from roomseg.stages.networks import add_network, load_student, network_confusions, read_card, room_tensor
from roomseg.stages.teacher import load_teacher, panorama_tensor
from roomseg.training import FitConfig, constant_lr, fit, training_device


def run(config: DistillConfig, ctx: StageContext) -> dict[str, float]:
    """Train; returns the best mIoU over the voxels of the validation rooms."""
    train, val = open_rooms(ctx.inputs["rooms"], "train"), open_rooms(ctx.inputs["rooms"], "val")
    device = training_device()
    teacher = load_teacher(ctx.inputs["teacher"]).to(device)
    views = RoomViews(train, ctx.work_dir / "views")
    chosen = views.prepare(teacher, config.min_hit_rate, ctx.progress)
    model = load_student(ctx.inputs["pretrained"], config.drop_path).to(device)
    result = fit(
        DistillTask(model, train, val, views, chosen, config),
        torch.optim.Adam(model.parameters(), config.lr),
        constant_lr(config.lr),
        FitConfig(
            steps=config.iterations,
            validate_every=config.validate_every,
            precision=config.precision,
            seed=config.seed,
        ),
        checkpoints=ctx.checkpoints,
        tracker=ctx.tracker,
        progress=ctx.progress,
        title="distill",
    )
    add_network(ctx, read_card(ctx.inputs["pretrained"]), result.best_state, result.history)
    return {"val_miou": result.best_score, "rooms_left_out": float(len(train) - len(chosen))}


@dataclass(frozen=True)
class RoomView:
    """One panorama of a room as distillation needs it."""

    voxel: np.ndarray  # (H, 2H) int32, flat index of the hit surface voxel, -1 where missed
    teacher: np.ndarray  # (K, h, w) float16, coarse logits


class RoomViews:
    """The hit map and the teacher's coarse logits of each training room, on the local disk."""

    def __init__(self, rooms: RoomSet, folder: Path) -> None:
        self.rooms, self.folder = rooms, folder
        folder.mkdir(parents=True, exist_ok=True)

    def prepare(self, teacher: Teacher, min_hit_rate: float, progress: Progress) -> list[int]:
        """Write what is missing; returns the rooms whose panorama sees at least ``min_hit_rate``."""
        chosen = []
        for index in progress.track(range(len(self.rooms)), "distill: hit maps", total=len(self.rooms), unit="rooms"):
            if not self._path(index).exists():
                self._write(index, make_view(self.rooms[index], teacher))
            if (self[index].voxel >= 0).mean() >= min_hit_rate:
                chosen.append(index)
        if not chosen:
            raise UserError(
                f"distill: no training panorama hits {min_hit_rate:.0%} of its room; "
                "render again with another seed, or lower distill.min_hit_rate"
            )
        return chosen

    def __getitem__(self, index: int) -> RoomView:
        with np.load(self._path(index), allow_pickle=False) as arrays:
            return RoomView(arrays["voxel"], arrays["teacher"])

    def _path(self, index: int) -> Path:
        return self.folder / f"{self.rooms.refs[index].id}.npz"

    def _write(self, index: int, view: RoomView) -> None:
        part = self._path(index).with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(file, voxel=view.voxel, teacher=view.teacher)
        part.rename(self._path(index))


def make_view(room: Room, teacher: Teacher) -> RoomView:
    panorama = room.panoramas[0]
    device = next(teacher.parameters()).device
    with torch.inference_mode():
        coarse = teacher.coarse_logits(panorama_tensor(panorama).to(device))[0]
    return RoomView(room_hits(room, panorama).voxel, coarse.to("cpu", torch.float16).numpy())


def room_hits(room: Room, panorama: Panorama) -> HitMap:
    camera_voxel = (panorama.camera_m - room.origin_m) / room.voxel_m
    return panorama_hits(room.tsdf, camera_voxel, panorama.label.shape[0])


@dataclass(frozen=True)
class DistillBatch:
    room_id: str
    volume: torch.Tensor  # (1, 4, X, Y, Z) float32
    labels: torch.Tensor  # (1, X, Y, Z) uint8
    teacher: CollapsedTeacher


class DistillTask:
    """One room a step: L = L_CE + weight x L_Dist (paper, section 4)."""

    def __init__(
        self,
        model: Student,
        train: RoomSet,
        val: RoomSet,
        views: RoomViews,
        chosen: list[int],
        config: DistillConfig,
    ) -> None:
        self.model, self.train, self.val = model, train, val
        self.views, self.chosen, self.config = views, chosen, config
        self.device = next(model.parameters()).device

    def batch(self, step: int) -> DistillBatch:
        epoch, position = divmod(step, len(self.chosen))
        index = self.chosen[epoch_order(self.config.seed, epoch, len(self.chosen))[position]]
        room, view = self.train[index], self.views[index]
        teacher = collapse_teacher(
            torch.from_numpy(view.teacher),
            torch.from_numpy(view.voxel),
            self.config.tau,
            self._pixel_weights(view.voxel.shape),
        )
        return DistillBatch(room.id, room_tensor(room), torch.from_numpy(room.label.copy())[None], teacher)

    def _pixel_weights(self, shape: tuple[int, ...]) -> torch.Tensor:  # (H, 2H)
        if not self.config.solid_angle:
            return torch.ones(shape)
        return torch.from_numpy(solid_angle_weights(shape[0]))[:, None].expand(shape)

    def loss(self, batch: DistillBatch) -> tuple[torch.Tensor, dict[str, float]]:
        volume, labels = batch.volume.to(self.device), batch.labels.to(self.device)
        coarse = self.model.coarse(pad_with_empty(volume))
        ce = self.model.cross_entropy(coarse, volume, labels, self.config.void_weight)
        if self.config.weight == 0:
            return ce, {"ce": ce.item()}
        teacher = batch.teacher.to(self.device)
        at_hits = self.model.logits_at(coarse, volume, teacher.voxels)  # (V, K)
        kd = collapsed_distillation(at_hits, teacher, self.config.tau)
        return ce + self.config.weight * kd, {"ce": ce.item(), "kd": kd.item()}

    def validate(self) -> dict[str, float]:
        return all_scores(network_confusions(self.model, self.val))

    def describe(self, batch: DistillBatch) -> str:
        return f"room {batch.room_id}"
