"""Trained networks from files: a folder with ``model.json`` and ``model.safetensors``, or a published checkpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from safetensors.torch import save_file
from torch import Tensor, nn

from roomseg.config import NetworkName
from roomseg.errors import UserError
from roomseg.labels import LABEL_SETS, PANOROOMS3D, LabelSet, label_set
from roomseg.models.student import VARIANTS
from roomseg.models.weight_files import read_weights
from roomseg.models.weights import load_weights
from roomseg.stages.networks import NetworkCard, build_from_card

WEIGHTS, CARD = "model.safetensors", "model.json"
CHECKPOINT_SUFFIXES = (".pth", ".pt", ".safetensors")
PUBLISHED_VOXEL_M, PUBLISHED_TRUNCATION_VOXELS = 0.04, 5


@dataclass(frozen=True)
class LoadedModel:
    card: NetworkCard
    network: nn.Module  # in eval mode
    where: str  # what it was loaded from, for people

    @property
    def labels(self) -> LabelSet:
        return label_set(self.card.labels)


def load_model(path: Path) -> LoadedModel:
    """From a folder as ``save_model`` writes it, or a checkpoint; raises ``UserError`` for anything else."""
    if (path / CARD).is_file():
        card = _read_card(path / CARD)
        return _loaded(card, read_weights(path / WEIGHTS), path / WEIGHTS, str(path))
    if path.is_file() and path.suffix in CHECKPOINT_SUFFIXES:
        state = read_weights(path)
        return _loaded(published_card(state, path), state, path, str(path))
    what = "is not there" if not path.exists() else "is no model"
    raise UserError(
        f"{path} {what}; expected a folder with {CARD} and {WEIGHTS} (`roomseg export` writes one), a published "
        ".pth, or models:/NAME@ALIAS of the registry"
    )


def save_model(model: LoadedModel, folder: Path) -> None:
    """Write ``model.json`` and ``model.safetensors``."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in model.network.state_dict().items()}
    save_file(state, folder / WEIGHTS)
    (folder / CARD).write_text(json.dumps(asdict(model.card), indent=1, sort_keys=True) + "\n")


def published_card(state: Mapping[str, Tensor], path: Path) -> NetworkCard:
    """What the shapes of a published checkpoint say it is: a student; raises ``UserError`` for other weights.

    Published rooms have voxels of 4 cm, a truncation of 5 of them, and the 30 classes of PanoRooms3D.
    """
    try:
        width = state["encoder.patch_embed.patch_embed.proj.weight"].shape[0]
        depths = tuple(_blocks(state, stage) for stage in (0, 1))
        classes, seen = state["output.weight"].shape
    except (KeyError, ValueError):
        raise UserError(
            f"{path} has no weights of a 3D Segmenter; expected a published checkpoint (3DSeg-T.pth, ...), or a folder "
            f"with {CARD} beside the weights"
        ) from None
    sizes = {name: (variant.width, variant.depths) for name, variant in VARIANTS.items()}
    name = next((name for name, size in sizes.items() if size == (width, depths)), None)
    if name is None:
        raise UserError(f"{path} has width {width} and depths {depths}; expected one of {sizes}")
    if classes != len(PANOROOMS3D):
        known = ", ".join(f"{len(each)} ({each.name})" for each in LABEL_SETS.values())
        raise UserError(f"{path} has {classes} classes; a bare checkpoint is expected to have {known.split(', ')[0]}")
    return NetworkCard(
        network=cast(NetworkName, name),
        skip=seen != classes,
        labels=PANOROOMS3D.text,
        classes=PANOROOMS3D.names,
        voxel_m=PUBLISHED_VOXEL_M,
        truncation_voxels=PUBLISHED_TRUNCATION_VOXELS,
    )


def _blocks(state: Mapping[str, Tensor], stage: int) -> int:
    prefix = f"encoder.patch_embed.layers.{stage}.blocks."
    return 1 + max(int(name.removeprefix(prefix).split(".")[0]) for name in state if name.startswith(prefix))


def _read_card(path: Path) -> NetworkCard:
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        card = NetworkCard(**(values | {"classes": tuple(values["classes"])}))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} describes no network ({error}); expected what `roomseg export` writes") from None
    labels = label_set(card.labels)
    if card.classes != labels.names:
        raise UserError(f"{path} has other classes than the label set {labels.name}: it is of another version")
    return card


def _loaded(card: NetworkCard, state: Mapping[str, Tensor], path: Path, where: str) -> LoadedModel:
    network = build_from_card(card)
    try:
        load_weights(network, state)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return LoadedModel(card, network.eval().requires_grad_(False), where)
