"""ImageNet weights of timm's vision transformers for the teacher's encoder."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import ModuleType

import torch
from torch import Tensor

from roomseg.errors import UserError
from roomseg.models.teacher import Teacher, resize_positions

IMAGENET21K = {  # Steiner et al. (2021), the start that the paper names
    "tiny": "vit_tiny_patch16_224.augreg_in21k",
    "small": "vit_small_patch16_224.augreg_in21k",
    "base": "vit_base_patch16_224.augreg_in21k",
    "large": "vit_large_patch16_224.augreg_in21k",
}


def fetch_imagenet21k(backbone: str) -> dict[str, Tensor]:
    """The state dict of timm's ViT with 16-pixel patches, from the hub; raises UserError where it cannot be had."""
    if backbone not in IMAGENET21K:
        raise UserError(f"there is no ImageNet-21k start for {backbone!r}; choose one of {', '.join(IMAGENET21K)}")
    name = IMAGENET21K[backbone]
    try:
        return import_timm().create_model(name, pretrained=True, num_classes=0).state_dict()
    except Exception as error:  # the hub client's errors have no common type
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"cannot fetch {name} from timm's hub ({reason}); set teacher.start=random to go without"
        ) from error


def load_timm_encoder(teacher: Teacher, state: Mapping[str, Tensor]) -> None:
    """Put a timm ViT's weights into ``teacher.encoder``, its square grid of positions resized to the teacher's.

    The names are the same; timm's classification head is left out. Raises UserError where sizes do not fit.
    """
    encoder = teacher.encoder
    weights = {name: value for name, value in state.items() if not name.startswith(("head", "pre_logits"))}
    side = math.isqrt(weights["pos_embed"].shape[1] - 1)
    weights["pos_embed"] = resize_positions(weights["pos_embed"], (side, side), encoder.grid)
    try:
        encoder.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise UserError(f"these timm weights do not fit the teacher: {detail}") from None


_torchvision_operators: list[torch.library.Library] = []  # a declaration lives as long as its object


def import_timm() -> ModuleType:
    """timm, also beside a torch without CUDA.

    timm imports torchvision, whose wheel then fails to load its operators and stumbles over their missing schemas
    (``torchvision::nms does not exist``). Declaring the two schemas is enough; the teacher uses neither.
    """
    if not torch.cuda.is_available() and torch.version.cuda is None and not _torchvision_operators:
        library = torch.library.Library("torchvision", "FRAGMENT")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _torchvision_operators.append(library)
    import timm

    return timm
