from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from roomseg.errors import UserError
from roomseg.models.dense_loss import dense_cross_entropy
from roomseg.models.tiles import predict_tiled
from roomseg.models.unet3d import build_unet3d
from roomseg.models.upsampled import PixelHead, upsampled_cross_entropy, upsampled_logits
from roomseg.models.weights import load_weights
from tests.models.volumes import golden, randomise, room_like


@pytest.mark.parametrize(("feature_maps", "count"), [(64, 16_323_174), (16, 1_022_262)])
def test_parameter_counts(feature_maps: int, count: int) -> None:
    network = build_unet3d(feature_maps=feature_maps)
    assert sum(p.numel() for p in network.parameters()) == count
    assert len(network.state_dict()) == 44


def test_published_weights_give_the_published_logits() -> None:
    arrays, state = golden("unet3d_f16.npz")
    network = build_unet3d(feature_maps=16).eval()
    load_weights(network, {"state_dict": state})
    x = torch.from_numpy(arrays["x"]).float()
    i, j, k = arrays["index"].T
    with torch.no_grad():
        logits = network(x)[0, :, i, j, k].T
    np.testing.assert_allclose(logits.numpy(), arrays["logits"], atol=1e-4)
    np.testing.assert_array_equal(network.predict(x)[0].numpy(), arrays["argmax"])


@pytest.mark.parametrize("sizes", [(13, 9, 17), (8, 8, 8), (16, 23, 12)])
def test_equals_the_step_by_step_network_at_any_size(sizes: tuple[int, int, int]) -> None:
    network = build_unet3d(classes=5, feature_maps=16, seed=3).double().eval()
    randomise(network, seed=1, spread=0.02)
    x = room_like(sizes, seed=2, batch=2)[0].double()
    with torch.no_grad():
        slow = reference_unet3d(network.state_dict(), x)
        assert slow.std() > 0.05
        torch.testing.assert_close(network(x), slow, atol=1e-9, rtol=1e-9)
        single = network.float()(x.float())
        torch.testing.assert_close(single, slow.float(), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(single[1:], network(x[1:].float()), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("void_weight", [1.0, 0.3, 0.0])
def test_the_loss_is_the_students(void_weight: float) -> None:
    rng = torch.Generator().manual_seed(0)
    coarse, weight, bias = (torch.randn(shape, generator=rng) for shape in [(2, 30, 2, 1, 3), (30, 4), (30,)])
    x, labels = room_like((16, 8, 24), seed=1, batch=2)
    head = PixelHead(weight, bias)
    dense = dense_cross_entropy(upsampled_logits(coarse, x, head), labels, void_weight)
    torch.testing.assert_close(dense, upsampled_cross_entropy(coarse, x, head, labels, void_weight))


def test_loss_by_hand_and_gradients_to_every_parameter() -> None:
    network = build_unet3d(classes=30, feature_maps=16)
    x, labels = room_like((16, 11, 8), seed=4, batch=2)
    loss = network.loss(x, labels, void_weight=0.3)
    shares = network(x).log_softmax(1).gather(1, labels.long()[:, None])[:, 0]
    weights = torch.where(labels == 0, 0.3, 1.0)
    torch.testing.assert_close(loss, -(shares * weights).sum() / weights.sum())
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


def test_large_rooms_are_predicted_in_aligned_tiles() -> None:
    """Without norms the network is the same every 8 voxels, so tiles equal the whole where they see 47 to each side."""
    network = build_unet3d(classes=6, feature_maps=8).eval()
    for module in list(network.modules()):
        if hasattr(module, "groupnorm"):
            module.groupnorm = nn.Identity()
    randomise(network, seed=5, spread=0.05)
    x, _ = room_like((208, 16, 16), seed=6)
    with torch.no_grad():
        network.final_conv.bias.zero_()
        whole = network(x)[0].argmax(0)
    assert len(whole.unique()) > 3
    labels = predict_tiled(network, x, (136, 16, 16), overlap=60, classes=6, align=8)[0]  # [0, 136) and [72, 208)
    equal = (labels == whole).float().mean((1, 2))
    assert equal[:72].min() == 1
    assert equal[136:].min() == 1
    assert equal[72:136].mean() > 0.9


def test_predict_takes_tiles_where_a_room_is_too_large() -> None:
    network = build_unet3d(classes=6, feature_maps=8, seed=1).eval()
    randomise(network, seed=7, spread=0.1)
    x, _ = room_like((41, 24, 23), seed=8)
    with torch.no_grad():
        whole = network(x).argmax(1).to(torch.uint8)
    assert torch.equal(network.predict(x), whole)
    tiled = network.predict(x, tile=24)
    assert torch.equal(tiled, predict_tiled(network, x, (24, 24, 23), overlap=9, classes=6, align=8))
    assert not torch.equal(tiled, whole)  # the norms see tiles


def test_bfloat16_is_close() -> None:
    network = build_unet3d(feature_maps=16).eval()
    x, labels = room_like((16, 16, 16), seed=9)
    with torch.no_grad():
        exact, exact_loss = network(x), network.loss(x, labels)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, loss = network(x), network.loss(x, labels)
    assert logits.dtype == loss.dtype == torch.float32
    assert (logits - exact).abs().mean() < 0.02
    assert (logits - exact).abs().max() < 0.2
    torch.testing.assert_close(loss, exact_loss, atol=0.02, rtol=0.02)


def test_initial_weights_depend_on_the_seed_alone() -> None:
    first, second, other = (build_unet3d(feature_maps=8, seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["final_conv.weight"], other["final_conv.weight"])


def test_mistakes_are_told_in_one_line() -> None:
    network = build_unet3d(classes=5, feature_maps=8)
    with pytest.raises(UserError, match=r"shape \(1, 3, 8, 8, 8\); expected \(B, 4, X, Y, Z\)"):
        network(torch.zeros(1, 3, 8, 8, 8))
    with pytest.raises(UserError, match=r"\(1, 4, 8, 7, 8\); expected \(B, 4, X, Y, Z\) with 8 voxels or more"):
        network.predict(torch.zeros(1, 4, 8, 7, 8))
    with pytest.raises(UserError, match=r"shape \(1, 8, 8, 9\); expected \(1, 8, 8, 8\)"):
        network.loss(torch.zeros(1, 4, 8, 8, 8), torch.zeros(1, 8, 8, 9, dtype=torch.uint8))
    with pytest.raises(UserError, match="go up to 5; expected 0 to 4 for 5 classes"):
        network.loss(torch.zeros(1, 4, 8, 8, 8), torch.full((1, 8, 8, 8), 5, dtype=torch.uint8))
    with pytest.raises(UserError, match="feature_maps is 24; expected 8 or a multiple of 16"):
        build_unet3d(feature_maps=24)
    with pytest.raises(UserError, match=r"final_conv.*UNet3D"):
        load_weights(network, build_unet3d(classes=6, feature_maps=8).state_dict())


def reference_unet3d(state: dict[str, Tensor], x: Tensor) -> Tensor:
    """The same network from its specification: norms, pooling and resizing by their definitions."""
    levels = []
    for level in range(4):
        if level:
            even = [n // 2 * 2 for n in x.shape[2:]]
            cut = x[..., : even[0], : even[1], : even[2]]
            x = cut.unflatten(4, (-1, 2)).amax(5).unflatten(3, (-1, 2)).amax(4).unflatten(2, (-1, 2)).amax(3)
        x = _double_conv(state, f"encoders.{level}.", x)
        levels.append(x)
    for j in range(3):
        skip = levels[2 - j]
        near = [torch.arange(n) * m // n for n, m in zip(skip.shape[2:], x.shape[2:], strict=True)]
        up = x[:, :, near[0][:, None, None], near[1][:, None], near[2]]
        x = _double_conv(state, f"decoders.{j}.", torch.cat([skip, up], dim=1))
    kernel = state["final_conv.weight"][:, :, 0, 0, 0]
    return torch.einsum("kc,bcxyz->bkxyz", kernel, x) + state["final_conv.bias"].view(-1, 1, 1, 1)


def _double_conv(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    for i in (1, 2):
        prefix = f"{name}basic_module.SingleConv{i}."
        groups = x.unflatten(1, (1 if x.shape[1] < 8 else 8, -1)).flatten(2)  # (B, groups, channels and voxels)
        centred = groups - groups.mean(2, keepdim=True)
        normed = (centred / (centred.square().mean(2, keepdim=True) + 1e-5).sqrt()).reshape(x.shape)
        scale, shift = (state[f"{prefix}groupnorm.{part}"].view(-1, 1, 1, 1) for part in ("weight", "bias"))
        x = F.conv3d(normed * scale + shift, state[f"{prefix}conv.weight"], padding=1).clamp(min=0)
    return x
