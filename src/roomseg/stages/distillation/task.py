"""The training task: one room a step, L = L_CE + weight x L_Dist (paper, section 4), and what the switches add."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from roomseg.config import DistillConfig
from roomseg.data.dataset import RoomSet, epoch_order
from roomseg.data.panoramas import relight
from roomseg.data.rooms import TSDF_STEPS, Room
from roomseg.geometry.equirect import solid_angle_weights
from roomseg.geometry.symmetries import Symmetry
from roomseg.losses import (
    CollapsedTeacher,
    collapse_teacher,
    collapsed_distillation,
    cosine_feature_loss,
    join_collapsed,
    lovasz_softmax,
    surface_band,
)
from roomseg.metrics import all_scores
from roomseg.models.upsampled import SCALE
from roomseg.models.windows import MULTIPLE
from roomseg.stages.distillation.features import SeenCells, join_cells, seen_cells
from roomseg.stages.distillation.student import DistilledStudent
from roomseg.stages.distillation.views import RoomViews, UsableRoom, View
from roomseg.stages.networks import network_confusions, room_tensor


@dataclass(frozen=True)
class DistillBatch:
    room_id: str
    volume: Tensor  # (1, 4, X, Y, Z) float32
    labels: Tensor  # (1, X, Y, Z) uint8
    teacher: CollapsedTeacher | None  # each of these three where the loss has it
    features: SeenCells | None
    band: Tensor | None  # (N,) int64, flat, the voxels near a surface


class DistillTask:
    def __init__(
        self,
        model: DistilledStudent,
        train: RoomSet,
        val: RoomSet,
        views: RoomViews,
        usable: Sequence[UsableRoom],
        config: DistillConfig,
    ) -> None:
        self.model, self.train, self.val = model, train, val
        self.views, self.usable, self.config = views, usable, config
        self.device = next(model.parameters()).device

    def batch(self, number: int) -> DistillBatch:
        """All that depends on the number alone, made on the device while the step before it runs."""
        config, rng = self.config, np.random.default_rng([self.config.seed, number, 1])
        chosen = self.usable[self._order(number)]
        chosen_views = rng.permutation(chosen.views)[: config.views_per_step].tolist()
        room, symmetry = augmented(self.train[chosen.place], config, rng)
        views = [self._moved(chosen.place, view, symmetry) for view in chosen_views]
        return DistillBatch(
            room_id=room.id,
            volume=room_tensor(room).to(self.device),
            labels=torch.from_numpy(room.label).to(self.device)[None],
            teacher=join_collapsed([self._collapsed(view) for view in views]) if config.weight else None,
            features=join_cells([self._cells(view, room.shape) for view in views]) if config.feature_weight else None,
            band=self._band(room) if config.band_weight or config.lovasz_weight else None,
        )

    def loss(self, batch: DistillBatch) -> tuple[Tensor, dict[str, float]]:
        student, config, volume = self.model.student, self.config, batch.volume
        features = student.room_features(volume, config.max_voxels)  # (1, 2 D, cells of the padded room)
        coarse = student.class_logits(features)
        parts = {"ce": student.cross_entropy(coarse, volume, batch.labels, config.void_weight)}
        weights = {"ce": 1.0, "kd": config.weight, "feature": config.feature_weight}
        if batch.teacher is not None:
            at_hits = student.logits_at(coarse, volume, batch.teacher.voxels)  # (V, K)
            parts["kd"] = collapsed_distillation(at_hits, batch.teacher, config.tau)
        if batch.band is not None and len(batch.band):
            at_band = student.logits_at(coarse, volume, batch.band)  # (N, K)
            truth = batch.labels.flatten()[batch.band].long()
            weights |= {"band_ce": config.band_weight, "lovasz": config.lovasz_weight}
            if config.band_weight:
                parts["band_ce"] = F.cross_entropy(at_band, truth)
            if config.lovasz_weight:
                parts["lovasz"] = lovasz_softmax(at_band, truth)
        if batch.features is not None:
            parts["feature"] = self._feature_loss(features, batch.features)
        total = torch.stack([weights[name] * part.float() for name, part in parts.items()]).sum()
        return total, {name: part.item() for name, part in parts.items()}

    def validate(self) -> dict[str, float]:
        return all_scores(network_confusions(self.model.scored, self.val))

    def describe(self, number: int) -> str:
        return f"room {self.train.refs[self.usable[self._order(number)].place].id}"

    def _order(self, number: int) -> int:
        epoch, position = divmod(number, len(self.usable))
        return int(epoch_order(self.config.seed, epoch, len(self.usable))[position])

    def _moved(self, place: int, number: int, symmetry: Symmetry) -> View:
        """A viewpoint of the moved room. The teacher saw the room as it was: a pixel keeps what it said, and its voxel
        goes where the room's voxels went."""
        view = self.views.read(place, number)
        if symmetry == Symmetry():
            return view
        return replace(view, voxel=symmetry.places(view.voxel, self.train.refs[place].shape))

    def _collapsed(self, view: View) -> CollapsedTeacher:
        assert view.logits is not None
        logits, voxel = (torch.from_numpy(array).to(self.device) for array in (view.logits, view.voxel))
        return collapse_teacher(logits, voxel, self.config.tau, self._pixel_weights(view))

    def _cells(self, view: View, sizes: tuple[int, int, int]) -> SeenCells:
        assert view.features is not None
        tokens, voxel = (torch.from_numpy(array).to(self.device) for array in (view.features, view.voxel))
        x, y, z = (-(-n // MULTIPLE) * MULTIPLE // SCALE for n in sizes)
        return seen_cells(tokens, voxel, self._pixel_weights(view), sizes, (x, y, z))

    def _pixel_weights(self, view: View) -> Tensor:  # (H, 2H)
        weights = torch.ones(view.voxel.shape, device=self.device)
        if self.config.solid_angle:
            weights *= torch.from_numpy(solid_angle_weights(len(weights))).to(self.device)[:, None]
        return weights

    def _band(self, room: Room) -> Tensor:  # (N,)
        tsdf = torch.from_numpy(room.tsdf).to(self.device)
        near = surface_band(tsdf, self.config.band_voxels, room.meta["truncation_voxels"])
        return near.flatten().nonzero()[:, 0]

    def _feature_loss(self, features: Tensor, seen: SeenCells) -> Tensor:
        assert self.model.feature_head is not None
        rows = features[0].flatten(1).T[seen.cells]  # (C, 2 D)
        return cosine_feature_loss(self.model.feature_head(rows).float(), seen.target, seen.weight)


def augmented(room: Room, config: DistillConfig, rng: np.random.Generator) -> tuple[Room, Symmetry]:
    """The room turned, mirrored and in other light, as ``config.augment`` has it, and how its voxels were moved."""
    symmetry = Symmetry(
        turns=int(rng.integers(4)) if "yaw" in config.augment else 0,
        mirrored=bool(rng.integers(2)) if "flip" in config.augment else False,
    )
    rgb = room.rgb
    if "colour" in config.augment:
        full = room.tsdf < TSDF_STEPS
        rgb = np.zeros_like(rgb)
        rgb[full] = relight(room.rgb[full], rng)
    tsdf, rgb, label = (np.ascontiguousarray(symmetry.volume(plane)) for plane in (room.tsdf, rgb, room.label))
    return replace(room, tsdf=tsdf, rgb=rgb, label=label), symmetry
