"""Any plain vision transformer of timm as the teacher's encoder: ViT, DeiT 3, DINOv2, DINOv3, EVA, with its own mean
and deviation of the colours. timm is imported when one is built.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from functools import lru_cache
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from roomseg.errors import UserError
from roomseg.models.vit import SEGMENTER_SIZES, Normalization, Sizes
from roomseg.models.weights import load_weights

FAMILIES = ("vision_transformer", "deit", "eva")  # timm's modules with plain ViTs for any image size
UNUSED = ("head.", "head_dist.", "pre_logits.", "attn_pool.")  # what comes after the patch tokens


class TimmVit(nn.Module):
    """``vit`` is timm's own module. Images that are no whole number of patches are resized to the next one.

    Resized, not padded as Segmenter does: 512 x 1024 pixels are no multiple of 14, a padded seam is no longer one,
    and the logits of the patches then cover the image exactly.
    """

    def __init__(self, name: str, image_size: Sizes, drop_path: float) -> None:
        super().__init__()
        create = import_timm().create_model
        with torch.device("meta"):
            self.patch: int = create(name, num_classes=0).patch_embed.patch_size[0]
        options = {"img_size": self._whole(image_size), "dynamic_img_size": True, "drop_path_rate": drop_path}
        self.vit = create(name, num_classes=0, **options)
        self.vit.reset_classifier(0, "")  # attention pooling, where there is one, would never get a gradient
        self.width: int = self.vit.embed_dim
        config = self.vit.pretrained_cfg
        self.normalization = Normalization(tuple(config["mean"]), tuple(config["std"]))

    def forward(self, x: Tensor) -> tuple[Tensor, Sizes]:  # (B, 3, H, W) -> (B, N, d), (g0, g1)
        rows, columns = self._whole((x.shape[2], x.shape[3]))
        if (rows, columns) != x.shape[2:]:
            x = F.interpolate(x, size=(rows, columns), mode="bilinear", align_corners=False)
        tokens = self.vit.forward_features(x)[:, self.vit.num_prefix_tokens :]
        # models that are pooled by the mean have their last norm after it
        return self.vit.fc_norm(tokens), (rows // self.patch, columns // self.patch)

    def covered(self, size: Sizes) -> Sizes:
        """The pixels that the grid of patches covers, of an image of this size: all of them."""
        return size

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Weights under timm's names, or those that timm converts (DINOv2's and DINOv3's own); raises UserError.

        Positions are resized to the grid as timm does.
        """
        convert = importlib.import_module(type(self.vit).__module__).checkpoint_filter_fn
        try:
            weights = convert(dict(state), self.vit)
        except (LookupError, RuntimeError, AttributeError, AssertionError, TypeError, ValueError) as error:
            detail = " ".join(str(error).split())[:200]
            raise UserError(f"these are not weights of this ViT: {type(error).__name__} {detail}") from None
        load_weights(self.vit, {name: value for name, value in weights.items() if not name.startswith(UNUSED)})

    def _whole(self, size: Sizes) -> Sizes:
        return size[0] + -size[0] % self.patch, size[1] + -size[1] % self.patch


def check_timm_name(name: str) -> None:
    """Raises UserError, with the nearest names, for what is no ViT of timm."""
    architecture, _, weights = name.partition(".")
    if architecture not in _known_names():
        near = difflib.get_close_matches(architecture, [*SEGMENTER_SIZES, *sorted(_known_names())], n=3)
        raise UserError(
            f"teacher.backbone is {name!r}; expected {', '.join(SEGMENTER_SIZES)} or the name of a ViT of timm, "
            f"such as {', '.join(near) or 'vit_small_patch14_dinov2'}"
        )
    known = import_timm().list_pretrained(f"{architecture}.*")
    if weights and name not in known:
        raise UserError(
            f"teacher.backbone is {name!r}; timm has no weights {weights!r} of it, "
            f"expected {architecture} or {', '.join(known)}"
        )


@lru_cache(maxsize=1)
def _known_names() -> frozenset[str]:
    timm = import_timm()
    return frozenset(name for family in FAMILIES for name in timm.list_models(module=family))


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
