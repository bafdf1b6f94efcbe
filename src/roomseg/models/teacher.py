"""The teacher: a 2D Segmenter with a mask transformer (Strudel et al., 2021), panorama -> class logits of every pixel.

Parameter names are the published ones, without ``encoder.head``, which segmentation never uses. Legend: B batch,
p patch, (g0, g1) grid of patches, N = g0 g1, d width, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from roomseg.errors import UserError
from roomseg.models.swin import DropPath, Mlp

DECODER_LAYERS = 2
DECODER_HEAD_WIDTH = 64
DECODER_DROPOUT = 0.1

Sizes = tuple[int, int]


class Backbone(NamedTuple):
    width: int
    heads: int
    layers: int


BACKBONES = {
    "micro": Backbone(128, 2, 4),  # ours, for machines without a GPU; the others are the usual ViT sizes
    "tiny": Backbone(192, 3, 12),
    "small": Backbone(384, 6, 12),
    "base": Backbone(768, 12, 12),
    "large": Backbone(1024, 16, 24),
}


class Teacher(nn.Module):
    """``image_size`` (rows, columns) in pixels fixes the grid of learnt positions; other sizes resize it."""

    def __init__(self, backbone: Backbone, classes: int, image_size: Sizes, patch: int, drop_path: float) -> None:
        super().__init__()
        self.patch = patch
        self.encoder = VisionTransformer(backbone, (image_size[0] // patch, image_size[1] // patch), patch, drop_path)
        self.decoder = MaskTransformer(backbone.width, classes)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:  # (B, 3, H, W) normalised -> (B, K, H, W)
        coarse = self.coarse_logits(x)
        padded = [n * self.patch for n in coarse.shape[2:]]
        full = F.interpolate(coarse.float(), size=padded, mode="bilinear", align_corners=False)
        return full[..., : x.shape[2], : x.shape[3]]

    def coarse_logits(self, x: Tensor) -> Tensor:  # (B, K, ceil(H/p), ceil(W/p))
        """The logits of patches; ``x`` is padded with zeros at the right and the bottom to whole patches."""
        rows, columns = x.shape[2:]
        padded = F.pad(x, (0, -columns % self.patch, 0, -rows % self.patch))
        tokens, grid = self.encoder(padded)
        return self.decoder(tokens).transpose(1, 2).unflatten(2, grid)


class VisionTransformer(nn.Module):
    def __init__(self, backbone: Backbone, grid: Sizes, patch: int, drop_path: float) -> None:
        super().__init__()
        width, heads, layers = backbone
        rates = np.linspace(0, drop_path, layers).tolist()
        self.grid = grid
        self.patch_embed = PatchEmbed(width, patch)
        self.cls_token = nn.Parameter(_truncated_normal(1, 1, width))
        self.pos_embed = nn.Parameter(_truncated_normal(1, 1 + grid[0] * grid[1], width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout=0.0, drop_path=rate) for rate in rates)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> tuple[Tensor, Sizes]:  # (B, 3, H, W) -> (B, N, d), (g0, g1)
        patches, grid = self.patch_embed(x)
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), patches], dim=1)
        tokens = tokens + self._positions(grid)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, 1:], grid

    def _positions(self, grid: Sizes) -> Tensor:  # (1, 1 + g0 g1, d)
        # the published code compares lengths, not grids: another grid of the same length takes them as they are
        if grid[0] * grid[1] == self.grid[0] * self.grid[1]:
            return self.pos_embed
        return resize_positions(self.pos_embed, self.grid, grid)


class PatchEmbed(nn.Module):
    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch, stride=patch)

    def forward(self, x: Tensor) -> tuple[Tensor, Sizes]:
        patches = self.proj(x)  # (B, d, g0, g1)
        return patches.flatten(2).transpose(1, 2), (patches.shape[2], patches.shape[3])


class MaskTransformer(nn.Module):
    """Class queries attend to the patches; the logits are the cosines between the two, normalised over classes."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        heads = width // DECODER_HEAD_WIDTH
        self.classes = classes
        self.proj_dec = nn.Linear(width, width)
        self.cls_emb = nn.Parameter(_truncated_normal(1, classes, width))
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


class Block(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:  # (B, N, C)
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, heads, N, C / heads) each
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=self.rate if self.training else 0.0)
        return self.dropout(self.proj(out.transpose(1, 2).flatten(2)))


def normalise_panorama(rgb: Tensor) -> Tensor:  # (B, H, W, 3) uint8 -> (B, 3, H, W) float32 in [-1, 1]
    """The ``vit`` setting: RGB in [0, 1] minus 0.5, over 0.5 for every channel."""
    return rgb.permute(0, 3, 1, 2).float().div(127.5).sub(1)


def build_teacher(
    backbone: str,
    classes: int = 30,
    image_size: Sizes = (512, 1024),
    patch: int = 16,
    drop_path: float = 0.1,
    seed: int = 0,
) -> Teacher:
    """A teacher with initial weights that depend on ``seed`` alone; raises UserError for what cannot be built."""
    if backbone not in BACKBONES:
        raise UserError(f"teacher backbone {backbone!r} is unknown; choose one of {', '.join(BACKBONES)}")
    if any(n % patch for n in image_size):
        raise UserError(f"teacher image size is {image_size}; expected multiples of the patch, {patch} pixels")
    return _seeded_teacher(BACKBONES[backbone], classes, image_size, patch, drop_path, seed)


def load_rstrudel(state: Mapping[str, Tensor], n_heads: int, image_size: Sizes) -> Teacher:
    """The teacher that published Segmenter weights describe; ``encoder.head.*`` is dropped, it is never used.

    ``n_heads`` and ``image_size`` (rows, columns) come from the variant file beside the weights, the rest from their
    shapes. Raises UserError where the weights are no such network.
    """
    weights = {name: value for name, value in state.items() if not name.startswith("encoder.head.")}
    try:
        width, _, patch, _ = weights["encoder.patch_embed.proj.weight"].shape
        classes = weights["decoder.cls_emb"].shape[1]
        layers = len({name.split(".")[2] for name in weights if name.startswith("encoder.blocks.")})
        teacher = _seeded_teacher(Backbone(width, n_heads, layers), classes, image_size, patch, 0.1, seed=0)
        teacher.load_state_dict(weights, strict=True)
    except (KeyError, RuntimeError) as error:
        detail = " ".join(str(error).split())[:300]
        raise UserError(f"these are not Segmenter weights for {image_size} images: {detail}") from None
    return teacher


def resize_positions(positions: Tensor, old: Sizes, new: Sizes) -> Tensor:  # (1, 1 + n, d) for both grids
    """Positions on another grid, bilinearly; the class token's entry is kept."""
    token, patches = positions[:, :1], positions[:, 1:]
    grid = patches.transpose(1, 2).unflatten(2, old)  # (1, d, *old)
    resized = F.interpolate(grid, size=new, mode="bilinear", align_corners=False)
    return torch.cat([token, resized.flatten(2).transpose(1, 2)], dim=1)


def _seeded_teacher(
    backbone: Backbone, classes: int, image_size: Sizes, patch: int, drop_path: float, seed: int
) -> Teacher:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Teacher(backbone, classes, image_size, patch, drop_path)


def _truncated_normal(*shape: int) -> Tensor:
    return nn.init.trunc_normal_(torch.empty(shape), std=0.02)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
