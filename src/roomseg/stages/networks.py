"""What pretrain, distill and evaluate share: a student's files, whole-room tensors and whole-room scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from roomseg.data.dataset import RoomSet
from roomseg.data.rooms import Room, network_input
from roomseg.labels import CLASS_NAMES
from roomseg.metrics import ConfusionMatrix
from roomseg.models.student import Student, build_student, load_student_state
from roomseg.ports import ArtifactReader, StageContext
from roomseg.stages.outputs import add_json, read_json


@dataclass(frozen=True)
class StudentCard:
    """What one needs to rebuild a student and to feed it: ``model.json``."""

    variant: str
    skip: bool
    classes: tuple[str, ...]
    voxel_m: float
    truncation_voxels: int


def card_of(variant: str, skip: bool, room: Room) -> StudentCard:
    return StudentCard(variant, skip, CLASS_NAMES, room.voxel_m, room.meta["truncation_voxels"])


def add_student(ctx: StageContext, card: StudentCard, state: dict[str, torch.Tensor], history: list[dict]) -> None:
    """Write ``model.safetensors``, ``model.json`` and ``history.json``."""
    path = ctx.work_dir / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    ctx.outputs.add("model.safetensors", path)
    add_json(ctx, "model.json", asdict(card))
    add_json(ctx, "history.json", history)


def read_card(artifact: ArtifactReader) -> StudentCard:
    values: dict[str, Any] = read_json(artifact, "model.json")
    return StudentCard(**(values | {"classes": tuple(values["classes"])}))


def load_student(artifact: ArtifactReader, drop_path: float = 0.0) -> Student:
    card = read_card(artifact)
    model = build_student(card.variant, len(card.classes), skip=card.skip, drop_path=drop_path)
    load_student_state(model, load_file(artifact.path("model.safetensors")))
    return model.eval()


def room_tensor(room: Room) -> torch.Tensor:  # (1, 4, X, Y, Z) float32
    return torch.from_numpy(network_input(room))[None]


def predict_room(model: Student, room: Room) -> np.ndarray:  # (X, Y, Z) uint8
    device = next(model.parameters()).device
    with torch.inference_mode():
        return model.predict(room_tensor(room).to(device))[0].cpu().numpy()


def room_confusion(room: Room, predicted: np.ndarray) -> np.ndarray:  # (K, K) int64, rows truth
    confusion = ConfusionMatrix()
    confusion.add(room.label, predicted)
    return confusion.counts


def student_confusions(model: Student, rooms: RoomSet) -> list[np.ndarray]:
    """A confusion matrix a room, over all its voxels; the model is in eval mode."""
    return [room_confusion(room, predict_room(model, room)) for room in rooms]
