"""The 3D U-Net (Çiçek et al., 2016), a baseline: group norm before every convolution, upsampling to the nearest voxel.

Parameter names are the published ones. Legend: B batch, K classes, f the width of a level, level i has 1/2^i of the
resolution.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from roomseg.errors import UserError
from roomseg.models.dense_loss import dense_cross_entropy
from roomseg.models.tiles import predict_tiled
from roomseg.models.volumes import CHANNELS, check_shape, check_volume

LEVELS = 4
NORM_GROUPS = 8
SMALLEST = 2 ** (LEVELS - 1)  # voxels: one is left at the deepest level
TILE = 128  # voxels, the side of a cube as large as what is predicted at once: 6 GB at 64 feature maps


class UNet3D(nn.Module):
    def __init__(self, classes: int, feature_maps: int) -> None:
        super().__init__()
        self.classes = classes
        widths = [feature_maps * 2**level for level in range(LEVELS)]
        self.encoders = nn.ModuleList(
            [
                Encoder(CHANNELS, widths[0], pool=False),
                *(Encoder(widths[i - 1], widths[i], pool=True) for i in range(1, LEVELS)),
            ]
        )
        self.decoders = nn.ModuleList(
            Decoder(widths[i] + widths[i + 1], widths[i]) for i in reversed(range(LEVELS - 1))
        )
        self.final_conv = nn.Conv3d(feature_maps, classes, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:  # (B, 4, X, Y, Z) -> (B, K, X, Y, Z)
        """Logits; raises UserError unless there are 4 channels and at least 8 voxels on each axis."""
        check_shape(x)
        if min(x.shape[2:]) < SMALLEST:
            raise UserError(
                f"the 3D U-Net got an input of shape {tuple(x.shape)}; expected (B, {CHANNELS}, X, Y, Z) "
                f"with {SMALLEST} voxels or more on each axis"
            )
        features, skips = x, []
        for encoder in self.encoders:
            features = encoder(features)
            skips.append(features)
        skips.pop()
        for decoder in self.decoders:
            features = decoder(skips.pop(), features)
        return self.final_conv(features).to(x.dtype)

    def loss(self, x: Tensor, labels: Tensor, void_weight: float = 1.0) -> Tensor:
        """The mean cross entropy over voxels; labels (B, X, Y, Z) uint8, class 0 weighs ``void_weight``."""
        check_volume(x)
        return dense_cross_entropy(self(x), labels, void_weight)

    def predict(self, x: Tensor, tile: int = TILE) -> Tensor:  # (B, 4, X, Y, Z) -> (B, X, Y, Z) uint8
        """The class of every voxel: of the whole room up to tile^3 voxels, else from tiles of at most that side.

        A voxel's logits depend on 47 voxels to each side; tiles overlap by three eighths of their side, so that even
        half-way between two of them 24 are seen. The group norms see a tile instead of the room then, as in training
        on blocks. The limit does not follow the memory, because a score would follow it too.
        """
        sizes = list(x.shape[2:])
        if math.prod(sizes) > tile**3:
            sizes = [min(tile, n) for n in sizes]
        return predict_tiled(self, x, sizes, overlap=tile * 3 // 8, classes=self.classes, align=SMALLEST)


class Encoder(nn.Module):
    def __init__(self, channels: int, width: int, pool: bool) -> None:
        super().__init__()
        self.pool = pool
        self.basic_module = DoubleConv(channels, max(width // 2, channels), width)

    def forward(self, x: Tensor) -> Tensor:  # (B, channels, ...) -> (B, width, ..., halved if pooled)
        return self.basic_module(F.max_pool3d(x, 2) if self.pool else x)


class Decoder(nn.Module):
    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.basic_module = DoubleConv(channels, width, width)

    def forward(self, skip: Tensor, deeper: Tensor) -> Tensor:  # (B, f, ...), (B, 2 f, ... halved) -> (B, f, ...)
        # no name for the upsampled, which is twice the size of skip: it is gone before the convolutions
        return self.basic_module(torch.cat([skip, F.interpolate(deeper, size=skip.shape[2:], mode="nearest")], dim=1))


class DoubleConv(nn.Module):
    def __init__(self, channels: int, middle: int, width: int) -> None:
        super().__init__()
        self.SingleConv1 = SingleConv(channels, middle)
        self.SingleConv2 = SingleConv(middle, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.SingleConv2(self.SingleConv1(x))


class SingleConv(nn.Module):
    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.groupnorm = nn.GroupNorm(NORM_GROUPS if channels >= NORM_GROUPS else 1, channels)
        self.conv = nn.Conv3d(channels, width, kernel_size=3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(self.groupnorm(x)), inplace=True)


def build_unet3d(classes: int = 30, feature_maps: int = 64, seed: int = 0) -> UNet3D:
    """A 3D U-Net with initial weights that depend on ``seed`` alone; 64 feature maps is the published width.

    Raises UserError for a width whose layers do not divide into the groups of the norms.
    """
    if feature_maps <= 0 or (feature_maps != NORM_GROUPS and feature_maps % (2 * NORM_GROUPS)):
        raise UserError(f"3D U-Net feature_maps is {feature_maps}; expected {NORM_GROUPS} or a multiple of 16")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return UNet3D(classes, feature_maps)
