"""The parts of benchmarks/models.py at a small size: both sides give the same, and rows say what was measured."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.benchmarks.loading import load_benchmark

SIDE = 64


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return load_benchmark("models")


def test_a_student_is_compared_and_timed(benchmark: ModuleType) -> None:
    rows = {row.name: row for row in benchmark.speed_rows("T", SIDE, repeats=1, training=True)}
    assert list(rows) == ["forward_T_vs_plain", "forward_T_logits_vs_plain", "train_T_vs_plain"]
    for row in rows.values():
        plain_s = float(row.peer.split(",")[-1].split()[0])
        assert row.ratio == pytest.approx(plain_s / row.value, rel=0.01)


def test_outputs_that_differ_are_found(benchmark: ModuleType) -> None:
    sides = benchmark.Sides("T", SIDE)
    sides.state = {name: value.detach().clone() for name, value in sides.state.items()}
    sides.state["output.bias"] += torch.linspace(0, 1, 30)
    with pytest.raises(AssertionError):
        sides.assert_equal(training=False)


def test_the_median_of_the_unet_is_the_peer(benchmark: ModuleType) -> None:
    rows = benchmark.unet_rows(32, 8, repeats=1)
    assert [row.name for row in rows] == ["forward_T_vs_unet3d_f8", "forward_L_vs_unet3d_f8"]
    assert rows[0].peer == rows[1].peer
    assert rows[0].ratio * rows[0].value == pytest.approx(rows[1].ratio * rows[1].value)


def test_rows_with_the_default_malloc_come_from_a_process_that_has_it(
    benchmark: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in benchmark.TUNED_MALLOC.items():
        monkeypatch.setenv(name, value)
    small = ("--side", str(SIDE), "--repeats", "1")
    output = benchmark._with_default_malloc("--forward-only", *small, "--json", str(tmp_path / "rows.json"))
    assert output.splitlines()[0].endswith("medians of 1, default malloc")
    rows = benchmark.json.loads((tmp_path / "rows.json").read_text())
    kinds = ("forward_T_vs_plain", "forward_T_logits_vs_plain", "forward_L_vs_plain", "forward_L_logits_vs_plain")
    assert tuple(row["name"] for row in rows) == kinds
