"""The benchmark of the GPU, on the CPU at its smallest size: right, and every row there."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.benchmarks.loading import load_benchmark


@pytest.fixture
def gpu() -> ModuleType:
    return load_benchmark("gpu")


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


def test_blocks_are_small_on_a_cpu_and_as_large_as_asked(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu.torch.cuda, "is_available", lambda: True)
    for arguments, size in ((["cpu"], 64), (["cpu", "--quick"], 64), (["cpu", "--size", "128"], 128), (["cuda"], 128)):
        assert gpu.parse(["--device", *arguments]).size == size


@pytest.mark.heavy
def test_quick_ends_within_a_minute_on_one_core(tmp_path: Path) -> None:
    script, file = Path(__file__).parents[2] / "benchmarks/gpu.py", tmp_path / "rows.json"
    command = [sys.executable, str(script), "--device", "cpu", "--quick", "--json", str(file)]
    one = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    subprocess.run(command, env=os.environ | one, check=True, timeout=60)
    assert len(json.loads(file.read_text())) == 13


@pytest.mark.parametrize(
    ("smi", "module", "version"),
    [
        ("echo 570.86.15; echo 570.86.15", "", "570.86.15"),
        (
            "exit 9",
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024",
            "535.183.01",
        ),
        ("", "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build", "580.65.06"),
        ("exit 9", "", "unknown"),
        (None, "", "unknown"),
    ],
)
def test_the_drivers_version(
    gpu: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smi: str | None, module: str, version: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if smi is not None:
        (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{smi}\n")
        (tmp_path / "nvidia-smi").chmod(0o755)
    if module:
        (tmp_path / "version").write_text(f"{module}\nGCC version: gcc version 12.3.0\n")
    assert gpu.driver_version(tmp_path / "version") == version


def test_a_wrong_gradient_is_told(gpu: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    true = gpu.Student.loss
    factor = {4: 1.1, 8: 1.0}  # by the bytes of a number: ours is off, the exact one is not
    monkeypatch.setattr(gpu.Student, "loss", lambda self, x, y: true(self, x, y) * factor[x.dtype.itemsize])
    import torch

    with pytest.raises(AssertionError):
        gpu.assert_right(gpu.Card(torch.device("cpu")), "T", "fp32")
