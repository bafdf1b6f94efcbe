"""timm's vision transformers as the teacher's encoder."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from roomseg.errors import UserError
from roomseg.models.teacher import Teacher, build_teacher
from roomseg.models.timm_vit import FAMILIES, TimmVit, import_timm


def vit_of(teacher: Teacher) -> torch.nn.Module:
    assert isinstance(teacher.encoder, TimmVit)
    return teacher.encoder.vit


@pytest.mark.parametrize(
    ("name", "patch", "special_tokens"),
    [
        ("vit_tiny_patch16_384", 16, 1),
        ("vit_small_patch14_dinov2", 14, 1),
        ("vit_small_patch14_reg4_dinov2", 14, 5),
        ("vit_small_patch16_dinov3", 16, 5),  # rotary positions, another class of timm
        ("deit3_small_patch16_224", 16, 1),
        ("vit_dpwee_patch16_reg1_gap_256", 16, 1),  # its last norm comes after the pooling
    ],
)
def test_features_are_timms_patch_tokens(name: str, patch: int, special_tokens: int) -> None:
    teacher = build_teacher(name, 30, image_size=(6 * patch, 12 * patch)).eval()
    vit = vit_of(teacher)
    x = torch.randn(1, 3, 6 * patch, 12 * patch, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens = vit.forward_features(x)
        features, full = teacher.features(x), teacher(x)
    assert tokens.shape[1] == special_tokens + 72
    assert features.shape == (1, vit.embed_dim, 6, 12)
    expected = vit.fc_norm(tokens[:, special_tokens:]).transpose(1, 2).unflatten(2, (6, 12))
    torch.testing.assert_close(features, expected)
    assert features.std(dim=1).mean() == pytest.approx(1, abs=0.05)  # after a norm
    assert full.shape == (1, 30, 6 * patch, 12 * patch)


def test_images_are_resized_to_whole_patches() -> None:
    """Grid and logits cover the image: nothing is padded at the seam."""
    teacher = build_teacher("vit_small_patch14_dinov2", 5, image_size=(64, 128)).eval()
    x = torch.randn(1, 3, 64, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        coarse, full = teacher.coarse_logits(x), teacher(x)
        whole = teacher.coarse_logits(F.interpolate(x, size=(70, 140), mode="bilinear"))
    assert coarse.shape == (1, 5, 5, 10)
    torch.testing.assert_close(coarse, whole)
    torch.testing.assert_close(full, F.interpolate(coarse, size=(64, 128), mode="bilinear"))
    assert vit_of(teacher).pos_embed.shape == (1, 1 + 5 * 10, 384)


def test_other_sizes_than_the_panoramas() -> None:
    teacher = build_teacher("vit_small_patch14_dinov2", 5, image_size=(56, 112)).eval()
    with torch.no_grad():
        assert teacher(torch.zeros(2, 3, 42, 42)).shape == (2, 5, 42, 42)


def test_each_has_its_own_colours() -> None:
    dino, plain = (build_teacher(name, 3, image_size=(64, 64)) for name in ("vit_small_patch14_dinov2", "test_vit"))
    assert dino.normalization == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert plain.normalization == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_every_weight_gets_a_gradient() -> None:
    teacher = build_teacher("vit_dpwee_patch16_reg1_gap_256", 3, image_size=(64, 128))
    teacher(torch.randn(2, 3, 64, 128)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in teacher.parameters())


def test_attention_pooling_is_left_out() -> None:
    with torch.device("meta"):
        pooled = import_timm().create_model("vit_base_patch32_siglip_256", num_classes=0)
        vit = vit_of(build_teacher("vit_base_patch32_siglip_256", 3, image_size=(256, 512)))
    assert any(name.startswith("attn_pool.") for name, _ in pooled.named_parameters())
    assert not any(name.startswith(("attn_pool.", "head.")) for name, _ in vit.named_parameters())


def test_drop_path_reaches_timm() -> None:
    blocks = vit_of(build_teacher("test_vit", 3, image_size=(32, 64), drop_path=0.2)).blocks
    assert blocks[-1].drop_path1.drop_prob == pytest.approx(0.2)


def test_every_plain_vit_of_timm_can_be_built() -> None:
    timm = import_timm()
    names = [name for family in FAMILIES for name in timm.list_models(module=family)]
    assert len(names) > 200
    with torch.device("meta"):
        for name in names[::24]:
            teacher = build_teacher(name, 30, image_size=(448, 896))
            assert teacher.encoder.width == vit_of(teacher).embed_dim


def test_mistakes_are_told_in_one_line() -> None:
    with pytest.raises(UserError, match=r"'vit_small_patch14_dino'; .*such as .*vit_small_patch14_dinov2") as caught:
        build_teacher("vit_small_patch14_dino", 30)
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"'bass'; expected micro, tiny, small, base, large or .* such as base"):
        build_teacher("bass", 30)
    with pytest.raises(UserError, match=r"'resnet50'"):
        build_teacher("resnet50", 30)
    with pytest.raises(UserError, match=r"no weights 'mine' of it, expected vit_small_patch14_dinov2 or .*lvd142m"):
        build_teacher("vit_small_patch14_dinov2.mine", 30)
    with pytest.raises(UserError, match=r"teacher.patch is 16, but vit_small_patch14_dinov2 has 14"):
        build_teacher("vit_small_patch14_dinov2", 30, image_size=(64, 128), patch=16)
