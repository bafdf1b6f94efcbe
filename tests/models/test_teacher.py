from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from roomseg.errors import UserError
from roomseg.models.teacher import (
    BACKBONES,
    Teacher,
    build_teacher,
    load_rstrudel,
    normalise_panorama,
    resize_positions,
)
from roomseg.models.timm_weights import fetch_imagenet21k, import_timm, load_timm_encoder
from tests.models.volumes import golden


def golden_teacher() -> tuple[dict[str, np.ndarray], Teacher]:
    arrays, state = golden("teacher_tiny.npz")
    rows, columns = arrays["image_size"].tolist()
    return arrays, load_rstrudel(state, n_heads=int(arrays["n_heads"]), image_size=(rows, columns)).eval()


def test_published_weights_give_the_published_logits() -> None:
    arrays, teacher = golden_teacher()
    with torch.no_grad():
        logits = teacher(torch.from_numpy(arrays["x"]).float())[0]
    i, j = arrays["index"].T
    np.testing.assert_allclose(logits[:, i, j].T.numpy(), arrays["logits"], atol=1e-4)
    np.testing.assert_array_equal(logits.argmax(0).numpy(), arrays["argmax"])


@pytest.mark.parametrize(("backbone", "millions"), [("base", 103.2), ("large", 333.6)])
def test_parameter_counts(backbone: str, millions: float) -> None:
    with torch.device("meta"):
        teacher = Teacher(BACKBONES[backbone], 30, (512, 1024), patch=16, drop_path=0.1)
    assert sum(p.numel() for p in teacher.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


def test_odd_sizes_are_padded_with_zeros_and_cropped() -> None:
    arrays, teacher = golden_teacher()
    x = torch.from_numpy(arrays["x"]).float()[..., :90, :150]
    with torch.no_grad():
        logits = teacher(x)
        padded = teacher(F.pad(x, (0, 10, 0, 6)))
        assert teacher.coarse_logits(x).shape == (1, 30, 6, 10)
    assert logits.shape == (1, 30, 90, 150)
    torch.testing.assert_close(logits, padded[..., :90, :150])


def test_full_logits_are_the_coarse_ones_resized() -> None:
    teacher = build_teacher("micro", image_size=(64, 128), patch=8).eval()
    x = torch.randn(2, 3, 64, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        coarse, full = teacher.coarse_logits(x), teacher(x)
    torch.testing.assert_close(full, F.interpolate(coarse, scale_factor=8, mode="bilinear"))


def test_positions_keep_the_class_token_and_take_another_grid_bilinearly() -> None:
    positions = torch.cat([torch.full((1, 1, 1), 9.0), torch.tensor([[0.0], [4.0]])[None]], dim=1)
    resized = resize_positions(positions, (1, 2), (1, 4))
    assert resized.flatten().tolist() == [9.0, 0.0, 1.0, 3.0, 4.0]


def test_positions_of_another_grid_of_the_same_length_are_taken_as_they_are() -> None:
    teacher = build_teacher("micro", image_size=(64, 128)).eval()
    assert teacher.encoder._positions((2, 16)) is teacher.encoder.pos_embed


def test_panoramas_are_normalised_to_minus_one_and_one() -> None:
    rgb = torch.tensor([0, 255, 51], dtype=torch.uint8).expand(1, 2, 4, 3)
    torch.testing.assert_close(normalise_panorama(rgb)[0, :, 1, 2], torch.tensor([-1.0, 1.0, (0.2 - 0.5) / 0.5]))


def test_training_uses_dropout_and_gives_every_weight_a_gradient() -> None:
    teacher = build_teacher("micro", image_size=(32, 64))
    x = torch.randn(2, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(teacher(x), teacher(x))
    teacher(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in teacher.parameters())


def test_encoder_with_timm_weights_equals_timm() -> None:
    timm = import_timm()
    torch.manual_seed(0)
    vit = timm.create_model("vit_tiny_patch16_224", pretrained=False, num_classes=7).eval()
    for module in vit.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-5  # timm's own is 1e-6
    teacher = build_teacher("tiny", image_size=(224, 224)).eval()
    load_timm_encoder(teacher, vit.state_dict())
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        features, grid = teacher.encoder(x)
        torch.testing.assert_close(features, vit.forward_features(x)[:, 1:], atol=1e-5, rtol=1e-4)
    assert grid == (14, 14)

    wide = build_teacher("tiny", image_size=(128, 256))
    load_timm_encoder(wide, vit.state_dict())
    assert torch.equal(wide.encoder.pos_embed, resize_positions(vit.pos_embed, (14, 14), (8, 16)))
    with pytest.raises(UserError, match="do not fit the teacher"):
        load_timm_encoder(build_teacher("small", image_size=(128, 256)), vit.state_dict())


def test_weights_that_cannot_be_fetched_are_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: object, **options: object) -> None:
        raise OSError("name resolution\nfailed")

    monkeypatch.setattr(import_timm(), "create_model", unreachable)
    with pytest.raises(
        UserError, match=r"vit_base_patch16_224.augreg_in21k .*resolution failed.*start=random"
    ) as caught:
        fetch_imagenet21k("base")
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no ImageNet-21k start for 'micro'"):
        fetch_imagenet21k("micro")


def test_mistakes_are_told_in_one_line() -> None:
    with pytest.raises(UserError, match="'huge' is unknown; choose one of micro, tiny"):
        build_teacher("huge")
    with pytest.raises(UserError, match="multiples of the patch, 16"):
        build_teacher("micro", image_size=(64, 120))
    _, state = golden("teacher_tiny.npz")
    with pytest.raises(UserError, match=r"not Segmenter weights for \(64, 64\) images"):
        load_rstrudel(state, n_heads=2, image_size=(64, 64))
    with pytest.raises(UserError, match="not Segmenter weights"):
        load_rstrudel({"a": torch.zeros(1)}, n_heads=2, image_size=(64, 64))
