"""The student in torch's own operations alone, for ``torch.jit.script``: runs where this package is not installed.

The same parameter names, the same numbers, volumes of any size; slower than ``student.py``, for it rolls and masks the
shifted windows as the published code does, and keeps the full volume of logits. No ``from __future__``, and no global
constants in the bodies: the script compiler reads the annotations, and knows only attributes and arguments.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from roomseg.models.student import VARIANTS, Student
from roomseg.models.swin import BIAS_SPAN, SHIFT, WINDOW, relative_position_index
from roomseg.models.volumes import CHANNELS, EMPTY
from roomseg.models.windows import MULTIPLE

MASKED = -100.0  # logit of a pair that the roll brought together


def portable_student(student: Student) -> torch.jit.ScriptModule:
    """A scripted copy in eval mode: (B, 4, X, Y, Z) float32 -> logits (B, K, X, Y, Z)."""
    width = student.encoder.patch_embed.patch_embed.proj.out_channels
    depths = tuple(len(stage.blocks) for stage in student.encoder.patch_embed.layers)  # type: ignore[arg-type, union-attr]
    variant = next(v for v in VARIANTS.values() if (v.width, v.depths) == (width, depths))
    portable = _Portable(width, variant.depths, variant.heads, student.classes, student.skip)
    portable.load_state_dict(student.state_dict(), strict=True)
    return torch.jit.script(portable.eval())


class _Portable(nn.Module):
    def __init__(self, width: int, depths: tuple[int, int], heads: tuple[int, int], classes: int, skip: bool) -> None:
        super().__init__()
        self.skip = skip
        self.empty, self.multiple = list(EMPTY), MULTIPLE
        self.encoder = _Encoder(width, depths, heads)
        self.decoder = _Decoder(2 * width, classes)
        self.output = nn.Linear(classes + CHANNELS if skip else classes, classes)

    def forward(self, x: Tensor) -> Tensor:
        padded = self.pad(x)
        coarse = self.decoder.head(self.encoder(padded)).permute(0, 4, 1, 2, 3)
        up = F.interpolate(
            coarse, size=[padded.size(2), padded.size(3), padded.size(4)], mode="trilinear", align_corners=False
        )
        up = up[:, :, : x.size(2), : x.size(3), : x.size(4)]
        if self.skip:
            up = torch.cat([up, x], dim=1)
        return self.output(up.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)

    def pad(self, x: Tensor) -> Tensor:
        ends = [(self.multiple - x.size(axis) % self.multiple) % self.multiple for axis in (2, 3, 4)]
        parts = []
        for channel, value in enumerate(self.empty):
            parts.append(F.pad(x[:, channel : channel + 1], [0, ends[2], 0, ends[1], 0, ends[0]], value=value))
        return torch.cat(parts, dim=1)


class _Decoder(nn.Module):
    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, classes)


class _Encoder(nn.Module):
    def __init__(self, width: int, depths: tuple[int, int], heads: tuple[int, int]) -> None:
        super().__init__()
        self.patch_embed = _Swin(width, depths, heads)
        self.norm = nn.LayerNorm(2 * width)

    def forward(self, x: Tensor) -> Tensor:  # (B, n0, n1, n2, 2 D)
        return self.norm(self.patch_embed(x))


class _Swin(nn.Module):
    def __init__(self, width: int, depths: tuple[int, int], heads: tuple[int, int]) -> None:
        super().__init__()
        self.patch_embed = _PatchEmbed(width)
        self.layers = nn.ModuleList(
            [_Stage(width, depths[0], heads[0], True), _Stage(2 * width, depths[1], heads[1], False)]
        )
        self.norm = nn.LayerNorm(2 * width)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x)
        for stage in self.layers:
            x = stage(x)
        return self.norm(x)


class _PatchEmbed(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(CHANNELS, width, kernel_size=4, stride=4)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).permute(0, 2, 3, 4, 1)


class _Stage(nn.Module):
    def __init__(self, width: int, depth: int, heads: int, merge: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([_Block(width, heads, SHIFT if i % 2 else 0) for i in range(depth)])
        self.downsample = _Merging(width) if merge else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.downsample(x)


class _Merging(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8 * width)
        self.reduction = nn.Linear(8 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        parts = []
        for octant in range(8):  # axis 0 fastest
            parts.append(x[:, octant & 1 :: 2, (octant >> 1) & 1 :: 2, (octant >> 2) & 1 :: 2])
        return self.reduction(self.norm(torch.cat(parts, dim=-1)))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, shift: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = _Attention(width, heads, shift)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = _Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class _Attention(nn.Module):
    relative_position_index: Tensor

    def __init__(self, width: int, heads: int, shift: int) -> None:
        super().__init__()
        self.heads, self.shift, self.window = heads, shift, WINDOW
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.relative_position_bias_table = nn.Parameter(torch.zeros(BIAS_SPAN**3, heads))
        self.register_buffer("relative_position_index", relative_position_index(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, n0, n1, n2, C)
        sizes = [x.size(1), x.size(2), x.size(3)]
        shifts = [self.shift if n > self.window else 0 for n in sizes]
        windows = _windows(torch.roll(x, [-s for s in shifts], dims=(1, 2, 3)))  # (B, W, 512, C)
        batch, count, tokens, width = windows.shape
        qkv = self.qkv(windows).reshape(batch * count, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B W, H, 512, D)
        rows = self.relative_position_bias_table[self.relative_position_index.flatten()]
        bias = rows.T.reshape(1, self.heads, tokens, tokens)
        if shifts[0] + shifts[1] + shifts[2] > 0:
            bias = bias + _mask(sizes, shifts, x)[:, None].repeat(batch, 1, 1, 1)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        out = self.proj(out.transpose(1, 2).reshape(batch, count, tokens, width))
        return torch.roll(_unwindowed(out, sizes), shifts, dims=(1, 2, 3))


def _windows(x: Tensor, w: int = WINDOW) -> Tensor:  # (B, n0, n1, n2, C) -> (B, W, 512, C)
    b, n0, n1, n2, c = x.shape
    cut = x.reshape(b, n0 // w, w, n1 // w, w, n2 // w, w, c)
    return cut.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(b, -1, w * w * w, c)


def _unwindowed(windows: Tensor, sizes: list[int], w: int = WINDOW) -> Tensor:  # (B, W, 512, C) -> (B, n0, n1, n2, C)
    b, c = windows.size(0), windows.size(3)
    cut = windows.reshape(b, sizes[0] // w, sizes[1] // w, sizes[2] // w, w, w, w, c)
    return cut.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(b, sizes[0], sizes[1], sizes[2], c)


def _mask(
    sizes: list[int], shifts: list[int], like: Tensor, w: int = WINDOW, masked: float = MASKED
) -> Tensor:  # (W, 512, 512)
    """``MASKED`` for two tokens of a window that are no neighbours in space."""
    region = torch.zeros(sizes[0], sizes[1], sizes[2], device=like.device)
    for axis in range(3):
        rank = torch.zeros(sizes[axis], device=like.device)
        if shifts[axis] > 0:
            rank[sizes[axis] - w : sizes[axis] - shifts[axis]] = 1.0
            rank[sizes[axis] - shifts[axis] :] = 2.0
        shape = [1, 1, 1]
        shape[axis] = sizes[axis]
        region = region * 3 + rank.reshape(shape)
    of_token = _windows(region[None, :, :, :, None])[0, :, :, 0]  # (W, 512)
    return (of_token[:, :, None] != of_token[:, None, :]).to(like.dtype) * masked
