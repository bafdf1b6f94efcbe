"""The teacher: a 2D Segmenter (Strudel et al., 2021), panorama -> class logits of every pixel.

A vision transformer encodes patches of the image, a mask transformer or a Linear gives each patch its logits, which
are resized to the pixels. With one of Segmenter's own sizes the parameters have the published names. Legend: B batch,
p patch, (g0, g1) grid of patches, N = g0 g1, d width, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from roomseg.errors import UserError
from roomseg.models.timm_vit import TimmVit, check_timm_name
from roomseg.models.vit import SEGMENTER_SIZES, Block, SegmenterVit, Sizes, VitSize, initialise_linear, truncated_normal
from roomseg.models.weights import load_weights

DECODER_LAYERS = 2
DECODER_HEAD_WIDTH = 64
DECODER_DROPOUT = 0.1
SEGMENTER_PATCH = 16

DecoderName = Literal["mask", "linear"]


class Teacher(nn.Module):
    """Images are (B, 3, H, W): uint8 RGB, which is normalised here, or float and normalised already."""

    def __init__(self, encoder: SegmenterVit | TimmVit, decoder: MaskDecoder | LinearDecoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.normalization = encoder.normalization

    def forward(self, x: Tensor) -> Tensor:  # (B, 3, H, W) -> (B, K, H, W) float32
        rows, columns = x.shape[2:]
        covered = self.encoder.covered((rows, columns))
        full = F.interpolate(self.coarse_logits(x).float(), size=covered, mode="bilinear", align_corners=False)
        return full[..., :rows, :columns]

    def coarse_logits(self, x: Tensor) -> Tensor:  # (B, 3, H, W) -> (B, K, g0, g1)
        """The logits of the patches."""
        tokens, grid = self._encode(x)
        return self.decoder(tokens).transpose(1, 2).unflatten(2, grid)

    def features(self, x: Tensor) -> Tensor:  # (B, 3, H, W) -> (B, d, g0, g1)
        """The encoder's patch tokens after its last norm."""
        tokens, grid = self._encode(x)
        return tokens.transpose(1, 2).unflatten(2, grid)

    def _encode(self, x: Tensor) -> tuple[Tensor, Sizes]:
        return self.encoder(self.normalise(x) if x.dtype == torch.uint8 else x)

    def normalise(self, rgb: Tensor) -> Tensor:  # (B, 3, H, W) uint8, RGB in this order -> float32
        mean, std = (torch.tensor(values, device=rgb.device).view(3, 1, 1) for values in self.normalization)
        return (rgb.float() / 255 - mean) / std


class MaskDecoder(nn.Module):
    """Class queries attend to the patches; the logits are the cosines between the two, normalised over classes."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        heads = width // DECODER_HEAD_WIDTH
        self.classes = classes
        self.proj_dec = nn.Linear(width, width)
        self.cls_emb = nn.Parameter(truncated_normal(1, classes, width))
        self.blocks = nn.ModuleList(
            Block(width, heads, dropout=DECODER_DROPOUT, drop_path=0.0) for _ in range(DECODER_LAYERS)
        )
        self.decoder_norm = nn.LayerNorm(width)
        self.proj_patch = nn.Parameter(torch.randn(width, width) * width**-0.5)
        self.proj_classes = nn.Parameter(torch.randn(width, width) * width**-0.5)
        self.mask_norm = nn.LayerNorm(classes)

    def forward(self, patches: Tensor) -> Tensor:  # (B, N, d) -> (B, N, K)
        patches = self.proj_dec(patches)
        tokens = torch.cat([patches, self.cls_emb.expand(len(patches), -1, -1)], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.decoder_norm(tokens)
        patches = tokens[:, : -self.classes] @ self.proj_patch
        queries = tokens[:, -self.classes :] @ self.proj_classes
        patches = patches / patches.norm(dim=-1, keepdim=True)
        queries = queries / queries.norm(dim=-1, keepdim=True)
        return self.mask_norm(patches @ queries.transpose(1, 2))


class LinearDecoder(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.head = nn.Linear(width, classes)

    def forward(self, patches: Tensor) -> Tensor:  # (B, N, d) -> (B, N, K)
        return self.head(patches)


DECODERS: dict[DecoderName, type[MaskDecoder | LinearDecoder]] = {"mask": MaskDecoder, "linear": LinearDecoder}


def build_teacher(
    backbone: str,
    classes: int,
    decoder: DecoderName = "mask",
    image_size: Sizes = (512, 1024),
    patch: int | None = None,
    drop_path: float = 0.1,
    seed: int = 0,
) -> Teacher:
    """A teacher with initial weights that depend on ``seed`` alone.

    ``backbone`` is one of Segmenter's sizes (``SEGMENTER_SIZES``, patches of 16 unless ``patch`` says otherwise) or
    the name of a ViT of timm, which has its own patch. Raises UserError for what cannot be built.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if backbone in SEGMENTER_SIZES:
            size = SEGMENTER_SIZES[backbone]
            return _assemble(SegmenterVit(size, image_size, patch or SEGMENTER_PATCH, drop_path), decoder, classes)
        check_timm_name(backbone)
        encoder = TimmVit(backbone, image_size, drop_path)
        if patch not in (None, encoder.patch):
            raise UserError(f"teacher.patch is {patch}, but {backbone} has {encoder.patch}: leave teacher.patch null")
        return _assemble(encoder, decoder, classes)


def load_rstrudel(state: Mapping[str, Tensor], n_heads: int, image_size: Sizes) -> Teacher:
    """The teacher that published Segmenter weights describe; ``encoder.head.*`` is dropped, it is never used.

    ``n_heads`` and ``image_size`` (rows, columns) come from the variant file beside the weights, the rest from their
    shapes. Raises UserError where the weights are no such network.
    """
    weights = without_imagenet_head(state)
    linear = "decoder.head.weight" in weights
    width, _, patch, _ = _shape(weights, "encoder.patch_embed.proj.weight", 4)
    if n_heads < 1 or width % n_heads:
        raise UserError(f"these weights have width {width}, which n_heads {n_heads} does not divide")
    classes = _shape(weights, "decoder.head.weight", 2)[0] if linear else _shape(weights, "decoder.cls_emb", 3)[1]
    layers = len({name.split(".")[2] for name in weights if name.startswith("encoder.blocks.")})
    with torch.random.fork_rng(devices=[]):
        encoder = SegmenterVit(VitSize(width, n_heads, layers), image_size, patch, 0.1)
        teacher = _assemble(encoder, "linear" if linear else "mask", classes)
    load_teacher_weights(teacher, weights)
    return teacher


def load_teacher_weights(teacher: Teacher, weights: Mapping[str, Tensor]) -> None:
    """All of a teacher's weights, which may be of the distilled form; raises UserError where they do not fit."""
    if "encoder.dist_token" in weights and isinstance(teacher.encoder, SegmenterVit):
        teacher.encoder.add_distillation_token()
    load_weights(teacher, weights)


def _shape(weights: Mapping[str, Tensor], name: str, axes: int) -> torch.Size:
    if name not in weights:
        raise UserError(f"these are not Segmenter weights: expected a tensor {name}")
    shape = weights[name].shape
    if len(shape) != axes or 0 in shape:
        raise UserError(f"these are not Segmenter weights: {name} is {tuple(shape)}, expected {axes} axes")
    return shape


def without_imagenet_head(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Segmenter's weights without the head of the encoder's pretraining."""
    return {name: value for name, value in state.items() if not name.startswith("encoder.head")}


def _assemble(encoder: SegmenterVit | TimmVit, decoder: DecoderName, classes: int) -> Teacher:
    teacher = Teacher(encoder, DECODERS[decoder](encoder.width, classes))
    teacher.decoder.apply(initialise_linear)
    if isinstance(encoder, SegmenterVit):  # timm's have initial values of their own
        encoder.apply(initialise_linear)
    return teacher
