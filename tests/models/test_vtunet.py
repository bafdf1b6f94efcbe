from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from roomseg.errors import UserError
from roomseg.models import vtunet
from roomseg.models.vtunet import DecoderBlock, EncoderBlock, Merging, build_vtunet, position_encoding
from roomseg.models.vtunet_attention import window_layout
from roomseg.models.weights import load_weights
from tests.models.reference_vtunet import (
    reference_decoder_block,
    reference_encoder_block,
    reference_position_encoding,
)
from tests.models.volumes import golden, randomise, room_like

CPU = torch.device("cpu")
SMALL = (36, 64, 32)  # voxels: the inner network takes them, though the whole one does not


def test_parameter_count() -> None:
    network = build_vtunet()
    assert sum(p.numel() for p in network.parameters()) == 5_388_204
    assert len(network.state_dict()) == 202


def test_published_weights_give_the_published_logits() -> None:
    arrays, state = golden("vtunet_e24.npz")
    network = build_vtunet(embed=24).eval()
    index_table = {"swin_unet.layers.0.blocks.0.attn.relative_position_index": torch.zeros(343, 343)}
    load_weights(network, {"state_dict": state | index_table})
    c, i, j, k = torch.meshgrid(torch.arange(4.0), *[torch.arange(128.0)] * 3, indexing="ij")
    x = torch.sin(0.11 * (c + 1) * i + 0.07 * j - 0.05 * c * k)[None]
    with torch.no_grad():
        logits = network(x)[0]
    rows, columns, stacks = arrays["index"].T
    np.testing.assert_allclose(logits[:, rows, columns, stacks].T.numpy(), arrays["logits"], atol=1e-4)
    labels = network.predict(x)[0]
    assert (labels[::5, ::5, ::5].numpy() == arrays["argmax_every_5th"]).mean() > 0.9999  # but for ties
    assert torch.equal(labels, logits.argmax(0).to(torch.uint8))


@pytest.mark.parametrize("sizes", [(9, 8, 14), (8, 5, 11), (4, 16, 4), (8, 4, 3)])
@pytest.mark.parametrize("shifted", [False, True])
def test_blocks_equal_the_step_by_step_ones_with_their_gradients(sizes: tuple[int, int, int], shifted: bool) -> None:
    """Padded axes, clamped windows on each axis (whose bias is odd), axes of one window that are not shifted."""
    heads, width = 3, 24
    encoder, decoder = (block(width, heads, 0.0, int(shifted)).double() for block in (EncoderBlock, DecoderBlock))
    for seed, block in enumerate((encoder, decoder)):
        randomise(block, seed, spread=0.3)
    rng = torch.Generator().manual_seed(2)
    x, z, probe = (torch.randn(2, *sizes, width, generator=rng, dtype=torch.float64) for _ in range(3))
    x.requires_grad_()
    z.requires_grad_()

    encoded, memory = encoder(x.flatten(1, 3), sizes)
    decoded = decoder(z.flatten(1, 3), sizes, memory)
    named = [*encoder.named_parameters(prefix="encoder"), *decoder.named_parameters(prefix="decoder")]
    leaves = [x, z, *(parameter for _, parameter in named)]
    fast = torch.autograd.grad(((encoded + decoded) * probe.flatten(1, 3)).sum(), leaves)

    slow_encoded, keys, values = reference_encoder_block(dict(encoder.named_parameters()), x, heads, shifted)
    slow_decoded = reference_decoder_block(dict(decoder.named_parameters()), z, heads, shifted, keys, values)
    slow = torch.autograd.grad(((slow_encoded + slow_decoded) * probe).sum(), leaves)
    torch.testing.assert_close(encoded, slow_encoded.flatten(1, 3), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(decoded, slow_decoded.flatten(1, 3), atol=1e-9, rtol=1e-9)
    for name, ours, theirs in zip(["x", "z", *(name for name, _ in named)], fast, slow, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-8, rtol=1e-8, msg=name)


def test_the_float32_kernel_equals_the_float64_blocks() -> None:
    encoder, decoder = EncoderBlock(24, 3, 0.0, 1), DecoderBlock(24, 3, 0.0, 1)
    randomise(encoder, 0, spread=0.3)
    randomise(decoder, 1, spread=0.3)
    sizes = (9, 8, 11)
    x = torch.randn(2, 9 * 8 * 11, 24, generator=torch.Generator().manual_seed(2))

    def run() -> tuple[Tensor, list[Tensor]]:
        value = x.to(encoder.norm1.weight.dtype)
        out = decoder(value.flip(1), sizes, encoder(value, sizes)[1])
        leaves = [encoder.attn.qkv.weight, *decoder.parameters()]
        return out, list(torch.autograd.grad(out.square().mean(), leaves))

    single, single_gradients = run()
    encoder.double()
    decoder.double()
    double, double_gradients = run()
    torch.testing.assert_close(single, double.float(), atol=1e-4, rtol=1e-4)
    for ours, theirs in zip(single_gradients, double_gradients, strict=True):
        scale = theirs.abs().max().item()
        torch.testing.assert_close(ours, theirs.float(), atol=1e-4 * scale, rtol=1e-3)


@pytest.mark.parametrize("sizes", [(32, 32, 32), (32, 4, 4), (9, 7, 8)])
@pytest.mark.parametrize("shifted", [False, True])
def test_every_token_has_one_place(sizes: tuple[int, int, int], shifted: bool) -> None:
    layout = window_layout(sizes, shifted, CPU)
    count = sizes[0] * sizes[1] * sizes[2]
    assert torch.equal(layout.order[layout.inverse], torch.arange(count))
    assert int((layout.order < count).sum()) == count
    assert len(layout.order) == sum(group.windows * group.filled for group in layout.groups)
    assert len(layout.groups) == 3 ** sum(shifted and n > 7 for n in sizes)


def test_position_encoding_is_the_fixed_one() -> None:
    for sizes, width in [((5, 3, 2), 24), ((4, 4, 4), 96), ((2, 3, 4), 32)]:
        ours = position_encoding(sizes, width, torch.float64, CPU)
        torch.testing.assert_close(ours, reference_position_encoding((*sizes, width)).reshape(1, -1, width))


def test_merging_has_axis_1_fastest() -> None:
    merging = Merging(1)
    merging.norm = nn.Identity()
    with torch.no_grad():
        merging.reduction.weight.copy_(torch.tensor([[1.0, 10, 100, 1000], [0, 0, 0, 0]]))
    x = torch.arange(1.0, 9.0).reshape(1, 8, 1)  # a grid of 2 x 2 x 2
    merged, sizes = merging(x, (2, 2, 2))
    assert sizes == (2, 1, 1)
    assert merged[0, :, 0].tolist() == [4231.0, 8675.0]


def test_the_loss_is_the_cross_entropy_of_the_logits_and_reaches_every_parameter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(vtunet, "BLOCK", 32)
    network = build_vtunet(embed=24, drop_path=0.0)
    x, labels = room_like((32, 32, 32), seed=4, batch=2)
    loss = network.loss(x, labels, void_weight=0.3)
    loss.backward()
    fast = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert all(g is not None and g.abs().max() > 0 for g in fast.values())

    network.zero_grad()
    class_weight = torch.ones(30)
    class_weight[0] = 0.3
    plain = F.cross_entropy(network(x), labels.long(), class_weight)
    plain.backward()
    torch.testing.assert_close(loss, plain, atol=1e-6, rtol=1e-5)
    for name, parameter in network.named_parameters():
        scale = parameter.grad.abs().max().item()
        torch.testing.assert_close(fast[name], parameter.grad, atol=1e-3 * scale, rtol=1e-2, msg=name)


def test_a_batch_is_its_items() -> None:
    inner = build_vtunet(embed=24).swin_unet.eval()
    x, _ = room_like(SMALL, seed=5, batch=2)
    with torch.no_grad():
        both = inner.head(inner(x))
        each = torch.cat([inner.head(inner(room[None])) for room in x])
    torch.testing.assert_close(both, each, atol=1e-5, rtol=1e-4)


def test_rooms_are_padded_with_empty_and_cut_into_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vtunet, "BLOCK", 64)
    network = build_vtunet(classes=4, embed=24).eval()
    randomise(network.swin_unet.output, seed=6, spread=0.5)
    x, _ = room_like((50, 30, 17), seed=7)
    padded = torch.tensor([-3.0, -1, -1, -1]).view(1, 4, 1, 1, 1).repeat(1, 1, 64, 64, 64)
    padded[..., :50, :30, :17] = x
    with torch.no_grad():
        whole = network(padded)[..., :50, :30, :17].argmax(1).to(torch.uint8)
    assert len(whole.unique()) > 1
    assert torch.equal(network.predict(x), whole)
    long, _ = room_like((70, 30, 17), seed=7)
    assert network.predict(long).shape == (1, 70, 30, 17)


def test_drop_path_rises_along_the_encoder_and_is_mirrored_in_the_decoder() -> None:
    inner = build_vtunet(embed=24, drop_path=0.6).swin_unet
    encoder = [[block.drop_path.rate for block in level.blocks] for level in inner.layers]
    decoder = [[block.drop_path.rate for block in level.blocks] for level in inner.layers_up[1:]]
    np.testing.assert_allclose([rate for level in encoder for rate in level], np.linspace(0, 0.6, 7))
    assert decoder == encoder[2::-1]
    x, _ = room_like(SMALL, seed=8)
    with torch.no_grad():
        assert not torch.equal(inner(x), inner(x))
        inner.eval()
        assert torch.equal(inner(x), inner(x))


def test_bfloat16_is_close() -> None:
    inner = build_vtunet(embed=24).swin_unet.eval()
    x, _ = room_like(SMALL, seed=9)
    with torch.no_grad():
        exact = inner.head(inner(x))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = inner.head(inner(x))
    assert (logits - exact).abs().mean() < 0.02 * exact.std()
    assert (logits - exact).abs().max() < 0.2 * exact.std()


def test_initial_weights_depend_on_the_seed_alone() -> None:
    first, second, other = (build_vtunet(embed=24, seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["swin_unet.output.weight"], other["swin_unet.output.weight"])


def test_training_goes_on_after_a_prediction_in_inference_mode() -> None:
    """What is kept between calls must not be an inference tensor."""
    window_layout.cache_clear()
    position_encoding.cache_clear()
    inner = build_vtunet(embed=24).swin_unet
    x, _ = room_like(SMALL, seed=10)
    with torch.inference_mode():
        inner(x)
    inner(x).sum().backward()


def test_mistakes_are_told_in_one_line() -> None:
    network = build_vtunet(classes=5, embed=24)
    with pytest.raises(UserError, match=r"shape \(1, 4, 64, 64, 64\); expected \(B, 4, 128, 128, 128\)"):
        network(torch.zeros(1, 4, 64, 64, 64))
    with pytest.raises(UserError, match=r"shape \(1, 3, 9, 9, 9\); expected \(B, 4, X, Y, Z\)"):
        network.predict(torch.zeros(1, 3, 9, 9, 9))
    with pytest.raises(UserError, match="width is 20; expected a multiple of 24"):
        build_vtunet(embed=20)
    with pytest.raises(UserError, match=r"swin_unet.output.weight is .*VTUNet"):
        load_weights(network, build_vtunet(classes=6, embed=24).state_dict())
