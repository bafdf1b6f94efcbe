from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from roomseg.errors import UserError
from roomseg.models.teacher import MaskDecoder, Teacher, build_teacher, load_rstrudel
from roomseg.models.vit import NORMALIZATIONS, SEGMENTER_SIZES, SegmenterVit, resize_positions
from tests.models.volumes import golden


def golden_teacher() -> tuple[dict[str, np.ndarray], Teacher]:
    arrays, state = golden("teacher_tiny.npz")
    rows, columns = arrays["image_size"].tolist()
    return arrays, load_rstrudel(state, n_heads=int(arrays["n_heads"]), image_size=(rows, columns)).eval()


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def encoder_of(teacher: Teacher) -> SegmenterVit:
    assert isinstance(teacher.encoder, SegmenterVit)
    return teacher.encoder


def test_published_weights_give_the_published_logits() -> None:
    arrays, teacher = golden_teacher()
    with torch.no_grad():
        logits = teacher(torch.from_numpy(arrays["x"]).float())[0]
    i, j = arrays["index"].T
    np.testing.assert_allclose(logits[:, i, j].T.numpy(), arrays["logits"], atol=1e-4)
    np.testing.assert_array_equal(logits.argmax(0).numpy(), arrays["argmax"])


@pytest.mark.parametrize(("backbone", "published"), [("base", 103_174_180), ("large", 333_546_532)])
def test_parameter_counts(backbone: str, published: int) -> None:
    """Of the published Seg-B-Mask/16 and Seg-L-Mask/16 with 30 classes for 512 x 512, and at the panorama's size."""
    with torch.device("meta"):
        square, panorama = (build_teacher(backbone, 30, image_size=(512, n)) for n in (512, 1024))
    width = SEGMENTER_SIZES[backbone].width
    imagenet_head = 1000 * (width + 1)
    assert sum(p.numel() for p in square.parameters()) + imagenet_head == published
    assert sum(p.numel() for p in panorama.parameters()) + imagenet_head == published + 32 * 32 * width


def test_odd_sizes_are_padded_with_zeros_and_cropped() -> None:
    arrays, teacher = golden_teacher()
    x = torch.from_numpy(arrays["x"]).float()[..., :90, :150]
    with torch.no_grad():
        logits = teacher(x)
        padded = teacher(F.pad(x, (0, 10, 0, 6)))
        assert teacher.coarse_logits(x).shape == (1, 30, 6, 10)
    assert logits.shape == (1, 30, 90, 150)
    torch.testing.assert_close(logits, padded[..., :90, :150])


@pytest.mark.parametrize("decoder", ["mask", "linear"])
def test_full_logits_are_the_coarse_ones_resized(decoder: str) -> None:
    teacher = build_teacher("micro", 7, decoder, image_size=(64, 128), patch=8).eval()
    x = pictures(2, 3, 64, 128)
    with torch.no_grad():
        coarse, full = teacher.coarse_logits(x), teacher(x)
        features = teacher.features(x)
        of_features = teacher.decoder(features.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, (8, 16))
    torch.testing.assert_close(full, F.interpolate(coarse, scale_factor=8, mode="bilinear"))
    assert features.shape == (2, 128, 8, 16)
    torch.testing.assert_close(of_features, coarse)


def test_positions_keep_the_special_tokens_and_take_another_grid_bilinearly() -> None:
    positions = torch.tensor([9.0, 8.0, 0.0, 4.0]).view(1, 4, 1)
    assert resize_positions(positions[:, 1:], (1, 2), (1, 4)).flatten().tolist() == [8.0, 0.0, 1.0, 3.0, 4.0]
    assert resize_positions(positions, (1, 2), (1, 4), specials=2).flatten().tolist() == [9.0, 8.0, 0.0, 1.0, 3.0, 4.0]


def test_positions_of_another_grid_of_the_same_length_are_taken_as_they_are() -> None:
    encoder = encoder_of(build_teacher("micro", 30, image_size=(64, 128)))
    assert encoder._positions((2, 16)) is encoder.pos_embed


def test_bytes_are_normalised_in_the_order_red_green_blue() -> None:
    teacher = build_teacher("micro", 3, image_size=(32, 64)).eval()
    rgb = torch.tensor([0, 255, 51], dtype=torch.uint8).view(3, 1, 1)
    torch.testing.assert_close(teacher.normalise(rgb).flatten(), torch.tensor([-1.0, 1.0, (0.2 - 0.5) / 0.5]))
    teacher.normalization = NORMALIZATIONS["deit"]
    expected = [-0.485 / 0.229, (1 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    torch.testing.assert_close(teacher.normalise(rgb).flatten(), torch.tensor(expected))
    x = pictures(1, 3, 32, 64)
    with torch.no_grad():
        torch.testing.assert_close(teacher(x), teacher(teacher.normalise(x)))
        assert not torch.allclose(teacher(x), teacher(x.flip(1)))


@pytest.mark.parametrize("decoder", ["mask", "linear"])
def test_training_drops_out_and_gives_every_weight_a_gradient(decoder: str) -> None:
    teacher = build_teacher("micro", 30, decoder, image_size=(32, 64), drop_path=0.5)
    x = torch.randn(8, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(teacher(x), teacher(x))
    teacher(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in teacher.parameters())


def test_drop_path_grows_with_depth() -> None:
    encoder = encoder_of(build_teacher("micro", 3, image_size=(32, 64), drop_path=0.3))
    assert [block.drop_path.rate for block in encoder.blocks] == pytest.approx([0.0, 0.1, 0.2, 0.3])


def test_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    for name in ("micro", "test_vit"):
        first, again, other = (build_teacher(name, 3, image_size=(32, 64), seed=seed) for seed in (4, 4, 5))
        assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
        assert not torch.equal(first.decoder.proj_dec.weight, other.decoder.proj_dec.weight)
    assert torch.equal(before, torch.random.get_rng_state())


class PlainSegmenter(nn.Module):
    """The distilled encoder with a Linear, as the published one is described, from a state dict and by hand."""

    def __init__(self, state: dict[str, Tensor], heads: int) -> None:
        super().__init__()
        self.state, self.heads = state, heads

    def forward(self, x: Tensor) -> Tensor:  # (1, 3, H, W) -> (N, K)
        w = self.state
        patches = F.conv2d(x, w["encoder.patch_embed.proj.weight"], w["encoder.patch_embed.proj.bias"], stride=16)
        tokens = torch.cat([w["encoder.cls_token"][0], w["encoder.dist_token"][0], patches[0].flatten(1).T])
        tokens = tokens + w["encoder.pos_embed"][0]
        for n in range(2):
            block = {k.removeprefix(f"encoder.blocks.{n}."): v for k, v in w.items() if f"encoder.blocks.{n}." in k}
            tokens = tokens + self.attention(self.norm(tokens, block, "norm1"), block)
            hidden = F.gelu(self.linear(self.norm(tokens, block, "norm2"), block, "mlp.fc1"))
            tokens = tokens + self.linear(hidden, block, "mlp.fc2")
        return self.linear(self.norm(tokens, w, "encoder.norm")[2:], w, "decoder.head")

    def attention(self, h: Tensor, block: dict[str, Tensor]) -> Tensor:
        q, k, v = (t.unflatten(1, (self.heads, -1)) for t in self.linear(h, block, "attn.qkv").chunk(3, dim=1))
        weights = torch.einsum("qhd,khd->hqk", q, k) / q.shape[-1] ** 0.5
        return self.linear(torch.einsum("hqk,khd->qhd", weights.softmax(-1), v).flatten(1), block, "attn.proj")

    @staticmethod
    def linear(h: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
        return h @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    @staticmethod
    def norm(h: Tensor, w: dict[str, Tensor], name: str) -> Tensor:
        h = (h - h.mean(1, keepdim=True)) / (h.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        return h * w[f"{name}.weight"] + w[f"{name}.bias"]


def distilled_state() -> dict[str, Tensor]:
    """Width 64, two layers, 3 x 4 patches, 5 classes, and the heads that are stored but not used."""
    rng = torch.Generator().manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "patch_embed.proj.weight": (64, 3, 16, 16), "patch_embed.proj.bias": (64,), "pos_embed": (1, 14, 64),
        "cls_token": (1, 1, 64), "dist_token": (1, 1, 64), "norm.weight": (64,), "norm.bias": (64,),
        "head.weight": (1000, 64), "head.bias": (1000,), "head_dist.weight": (1000, 64), "head_dist.bias": (1000,),
    }  # fmt: skip
    for n in range(2):
        for name, rows, columns in [
            ("attn.qkv", 192, 64), ("attn.proj", 64, 64), ("mlp.fc1", 256, 64), ("mlp.fc2", 64, 256)
        ]:  # fmt: skip
            shapes |= {f"blocks.{n}.{name}.weight": (rows, columns), f"blocks.{n}.{name}.bias": (rows,)}
        shapes |= {f"blocks.{n}.{norm}.{part}": (64,) for norm in ("norm1", "norm2") for part in ("weight", "bias")}
    state = {f"encoder.{name}": torch.randn(shape, generator=rng) * 0.2 for name, shape in shapes.items()}
    return state | {"decoder.head.weight": torch.randn(5, 64, generator=rng), "decoder.head.bias": torch.ones(5)}


def test_the_distilled_form_with_a_linear_decoder() -> None:
    state = distilled_state()
    teacher = load_rstrudel(state, n_heads=2, image_size=(48, 64)).eval()
    x = torch.randn(1, 3, 48, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        coarse = teacher.coarse_logits(x)
        expected = PlainSegmenter(state, heads=2)(x)
    assert coarse.shape == (1, 5, 3, 4)
    torch.testing.assert_close(coarse[0].flatten(1).T, expected, atol=1e-4, rtol=1e-4)


def test_mistakes_are_told_in_one_line() -> None:
    _, state = golden("teacher_tiny.npz")
    with pytest.raises(UserError, match=r"pos_embed is \(1, 33, 128\), expected \(1, 17, 128\)"):
        load_rstrudel(state, n_heads=2, image_size=(64, 64))
    with pytest.raises(UserError, match=r"not Segmenter weights: expected a tensor encoder\.patch_embed\.proj\.weight"):
        load_rstrudel({"a": torch.zeros(1)}, n_heads=2, image_size=(64, 64))
    with pytest.raises(UserError, match="have width 128, which n_heads 3 does not divide"):
        load_rstrudel(state, n_heads=3, image_size=(64, 128))
    with pytest.raises(UserError, match="which n_heads 0 does not divide"):
        load_rstrudel(state, n_heads=0, image_size=(64, 128))
    less = {name: value for name, value in state.items() if name != "decoder.proj_patch"}
    with pytest.raises(UserError, match=r"has no decoder\.proj_patch"):
        load_rstrudel(less, n_heads=2, image_size=(64, 128))


@pytest.mark.parametrize("shape", [(), (7,), (2, 3), (4, 0, 2, 2), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize("name", ["encoder.patch_embed.proj.weight", "decoder.cls_emb", "decoder.head.weight"])
def test_a_tensor_of_another_rank_is_told_in_one_line(name: str, shape: tuple[int, ...]) -> None:
    _, state = golden("teacher_tiny.npz")
    with pytest.raises(UserError, match="expected"):
        load_rstrudel(state | {name: torch.zeros(shape)}, n_heads=2, image_size=(64, 128))


def test_the_mask_decoder_has_heads_of_64() -> None:
    decoder = build_teacher("small", 3, image_size=(32, 64)).decoder
    assert isinstance(decoder, MaskDecoder)
    assert [block.attn.heads for block in decoder.blocks] == [6, 6]
