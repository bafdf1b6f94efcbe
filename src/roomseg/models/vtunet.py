"""The VT-UNet (Peiris et al., 2022), a baseline: a U-Net of windowed attention on blocks of 128^3 voxels.

Parameter names are the published ones, and so are its oddities: decoder blocks attend with their own queries to the
keys and values of the encoder too, and add a position encoding that went through their MLP. Axis 0 keeps its 32 tokens
at every level. Tokens are flat, (B, N, C) in C order of a grid of sizes (n0, n1, n2). Legend: B batch, N tokens,
C channels, E the width of level 0, K classes.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from roomseg.errors import UserError
from roomseg.models.dense_loss import check_labels, class_weights
from roomseg.models.swin import DropPath, Mlp
from roomseg.models.tiles import predict_tiled
from roomseg.models.volumes import CHANNELS, check_shape, check_volume
from roomseg.models.vtunet_attention import Memory, Sizes, WindowAttention

BLOCK = 128  # voxels, the only size the network takes
OVERLAP = 32  # voxels, of blocks of a larger room
PATCH = 4
DEPTHS = (2, 2, 2, 1)
HEADS = (3, 6, 12, 24)
HEAD_WIDTH_MULTIPLE = 8  # as the CPU kernel of attention asks


class VTUNet(nn.Module):
    def __init__(self, classes: int, embed: int, drop_path: float) -> None:
        super().__init__()
        self.classes = classes
        self.swin_unet = SwinUNet(classes, embed, drop_path)

    def forward(self, x: Tensor) -> Tensor:  # (B, 4, 128, 128, 128) -> (B, K, 128, 128, 128)
        """Logits; raises UserError for any other size."""
        side = BLOCK // PATCH
        planes = self._tokens(x).split(side**2, dim=1)  # of axis 0, so that the head's inner values stay small
        slabs = [_interleave(self.swin_unet.head(plane), (1, side, side), (PATCH,) * 3) for plane in planes]
        return torch.cat(slabs, dim=1).movedim(4, 1).to(x.dtype)

    def loss(self, x: Tensor, labels: Tensor, void_weight: float = 1.0) -> Tensor:
        """The mean cross entropy over voxels; labels (B, 128, 128, 128) uint8, class 0 weighs ``void_weight``.

        The same as of ``forward``, but nothing of the volume's size is kept for the backward pass: the head is
        computed slab by slab, and again for its gradient.
        """
        check_volume(x)
        tokens = self._tokens(x)
        check_labels(labels, (len(x), *x.shape[2:]), self.classes)
        weight = class_weights(self.classes, void_weight, x.device)
        plane = (BLOCK // PATCH) ** 2
        losses = [
            checkpoint(self._slab_loss, *slab, weight, use_reentrant=False, preserve_rng_state=False)
            for slab in zip(tokens.split(plane, dim=1), _cells(labels).split(plane, dim=1), strict=True)
        ]
        void = (labels == 0).sum()
        return torch.stack(losses).sum() / (labels.numel() - void + void * void_weight)

    def predict(self, x: Tensor) -> Tensor:  # (B, 4, X, Y, Z) -> (B, X, Y, Z) uint8
        """The class of every voxel of a room of any size, from blocks that overlap; padded with empty."""
        return predict_tiled(self, x, (BLOCK,) * 3, OVERLAP, self.classes)

    def _tokens(self, x: Tensor) -> Tensor:  # (B, 32^3, E)
        check_shape(x)
        if x.shape[1:] != (CHANNELS, BLOCK, BLOCK, BLOCK):
            expected = f"(B, {CHANNELS}, {BLOCK}, {BLOCK}, {BLOCK})"
            raise UserError(f"the VT-UNet got an input of shape {tuple(x.shape)}; expected {expected}")
        return self.swin_unet(x)

    def _slab_loss(self, tokens: Tensor, labels: Tensor, weight: Tensor) -> Tensor:  # (B, n, E), (B, n, 64), (K,)
        logits = self.swin_unet.head(tokens).float()
        with torch.autocast(logits.device.type, enabled=False):
            return F.cross_entropy(logits.flatten(0, 2), labels.flatten().long(), weight, reduction="sum")


class SwinUNet(nn.Module):
    def __init__(self, classes: int, embed: int, drop_path: float) -> None:
        super().__init__()
        rates = np.split(np.linspace(0, drop_path, sum(DEPTHS)), np.cumsum(DEPTHS)[:-1])
        widths = [embed * 2**level for level in range(len(DEPTHS))]
        levels = list(zip(widths, HEADS, [r.tolist() for r in rates], strict=True))
        deepest = len(levels) - 1
        self.patch_embed = PatchEmbed(embed)
        self.layers = nn.ModuleList(EncoderLevel(*level, merge=i < deepest) for i, level in enumerate(levels))
        self.norm = nn.LayerNorm(widths[-1])
        upwards = [DecoderLevel(*levels[i], expand=i > 0) for i in reversed(range(deepest))]
        self.layers_up = nn.ModuleList([Expansion(widths[-1], (1, 2, 2), widths[-2]), *upwards])
        joints = [nn.Linear(2 * width, width, bias=False) for width in reversed(widths[:-1])]
        self.concat_back_dim = nn.ModuleList([nn.Identity(), *joints])
        self.norm_up = nn.LayerNorm(embed)
        self.up = Expansion(embed, (PATCH,) * 3, embed)
        self.output = nn.Conv3d(embed, classes, kernel_size=1, bias=False)

    def forward(self, volume: Tensor) -> Tensor:  # (B, 4, X, Y, Z) -> (B, N, E)
        x, sizes = self.patch_embed(volume)
        skips: list[Tensor] = []
        memories: list[list[Memory]] = []
        for level in self.layers:
            skips.append(x)
            x, sizes, memory = level(x, sizes)
            memories.append(memory)
        x, sizes = self.layers_up[0](self.norm(x), sizes)
        for u in range(1, len(self.layers_up)):
            joined = torch.cat([x, skips[-1 - u]], dim=2)
            x, sizes = self.layers_up[u](self.concat_back_dim[u](joined), sizes, memories[-1 - u])
        return self.norm_up(x)

    def head(self, tokens: Tensor) -> Tensor:  # (B, n, E) -> (B, n, 64, K)
        """The logits of the 4^3 voxels of each token."""
        return F.linear(self.up.parts(tokens), self.output.weight.flatten(1))


class PatchEmbed(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(CHANNELS, width, kernel_size=PATCH, stride=PATCH)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> tuple[Tensor, Sizes]:
        volume = self.proj(x)  # (B, E, n0, n1, n2)
        n0, n1, n2 = volume.shape[2:]
        return self.norm(volume.flatten(2).transpose(1, 2)), (n0, n1, n2)


class EncoderLevel(nn.Module):
    def __init__(self, width: int, heads: int, drop_paths: list[float], merge: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, rate, i) for i, rate in enumerate(drop_paths))
        self.downsample = Merging(width) if merge else None

    def forward(self, x: Tensor, sizes: Sizes) -> tuple[Tensor, Sizes, list[Memory]]:
        memories = []
        for block in self.blocks:
            x, memory = block(x, sizes)
            memories.append(memory)
        return (x, sizes, memories) if self.downsample is None else (*self.downsample(x, sizes), memories)


class DecoderLevel(nn.Module):
    def __init__(self, width: int, heads: int, drop_paths: list[float], expand: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(DecoderBlock(width, heads, rate, i) for i, rate in enumerate(drop_paths))
        self.upsample = Expansion(width, (1, 2, 2), width // 2) if expand else None

    def forward(self, x: Tensor, sizes: Sizes, memories: list[Memory]) -> tuple[Tensor, Sizes]:
        for block, memory in zip(self.blocks, memories, strict=True):
            x = block(x, sizes, memory)
        return (x, sizes) if self.upsample is None else self.upsample(x, sizes)


class Block(nn.Module):
    def __init__(self, width: int, heads: int, drop_path: float, index: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, shifted=index % 2 == 1)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)
        self.drop_path = DropPath(drop_path)


class EncoderBlock(Block):
    def forward(self, x: Tensor, sizes: Sizes) -> tuple[Tensor, Memory]:
        attended, memory = self.attn(self.norm1(x), sizes)
        x = x + self.drop_path(attended)
        return x + self.drop_path(self.mlp(self.norm2(x))), memory


class DecoderBlock(Block):
    OWN_SHARE = 0.7

    def forward(self, x: Tensor, sizes: Sizes, memory: Memory) -> Tensor:
        attended, _ = self.attn(self.norm1(x), sizes, memory)  # (2 B, N, C): of each other, of the memory
        both = x.repeat(2, 1, 1) + self.drop_path(attended)
        both = both + self.drop_path(self.mlp(self.norm2(both)))
        own, crossed = both.chunk(2)
        places = position_encoding(sizes, x.shape[2], x.dtype, x.device)
        return self.OWN_SHARE * own + (1 - self.OWN_SHARE) * crossed + self.mlp(self.norm2(places))


class Merging(nn.Module):
    """2x2 tokens of axes 1 and 2 become one of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor, sizes: Sizes) -> tuple[Tensor, Sizes]:
        n0, m1, m2 = sizes[0], sizes[1] // 2, sizes[2] // 2
        cells = x.reshape(len(x), n0, m1, 2, m2, 2, -1)
        # the published order of the four has axis 1 fastest
        joined = cells.permute(0, 1, 2, 4, 5, 3, 6).reshape(len(x), n0 * m1 * m2, -1)
        return self.reduction(self.norm(joined)), (n0, m1, m2)


class Expansion(nn.Module):
    """A token becomes a cell of ``factors`` tokens of another width."""

    def __init__(self, width: int, factors: Sizes, out_width: int) -> None:
        super().__init__()
        self.factors = factors
        self.expand = nn.Linear(width, math.prod(factors) * out_width, bias=False)
        self.norm = nn.LayerNorm(out_width)

    def forward(self, x: Tensor, sizes: Sizes) -> tuple[Tensor, Sizes]:
        grid = _interleave(self.parts(x), sizes, self.factors)
        n0, n1, n2 = grid.shape[1:4]
        return grid.flatten(1, 3), (n0, n1, n2)

    def parts(self, x: Tensor) -> Tensor:  # (B, N, C) -> (B, N, factors, out)
        return self.norm(self.expand(x).unflatten(2, (math.prod(self.factors), -1)))


def _interleave(parts: Tensor, sizes: Sizes, factors: Sizes) -> Tensor:  # (B, N, factors, C) -> (B, n0 f0, .., .., C)
    (n0, n1, n2), (f0, f1, f2) = sizes, factors
    cells = parts.reshape(len(parts), n0, n1, n2, f0, f1, f2, -1)
    return cells.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(len(parts), n0 * f0, n1 * f1, n2 * f2, -1)


def _cells(volume: Tensor) -> Tensor:  # (B, X, Y, Z) -> (B, N, 64), in the order of SwinUNet.head
    n0, n1, n2 = (n // PATCH for n in volume.shape[1:])
    cells = volume.reshape(-1, n0, PATCH, n1, PATCH, n2, PATCH)
    return cells.permute(0, 1, 3, 5, 2, 4, 6).reshape(len(volume), n0 * n1 * n2, PATCH**3)


@lru_cache(maxsize=16)
def position_encoding(sizes: Sizes, width: int, dtype: torch.dtype, device: torch.device) -> Tensor:  # (1, N, C)
    """Sines, then cosines of each axis's coordinate, axis after axis, cut to the width."""
    terms = -(-width // 6)
    frequency = 10000.0 ** (-np.arange(terms) / terms)
    angles = np.indices(sizes).reshape(3, -1, 1) * frequency  # (axes, N, terms)
    waves = np.concatenate([np.sin(angles), np.cos(angles)], axis=2)
    encoding = waves.transpose(1, 0, 2).reshape(1, -1, 6 * terms)[..., :width]
    with torch.inference_mode(False):  # it is kept, for training too
        return torch.from_numpy(encoding).to(device, dtype)


def build_vtunet(classes: int = 30, embed: int = 48, drop_path: float = 0.2, seed: int = 0) -> VTUNet:
    """A VT-UNet with initial weights that depend on ``seed`` alone; an embedding of 48 is the published width.

    Raises UserError for a width that the heads cannot share.
    """
    multiple = HEADS[0] * HEAD_WIDTH_MULTIPLE
    if embed <= 0 or embed % multiple:
        raise UserError(f"VT-UNet embedding width is {embed}; expected a multiple of {multiple}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VTUNet(classes, embed, drop_path)
