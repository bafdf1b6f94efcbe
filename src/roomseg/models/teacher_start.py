"""Start weights of the teacher: from timm's hub, from a file of a ViT, or from a Segmenter checkpoint.

A ViT fills the encoder alone. Its names are timm's; timm's own models also take those that timm converts, such as
DINOv2's and DINOv3's. Errors are ``UserError`` and say what was got and what was expected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from roomseg.errors import UserError
from roomseg.models.teacher import LinearDecoder, Teacher, without_imagenet_head
from roomseg.models.timm_vit import UNUSED, TimmVit, import_timm
from roomseg.models.vit import NORMALIZATIONS, SegmenterVit, resize_positions
from roomseg.models.weight_files import read_variant, read_weights
from roomseg.models.weights import load_weights

IMAGENET21K = {  # Steiner et al. (2021), the start that the paper names
    "tiny": "vit_tiny_patch16_224.augreg_in21k",
    "small": "vit_small_patch16_224.augreg_in21k",
    "base": "vit_base_patch16_224.augreg_in21k",
    "large": "vit_large_patch16_224.augreg_in21k",
}


def start_from_hub(teacher: Teacher, backbone: str, source: str) -> None:
    """``source`` is imagenet21k for Segmenter's sizes, hub for a timm model's own weights; over the network."""
    if isinstance(teacher.encoder, SegmenterVit):
        name = IMAGENET21K.get(backbone) if source == "imagenet21k" else None
    else:
        name = backbone if source == "hub" else None
    if name is None:
        raise UserError(
            f"teacher.start is {source!r} with teacher.backbone {backbone!r}; "
            f"expected imagenet21k with {', '.join(IMAGENET21K)}, or hub with a ViT of timm"
        )
    try:
        state = import_timm().create_model(name, pretrained=True, num_classes=0).state_dict()
    except Exception as error:  # the hub client's errors have no common type
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"cannot fetch {name} from timm's hub ({reason}); set teacher.start to random or to a file of weights"
        ) from error
    load_encoder(teacher, state)


def start_from_vit(teacher: Teacher, path: Path) -> None:
    """The encoder from a file that ``read_weights`` reads."""
    state = read_weights(path)
    if "encoder.patch_embed.proj.weight" in state:
        raise UserError(f"{path} is of a Segmenter: expected the name checkpoint.pth, with variant.yml beside it")
    try:
        load_encoder(teacher, state)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def load_encoder(teacher: Teacher, state: Mapping[str, Tensor]) -> None:
    """A ViT's weights; its square grid of positions is resized to the teacher's."""
    encoder = teacher.encoder
    if isinstance(encoder, TimmVit):
        encoder.load(state)
        return
    weights = {name: value for name, value in state.items() if not name.startswith(UNUSED)}
    if "pos_embed" in weights:
        side = math.isqrt(max(weights["pos_embed"].shape[1] - 1, 0))
        weights["pos_embed"] = _regridded(weights["pos_embed"], side, side, encoder)
    load_weights(encoder, weights)


def start_from_segmenter(teacher: Teacher, checkpoint: Path, variant: Path, with_decoder: bool) -> None:
    """All of a Segmenter checkpoint, or its encoder alone, and the normalisation that it was trained with.

    Everything but the size of its images must agree with the teacher.
    """
    encoder = teacher.encoder
    if not isinstance(encoder, SegmenterVit):
        raise UserError(f"{checkpoint} is of a Segmenter; expected teacher.backbone to be one of its sizes, not timm's")
    net = read_variant(variant)
    try:
        _check_variant(net, encoder)
        if with_decoder:
            _check_decoder(net, teacher)
        normalization = NORMALIZATIONS[net["normalization"]]
        rows, columns = (-(-int(n) // encoder.patch) for n in net["image_size"])
        distilled = bool(net["distilled"])
    except UserError as error:  # a ValueError, too
        raise UserError(f"{variant}: {error}") from None
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{variant} is no variant file of Segmenter: net_kwargs lacks or misstates {error}") from None
    weights = without_imagenet_head(read_weights(checkpoint))
    if distilled:
        encoder.add_distillation_token()
    try:
        if "encoder.pos_embed" in weights:
            weights["encoder.pos_embed"] = _regridded(weights["encoder.pos_embed"], rows, columns, encoder)
        if with_decoder:
            load_weights(teacher, weights)
        else:
            prefix = "encoder."
            own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
            load_weights(encoder, own)
    except UserError as error:
        raise UserError(f"{checkpoint}: {error}") from None
    teacher.normalization = normalization


def _check_variant(net: Mapping[str, Any], encoder: SegmenterVit) -> None:
    """KeyError for what is missing."""
    expected = {
        "d_model": encoder.width,
        "n_heads": encoder.heads,
        "n_layers": encoder.layers,
        "patch_size": encoder.patch,
    }
    for name, value in expected.items():
        if net[name] != value:
            raise UserError(f"teacher.start: {name} is {net[name]}, expected {value}: does teacher.backbone fit it?")


def _check_decoder(net: Mapping[str, Any], teacher: Teacher) -> None:
    """KeyError for what is missing."""
    decoder = "linear" if isinstance(teacher.decoder, LinearDecoder) else "mask_transformer"
    otherwise = "set teacher.start_decoder=false to take the encoder alone"
    if net["decoder"]["name"] != decoder:
        raise UserError(f"teacher.start: the decoder is {net['decoder']['name']}, expected {decoder}; {otherwise}")
    if net["n_cls"] != teacher.decoder.classes:
        raise UserError(
            f"teacher.start: it has {net['n_cls']} classes, expected {teacher.decoder.classes}; {otherwise}"
        )


def _regridded(positions: Tensor, rows: int, columns: int, encoder: SegmenterVit) -> Tensor:
    entries = encoder.specials + rows * columns
    if positions.shape != (1, entries, encoder.width):
        raise UserError(
            f"pos_embed is {tuple(positions.shape)}, expected (1, {entries}, {encoder.width}) "
            f"for {rows} x {columns} patches and {encoder.specials} more"
        )
    return resize_positions(positions.float(), (rows, columns), encoder.grid, encoder.specials)
