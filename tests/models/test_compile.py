"""``torch.compile`` of the student gives what it gives without, in one graph: our operators do not break it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from roomseg.models import upsampled
from roomseg.models.attention import _cpu_attention, window_attention
from roomseg.models.student import Student, build_student
from roomseg.models.swin import _to_windows
from tests.models.volumes import randomise, room_like

SIZES = (64, 64, 128)


def student_and_data() -> tuple[Student, Tensor, Tensor]:
    student = build_student("T", drop_path=0.0)
    randomise(student, seed=1, spread=0.05)
    return student, *room_like(SIZES, seed=2)


def loss_and_gradients(student: Student, x: Tensor, labels: Tensor) -> tuple[Tensor, list[Tensor]]:
    student.zero_grad()
    loss = student.loss(x, labels, 0.3)
    loss.backward()
    gradients = [p.grad for p in student.parameters()]
    assert all(g is not None for g in gradients)
    return loss.detach(), [g.clone() for g in gradients if g is not None]


@pytest.fixture(autouse=True)
def _forget_programs() -> None:
    torch.compiler.reset()


def check_compiled(student: Student, x: Tensor, labels: Tensor, backend: str) -> None:
    expected = loss_and_gradients(student, x, labels)
    predicted = student.eval().predict(x, 10**9)
    names = list(student.state_dict())
    student.train().compile(backend=backend, fullgraph=True)
    assert list(student.state_dict()) == names
    loss, gradients = loss_and_gradients(student, x, labels)
    torch.testing.assert_close(loss, expected[0], atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(gradients, expected[1], strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4 * theirs.abs().max().item() + 1e-9, rtol=1e-3)
    assert (student.eval().predict(x, 10**9) == predicted).float().mean() > 0.9999


def test_traced_student_trains_and_predicts_as_the_plain_one() -> None:
    check_compiled(*student_and_data(), backend="aot_eager")


@pytest.mark.heavy
def test_compiled_student_trains_and_predicts_as_the_plain_one() -> None:
    check_compiled(*student_and_data(), backend="inductor")


@pytest.mark.parametrize("name", ["forward", "loss", "predict"])
def test_all_of_it_is_one_graph(name: str) -> None:
    student, x, labels = student_and_data()
    arguments = {"forward": (x,), "loss": (x, labels), "predict": (x, 10**9)}[name]
    with torch.no_grad():
        expected = getattr(student, name)(*arguments)
        traced = torch.compile(getattr(student, name), backend="aot_eager", fullgraph=True)(*arguments)
    torch.testing.assert_close(traced, expected, atol=1e-5, rtol=1e-5)


def test_operators_tell_the_tracer_the_truth() -> None:
    torch.manual_seed(0)
    checks = ("test_schema", "test_faketensor", "test_autograd_registration")
    qkv, bias = torch.randn(2, 64, 3, 2, 16, requires_grad=True), torch.randn(2, 64, 64, requires_grad=True)
    torch.library.opcheck(_cpu_attention, (qkv, bias), test_utils=checks)
    torch.library.opcheck(_to_windows, (torch.randn(1, 16 * 8 * 8, 4), [16, 8, 8], True), test_utils=checks)
    x, labels = room_like((8, 16, 8), seed=0)
    coarse, weight = torch.randn(1, 30, 1, 2, 1, requires_grad=True), torch.randn(30, 4, requires_grad=True)
    head = (coarse, x, weight, torch.randn(30, requires_grad=True))
    torch.library.opcheck(upsampled._labels, [t.detach() for t in head], test_utils=checks)
    torch.library.opcheck(upsampled._cross_entropy, (*head, labels, 0.5), test_utils=checks)


def test_bfloat16_attention_with_its_gradients() -> None:
    torch.manual_seed(0)
    qkv, bias = torch.randn(3, 64, 3, 2, 16), torch.randn(2, 64, 64)
    probe = torch.randn(3, 64, 32).bfloat16()
    results = []
    for dtype in (torch.float64, torch.bfloat16):
        leaves = qkv.to(dtype).requires_grad_(), bias.to(dtype).requires_grad_()
        out = window_attention(*leaves)
        results.append([out, *torch.autograd.grad(out, leaves, probe.to(dtype))])
    for exact, rounded in zip(*results, strict=True):
        assert rounded.dtype == torch.bfloat16
        assert (rounded.double() - exact).norm() < 0.02 * exact.norm()


def test_bfloat16_training_step_is_close() -> None:
    student, x, labels = student_and_data()
    loss, gradients = loss_and_gradients(student, x, labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded_loss, rounded = loss_and_gradients(student, x, labels)
    torch.testing.assert_close(rounded_loss, loss, atol=0.02, rtol=0.02)
    exact, ours = (torch.cat([g.flatten() for g in each]) for each in (gradients, rounded))
    assert (ours - exact).norm() < 0.05 * exact.norm()
