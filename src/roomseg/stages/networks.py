"""What pretrain, distill and evaluate share: a 3D network's files, whole-room tensors and whole-room scores."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from roomseg.config import NetworkName
from roomseg.data.dataset import RoomSet
from roomseg.data.rooms import Room, network_input
from roomseg.errors import UserError, told_when_memory_runs_out
from roomseg.labels import label_set
from roomseg.metrics import ConfusionMatrix
from roomseg.models.memory import how_to_plan_with_less
from roomseg.models.networks import as_network, build_network, is_student
from roomseg.models.student import Student
from roomseg.models.weights import load_weights
from roomseg.ports import ArtifactReader, StageContext
from roomseg.stages.outputs import add_json, read_json


@dataclass(frozen=True)
class NetworkCard:
    """What one needs to rebuild a network and to feed it: ``model.json``."""

    network: NetworkName
    skip: bool
    labels: str  # text of the label set (labels.py)
    classes: tuple[str, ...]  # its names, so that the file can be read without it
    voxel_m: float
    truncation_voxels: int


def card_of(network: NetworkName, skip: bool, room: Room) -> NetworkCard:
    classes = label_set(room.labels).names
    return NetworkCard(network, skip, room.labels, classes, room.voxel_m, room.meta["truncation_voxels"])


def build_from_card(card: NetworkCard, drop_path: float = 0.0, seed: int = 0) -> nn.Module:
    return build_network(card.network, len(card.classes), skip=card.skip, drop_path=drop_path, seed=seed)


def add_network(ctx: StageContext, card: NetworkCard, state: dict[str, torch.Tensor], history: list[dict]) -> None:
    """Write ``model.safetensors``, ``model.json`` and ``history.json``."""
    path = ctx.work_dir / "model.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    ctx.outputs.add("model.safetensors", path)
    add_json(ctx, "model.json", asdict(card))
    add_json(ctx, "history.json", history)


def read_card(artifact: ArtifactReader) -> NetworkCard:
    values: dict[str, Any] = read_json(artifact, "model.json")
    return NetworkCard(**(values | {"classes": tuple(values["classes"])}))


def load_network(artifact: ArtifactReader, drop_path: float = 0.0) -> nn.Module:
    """The trained network of a finished artifact, in eval mode."""
    model = build_from_card(read_card(artifact), drop_path)
    load_weights(model, load_file(artifact.path("model.safetensors")))
    return model.eval()


def load_student(artifact: ArtifactReader, drop_path: float = 0.0) -> Student:
    """As ``load_network``; raises ``UserError`` for a baseline, which cannot be distilled into."""
    card = read_card(artifact)
    if not is_student(card.network):
        raise UserError(f"distillation got {card.network}; expected a student: set pretrain.network to T, B, M or L")
    model = load_network(artifact, drop_path)
    assert isinstance(model, Student)
    return model


def room_tensor(room: Room) -> torch.Tensor:  # (1, 4, X, Y, Z) float32
    return torch.from_numpy(network_input(room))[None]


def told_of_the_room(model: nn.Module, what: str, sizes: Sequence[int]) -> AbstractContextManager[None]:
    """Says what to lower where the memory is too small to label a room of ``sizes`` voxels; ``what`` names it."""
    voxels = " x ".join(map(str, sizes))
    remedy = "it looks at parts of a fixed size: take a machine with more memory, or another network"
    if isinstance(model, Student):
        remedy = how_to_plan_with_less(next(model.parameters()).device)
    return told_when_memory_runs_out(
        lambda where: f"{what}: out of {where} memory as {type(model).__name__} labelled {voxels} voxels; {remedy}"
    )


def predict_room(model: nn.Module, room: Room, average: bool = False) -> np.ndarray:  # (X, Y, Z) uint8
    """``average``: of a student, the mean over the room's symmetries; baselines have no such thing."""
    device = next(model.parameters()).device
    with torch.inference_mode(), told_of_the_room(model, f"room {room.id}", room.tsdf.shape):
        volume = room_tensor(room).to(device)
        if isinstance(model, Student):
            return model.predict(volume, average=average)[0].cpu().numpy()
        return as_network(model).predict(volume)[0].cpu().numpy()


def room_confusion(room: Room, predicted: np.ndarray) -> np.ndarray:  # (K, K) int64, rows truth
    confusion = ConfusionMatrix(len(label_set(room.labels)))
    confusion.add(room.label, predicted)
    return confusion.counts


def network_confusions(model: nn.Module, rooms: RoomSet, average: bool = False) -> list[np.ndarray]:
    """A confusion matrix a room, over all its voxels; the model is in eval mode. ``average`` as in ``predict_room``."""
    return [room_confusion(room, predict_room(model, room, average)) for room in rooms]
