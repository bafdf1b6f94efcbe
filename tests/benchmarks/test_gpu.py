"""The benchmark of the GPU, on the CPU at its smallest size: right, and every row there."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    import gpu

    return gpu


@pytest.mark.parametrize(
    "precisions", [("fp32",), pytest.param(("fp32", "bf16"), marks=pytest.mark.heavy)], ids=["fp32", "both"]
)
def test_all_rows_of_a_variant(
    gpu: ModuleType, monkeypatch: pytest.MonkeyPatch, precisions: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu, "PRECISIONS", {name: gpu.PRECISIONS[name] for name in precisions})
    options = ["--device", "cpu", "--size", "64", "--batch", "1", "--variants", "T", "--repeats", "1", "--no-compile"]
    rows = gpu.measure(gpu.parse(options))
    measured = ("predict", "matrix_share", "bandwidth_share", "train", "distill")
    expected = ["copy", *(f"matmul_{p}" for p in precisions)]
    expected += [f"T_{p}_eager_{name}" for p in precisions for name in measured]
    assert [row.name for row in rows] == expected
    assert all(math.isfinite(row.value) and row.value > 0 for row in rows)
    assert "a test, no measurement" in capsys.readouterr().out


def test_a_wrong_gradient_is_told(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    true = gpu.Student.loss
    factor = {4: 1.1, 8: 1.0}  # by the bytes of a number: ours is off, the exact one is not
    monkeypatch.setattr(gpu.Student, "loss", lambda self, x, y: true(self, x, y) * factor[x.dtype.itemsize])
    import torch

    with pytest.raises(AssertionError):
        gpu.assert_right(gpu.Card(torch.device("cpu")), "T", "fp32")
