from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchmarks.plain_student import plain_student
from roomseg.data import rooms
from roomseg.errors import UserError
from roomseg.models import upsampled
from roomseg.models.student import VARIANTS, build_student, pad_with_empty
from roomseg.models.swin import window_order
from roomseg.models.volumes import EMPTY
from roomseg.models.weights import load_weights
from tests.models.volumes import golden, randomise, room_like


@pytest.mark.parametrize(("variant", "count"), [("T", 375_036), ("B", 618_966), ("M", 1_549_524), ("L", 4_430_544)])
def test_parameter_counts(variant: str, count: int) -> None:
    assert sum(p.numel() for p in build_student(variant).parameters()) == count


def test_published_weights_give_the_published_logits() -> None:
    arrays, state = golden("student_T.npz")
    student = build_student("T").eval()
    index_table = {"encoder.patch_embed.layers.0.blocks.0.attn.relative_position_index": torch.zeros(512, 512)}
    load_weights(student, {"state_dict": state | index_table})
    x = torch.from_numpy(arrays["x"]).float()
    with torch.no_grad():
        coarse = student.coarse(x)
        chosen = student.logits_at(coarse, x, torch.from_numpy(arrays["index"]).long())
        i, j, k = arrays["index"].T
        full = student(x)[0, :, i, j, k].T
    np.testing.assert_allclose(chosen.numpy(), arrays["logits"], atol=1e-4)
    np.testing.assert_allclose(full.numpy(), arrays["logits"], atol=1e-4)
    np.testing.assert_array_equal(student.predict(x)[0].numpy(), arrays["argmax"])


@pytest.mark.parametrize("variant", list(VARIANTS))
@pytest.mark.parametrize("sizes", [(64, 64, 64), (128, 64, 64)])
def test_equals_the_step_by_step_student(variant: str, sizes: tuple[int, int, int]) -> None:
    student = build_student(variant, seed=3).eval()
    randomise(student, seed=1, spread=0.05)
    x, _ = room_like(sizes, seed=2)
    with torch.no_grad():
        fast = student(x)
        slow = plain_student(student.state_dict(), x, VARIANTS[variant].depths, VARIANTS[variant].heads)
    assert slow.std() > 0.05
    torch.testing.assert_close(fast, slow, atol=1e-4, rtol=1e-4)


def test_gradients_equal_those_of_the_step_by_step_student() -> None:
    student = build_student("T", drop_path=0.0)
    randomise(student, seed=1, spread=0.05)
    x, labels = room_like((128, 64, 64), seed=2)
    class_weight = torch.ones(30)
    class_weight[0] = 0.3
    student.cross_entropy(student.coarse(x), x, labels, void_weight=0.3).backward()
    fast = {name: parameter.grad for name, parameter in student.named_parameters()}

    student.zero_grad()
    slow_logits = plain_student(dict(student.named_parameters()), x, *VARIANTS["T"][1:])
    F.cross_entropy(slow_logits, labels.long(), class_weight).backward()
    for name, parameter in student.named_parameters():
        scale = parameter.grad.abs().max().item()
        torch.testing.assert_close(fast[name], parameter.grad, atol=2e-4 * scale + 1e-8, rtol=2e-3, msg=name)


def test_a_batch_is_its_items() -> None:
    student = build_student("T").eval()
    x, _ = room_like((64, 128, 64), seed=4, batch=2)
    with torch.no_grad():
        both = student.coarse(x)
        each = torch.cat([student.coarse(x[:1]), student.coarse(x[1:])])
    torch.testing.assert_close(both, each, atol=1e-6, rtol=1e-5)


def test_other_sizes_are_padded_with_empty_and_cropped() -> None:
    student = build_student("T").eval()
    x, _ = room_like((50, 64, 70), seed=5)
    padded = pad_with_empty(x)
    assert padded.shape == (1, 4, 64, 64, 128)
    assert padded[0, :, 60, 3, 100].tolist() == list(EMPTY)
    with torch.no_grad():
        logits = student(x)
        torch.testing.assert_close(logits, student(padded)[..., :50, :64, :70])
    assert student.predict(x).shape == (1, 50, 64, 70)
    assert (student.predict(x) == logits.argmax(1)).float().mean() > 0.9999


def test_empty_is_what_rooms_say_it_is() -> None:
    assert EMPTY == (rooms.EMPTY_TSDF, rooms.EMPTY_RGB, rooms.EMPTY_RGB, rooms.EMPTY_RGB)


def test_without_skip_the_input_reaches_the_output_through_tokens_only() -> None:
    student = build_student("T", skip=False).eval()
    assert student.output.weight.shape == (30, 30)
    x, labels = room_like((64, 64, 64), seed=6)
    coarse = student.coarse(x)
    up = F.interpolate(coarse, scale_factor=8, mode="trilinear") + student.output.bias.view(-1, 1, 1, 1)
    torch.testing.assert_close(student(x), up, atol=1e-5, rtol=1e-5)
    student.cross_entropy(coarse, x, labels).backward()
    assert student.output.weight.grad.abs().max() > 0


def test_drop_path_leaves_out_whole_samples_while_training_only() -> None:
    student = build_student("T", drop_path=0.9)
    x, _ = room_like((64, 64, 64), seed=7)
    with torch.no_grad():
        assert not torch.equal(student.coarse(x), student.coarse(x))
        student.eval()
        assert torch.equal(student.coarse(x), student.coarse(x))


def test_initial_weights_depend_on_the_seed_alone() -> None:
    first, second, other = (build_student("T", seed=s).state_dict() for s in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["decoder.head.weight"], other["decoder.head.weight"])


def test_bfloat16_is_close() -> None:
    student = build_student("T").eval()
    x, labels = room_like((64, 64, 64), seed=8)
    exact = student.coarse(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        coarse = student.coarse(x)
        loss = student.cross_entropy(coarse, x, labels)
        chosen = student.logits_at(coarse, x, torch.arange(0, 64**3, 999))
    assert torch.equal(chosen, student.logits_at(coarse, x, torch.arange(0, 64**3, 999)))  # full precision from here
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse, exact, atol=0.02, rtol=0.05)
    torch.testing.assert_close(loss, student.cross_entropy(exact, x, labels), atol=0.02, rtol=0.02)


def test_mistakes_are_told_in_one_line() -> None:
    with pytest.raises(UserError, match="'X' is unknown; choose one of T, B, M, L"):
        build_student("X")
    with pytest.raises(UserError, match=r"decoder\.head\.bias is \(5,\), expected \(30,\)"):
        load_weights(build_student("T"), build_student("T", classes=5).state_dict())
    with pytest.raises(UserError, match=r"shape \(1, 3, 64, 64, 64\); expected \(B, 4, X, Y, Z\)"):
        build_student("T").predict(torch.zeros(1, 3, 64, 64, 64))
    x = torch.zeros(1, 4, 64, 64, 64)
    x[0, 2, 5, :3, 9] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    for use in (build_student("T"), build_student("T").predict):
        with pytest.raises(UserError, match="3 values that are NaN or infinite; expected -3 x TSDF"):
            use(x)
    with pytest.raises(ValueError, match="multiples of 64"):
        build_student("T").coarse(torch.zeros(1, 4, 64, 64, 72))


def test_training_goes_on_after_a_prediction_in_inference_mode() -> None:
    """What is kept between calls must not be an inference tensor."""
    window_order.cache_clear()
    student = build_student("T", classes=3)
    x, labels = room_like((64, 64, 64), seed=0, batch=1)
    with torch.inference_mode():
        student.predict(x)
    student.cross_entropy(student.coarse(x), x, labels % 3).backward()
    assert all(p.grad is not None for p in student.parameters())


def test_the_mean_over_symmetries_is_that_of_the_logits_and_moves_with_the_room() -> None:
    student = build_student("T", seed=3).eval()
    randomise(student, seed=1, spread=0.05)
    x, _ = room_like((64, 128, 64), seed=2)
    with torch.no_grad():
        logits = []
        for mirrored, turns in itertools.product((False, True), range(4)):
            moved = torch.rot90(x.flip(2) if mirrored else x, turns, (2, 3))
            back = torch.rot90(student(moved), -turns, (2, 3))
            logits.append(back.flip(2) if mirrored else back)
        expected = torch.stack(logits).mean(0)
        coarse = student.symmetric_coarse(x)
        torch.testing.assert_close(
            upsampled.upsampled_logits(coarse, x, student.pixel_head), expected, atol=1e-4, rtol=1e-4
        )
        labels = student.predict(x, average=True)
        assert (labels == expected.argmax(1)).float().mean() > 0.999
        turned = student.predict(torch.rot90(x.flip(2), 1, (2, 3)), average=True)
    assert (turned == torch.rot90(labels.flip(1), 1, (1, 2))).float().mean() > 0.999
    assert (student.predict(x) != labels).any()
