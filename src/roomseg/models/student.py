"""The student: a 3D Segmenter (paper, section 3), TSDF + RGB volume -> class logits of every voxel.

Parameter names are the published ones. Where the published code materialises a (K + 4)-channel volume, this one keeps
the logits at an eighth of the resolution and lets ``upsampled.py`` answer what is asked of the full volume.
"""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from roomseg.errors import UserError
from roomseg.models import upsampled
from roomseg.models.memory import planned_bytes
from roomseg.models.swin import Swin3D
from roomseg.models.volumes import CHANNELS, check_shape, check_volume, padded
from roomseg.models.windows import MULTIPLE, blended_coarse, window_sizes

VOXEL_BYTES_PER_CHANNEL = 1.3  # peak of a forward pass, a voxel and channel of the first stage (measured: 0.8 to 1.1)
TRAINED_VOXEL_BYTES = 3.0  # of a step, a voxel and unit of ``Variant.activations`` (measured: 1.4 are kept)


class Variant(NamedTuple):
    width: int
    depths: tuple[int, int]
    heads: tuple[int, int]

    @property
    def activations(self) -> float:
        """Channels times blocks; a block of the second stage has an eighth of the tokens of twice the width."""
        return self.width * (self.depths[0] + self.depths[1] / 4)


VARIANTS = {  # paper, section 6
    "T": Variant(48, (2, 2), (3, 3)),
    "B": Variant(48, (2, 4), (3, 3)),
    "M": Variant(64, (3, 6), (4, 4)),
    "L": Variant(96, (4, 8), (6, 6)),
}


class Student(nn.Module):
    """``skip=False`` is the paper's ablation: ``output`` does not see the input."""

    def __init__(self, variant: Variant, classes: int, skip: bool, drop_path: float) -> None:
        super().__init__()
        self.variant, self.classes, self.skip = variant, classes, skip
        self.encoder = Encoder(variant, drop_path)
        self.decoder = Decoder(2 * variant.width, classes)
        self.apply(_initialise)
        self.output = nn.Linear(classes + CHANNELS if skip else classes, classes)

    def compile(self, *args: Any, **options: Any) -> None:
        """``torch.compile`` in place, with its options, of what all uses share; names of weights stay as they are.

        Each size of volume is compiled anew: for blocks of one size, not for rooms.
        """
        self.encoder.compile(*args, **options)

    def forward(self, x: Tensor) -> Tensor:  # (B, 4, X, Y, Z) -> (B, K, X, Y, Z)
        """Logits of a volume of any size, for small ones: K times the input's memory."""
        return upsampled.upsampled_logits(self.coarse(pad_with_empty(x)), x, self.pixel_head)

    def predict(self, x: Tensor, max_voxels: int | None = None, average: bool = False) -> Tensor:
        """The class of every voxel, for rooms of any size: in windows of ``max_voxels``, else as ``memory.py`` plans.

        (B, 4, X, Y, Z) -> (B, X, Y, Z) uint8; ``average`` as in ``symmetric_coarse``.
        """
        with torch.no_grad():
            coarse = self.symmetric_coarse(x, max_voxels) if average else self.room_coarse(x, max_voxels)
            return upsampled.upsampled_labels(coarse, x, self.pixel_head)

    def symmetric_coarse(self, x: Tensor, max_voxels: int | None = None) -> Tensor:  # as ``room_coarse``
        """The mean over the room turned by quarter turns about Z and mirrored, eight in all.

        The mean of coarse logits is that of the logits: the layers after them are linear and see no neighbours in X and
        Y but by a symmetric resize.
        """
        whole = pad_with_empty(x)  # first, so that cells come to lie on cells
        seen = []
        for mirrored, turns in itertools.product((False, True), range(4)):
            moved = torch.rot90(whole.flip(2) if mirrored else whole, turns, (2, 3))
            back = torch.rot90(self.room_coarse(moved, max_voxels), -turns, (2, 3))
            seen.append(back.flip(2) if mirrored else back)
        return torch.stack(seen).mean(0)

    def room_coarse(self, x: Tensor, max_voxels: int | None = None) -> Tensor:  # (B, K, cells of the padded room)
        """``coarse`` of a room of any size, from overlapping windows where it is too large for the machine."""
        whole = pad_with_empty(x)
        if max_voxels is None:
            a_voxel = VOXEL_BYTES_PER_CHANNEL * self.encoder.patch_embed.patch_embed.proj.out_channels
            max_voxels = int(planned_bytes(x.device) / (a_voxel * len(x)))
        sizes = (whole.shape[2], whole.shape[3], whole.shape[4])
        window = window_sizes(sizes, max_voxels)
        return self.coarse(whole) if window == sizes else blended_coarse(self.coarse, whole, window)

    def room_features(self, x: Tensor, max_voxels: int | None = None) -> Tensor:  # (1, 2 D, cells of the padded room)
        """``features`` of a room of any size, to be trained through.

        A room of more than ``max_voxels``, or of more than half the machine's memory takes, goes in overlapping
        windows, blended as in ``room_coarse``; each is computed again in the backward pass, so one window's activations
        are held.
        """
        whole = pad_with_empty(x)
        if max_voxels is None:
            max_voxels = int(planned_bytes(x.device) / (TRAINED_VOXEL_BYTES * self.variant.activations))
        sizes = (whole.shape[2], whole.shape[3], whole.shape[4])
        window = window_sizes(sizes, max_voxels)
        if window == sizes:
            return self.features(whole)
        return blended_coarse(partial(checkpoint, self.features, use_reentrant=False), whole, window)

    def loss(self, x: Tensor, labels: Tensor, void_weight: float = 1.0) -> Tensor:
        """The mean cross entropy of x (B, 4, X, Y, Z) against labels (B, X, Y, Z), see ``cross_entropy``."""
        return self.cross_entropy(self.coarse(pad_with_empty(x)), x, labels, void_weight)

    def coarse(self, x: Tensor) -> Tensor:  # (B, 4, X, Y, Z) -> (B, K, X/8, Y/8, Z/8) float
        """Class logits at an eighth of the resolution, through the logits' half of ``output`` but for its bias.

        Raises as ``features``.
        """
        return self.class_logits(self.features(x))

    def features(self, x: Tensor) -> Tensor:  # (B, 4, X, Y, Z) -> (B, 2 D, X/8, Y/8, Z/8)
        """What the encoder says of each cell of 8^3 voxels.

        Raises ValueError unless X, Y and Z are multiples of 64 (see ``pad_with_empty``), UserError as ``check_volume``.
        """
        check_volume(x)
        if any(n % MULTIPLE for n in x.shape[2:]):
            raise ValueError(
                f"the volume has the shape {tuple(x.shape)}; expected sides that are multiples of {MULTIPLE}"
            )
        tokens, sizes = self.encoder(x)  # (B, N, 2 D)
        return tokens.transpose(1, 2).unflatten(2, sizes)

    def class_logits(self, features: Tensor) -> Tensor:  # (B, 2 D, cells) -> (B, K, cells)
        """``coarse`` from ``features``; both are linear in them, so blended features give blended logits."""
        tokens = features.flatten(2).transpose(1, 2)  # (B, N, 2 D)
        logits = F.linear(self.decoder.head(tokens), self.output.weight[:, : self.classes])
        return logits.to(self.output.weight.dtype).transpose(1, 2).unflatten(2, features.shape[2:]).contiguous()

    def logits_at(self, coarse: Tensor, x: Tensor, index: Tensor) -> Tensor:  # (N, K)
        """Logits of chosen voxels of one room: ``index`` (N,) flat in the C order of ``x``, not padded, or (N, 3)."""
        return upsampled.logits_at(coarse, x, self.pixel_head, index)

    def cross_entropy(self, coarse: Tensor, x: Tensor, labels: Tensor, void_weight: float = 1.0) -> Tensor:
        """The mean over the voxels of ``x``, as F.cross_entropy; labels (B, X, Y, Z) integers. ``x`` before padding."""
        return upsampled.upsampled_cross_entropy(coarse, x, self.pixel_head, labels, void_weight)

    @property
    def pixel_head(self) -> upsampled.PixelHead:
        weight, bias = self.output.weight, self.output.bias
        seen = weight[:, self.classes :] if self.skip else weight.new_zeros(self.classes, CHANNELS)
        return upsampled.PixelHead(seen, bias)


class Encoder(nn.Module):
    def __init__(self, variant: Variant, drop_path: float) -> None:
        super().__init__()
        self.patch_embed = Swin3D(CHANNELS, variant.width, variant.depths, variant.heads, drop_path)
        self.norm = nn.LayerNorm(2 * variant.width)  # a second one after Swin's own

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int, int]]:
        tokens, sizes = self.patch_embed(x)
        return self.norm(tokens), sizes


class Decoder(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, classes)


def build_student(variant: str, classes: int = 30, skip: bool = True, drop_path: float = 0.2, seed: int = 0) -> Student:
    """A student with initial weights that depend on ``seed`` alone; raises UserError for an unknown variant."""
    if variant not in VARIANTS:
        raise UserError(f"student variant {variant!r} is unknown; choose one of {', '.join(VARIANTS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Student(VARIANTS[variant], classes, skip, drop_path)


def pad_with_empty(x: Tensor) -> Tensor:
    """Pad (B, 4, X, Y, Z) with empty at the high ends to multiples of 64; the same tensor if it fits already."""
    check_shape(x)
    sizes = [-(-n // MULTIPLE) * MULTIPLE for n in x.shape[2:]]
    return padded(x, sizes)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
