"""The vision transformer of Segmenter (Strudel et al., 2021), under its published parameter names.

Left out is its ImageNet head, which segmentation never uses. Legend: B batch, p patch, (g0, g1) grid of patches,
N = g0 g1, d width, s special tokens before the patches (the class token, and one more in the distilled form).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from roomseg.models.swin import DropPath, Mlp

Sizes = tuple[int, int]


class Normalization(NamedTuple):
    """Mean and deviation of red, green and blue in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


NORMALIZATIONS = {  # under the names of Segmenter's settings
    "vit": Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "deit": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class VitSize(NamedTuple):
    width: int
    heads: int
    layers: int


SEGMENTER_SIZES = {
    "micro": VitSize(128, 2, 4),  # ours, for machines without a GPU; the others are the usual ViT sizes
    "tiny": VitSize(192, 3, 12),
    "small": VitSize(384, 6, 12),
    "base": VitSize(768, 12, 12),
    "large": VitSize(1024, 16, 24),
}


class SegmenterVit(nn.Module):
    """``image_size`` (rows, columns) in pixels fixes the grid of learnt positions; other sizes resize it."""

    def __init__(self, size: VitSize, image_size: Sizes, patch: int, drop_path: float) -> None:
        super().__init__()
        self.width, self.heads, self.layers = size
        self.patch, self.normalization = patch, NORMALIZATIONS["vit"]
        self.grid = (-(-image_size[0] // patch), -(-image_size[1] // patch))
        self.specials = 1
        self.patch_embed = PatchEmbed(self.width, patch)
        self.cls_token = nn.Parameter(truncated_normal(1, 1, self.width))
        self.pos_embed = nn.Parameter(truncated_normal(1, self.specials + self.grid[0] * self.grid[1], self.width))
        rates = np.linspace(0, drop_path, self.layers).tolist()
        self.blocks = nn.ModuleList(Block(self.width, self.heads, dropout=0.0, drop_path=rate) for rate in rates)
        self.norm = nn.LayerNorm(self.width)

    def add_distillation_token(self) -> None:
        """Take the distilled form, for weights that have it: the values of token and positions are theirs."""
        self.specials = 2
        self.dist_token = nn.Parameter(torch.zeros_like(self.cls_token))
        self.pos_embed = nn.Parameter(self.pos_embed.new_zeros(1, 2 + self.grid[0] * self.grid[1], self.width))

    def forward(self, x: Tensor) -> tuple[Tensor, Sizes]:  # (B, 3, H, W) -> (B, N, d), (g0, g1)
        """``x`` is padded with zeros at the right and the bottom to whole patches."""
        rows, columns = x.shape[2:]
        patches, grid = self.patch_embed(F.pad(x, (0, -columns % self.patch, 0, -rows % self.patch)))
        tokens = torch.cat([self._special_tokens().expand(len(x), -1, -1), patches], dim=1)
        tokens = tokens + self._positions(grid)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)[:, self.specials :], grid

    def covered(self, size: Sizes) -> Sizes:
        """The pixels that the grid of patches covers, of an image of this size (rows, columns)."""
        return size[0] + -size[0] % self.patch, size[1] + -size[1] % self.patch

    def _special_tokens(self) -> Tensor:  # (1, s, d)
        return self.cls_token if self.specials == 1 else torch.cat([self.cls_token, self.dist_token], dim=1)

    def _positions(self, grid: Sizes) -> Tensor:  # (1, s + g0 g1, d)
        # the published code compares lengths, not grids: another grid of the same length takes them as they are
        if grid[0] * grid[1] == self.grid[0] * self.grid[1]:
            return self.pos_embed
        return resize_positions(self.pos_embed, self.grid, grid, self.specials)


class PatchEmbed(nn.Module):
    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=patch, stride=patch)

    def forward(self, x: Tensor) -> tuple[Tensor, Sizes]:
        patches = self.proj(x)  # (B, d, g0, g1)
        return patches.flatten(2).transpose(1, 2), (patches.shape[2], patches.shape[3])


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


def resize_positions(positions: Tensor, old: Sizes, new: Sizes, specials: int = 1) -> Tensor:
    """Positions (1, s + n, d) on another grid, bilinearly; the entries of the special tokens are kept."""
    kept, patches = positions[:, :specials], positions[:, specials:]
    grid = patches.transpose(1, 2).unflatten(2, old)  # (1, d, *old)
    resized = F.interpolate(grid, size=new, mode="bilinear", align_corners=False)
    return torch.cat([kept, resized.flatten(2).transpose(1, 2)], dim=1)


def truncated_normal(*shape: int) -> Tensor:
    return nn.init.trunc_normal_(torch.empty(shape), std=0.02)


def initialise_linear(module: nn.Module) -> None:
    """Segmenter's initial values of a Linear; for ``nn.Module.apply``."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
