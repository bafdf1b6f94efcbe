"""benchmarks/steps.py: what it measures is a step and a prediction, and each row is held against the first."""

from __future__ import annotations

from types import ModuleType

import pytest

from roomseg.planning.measured import BACKBONES, NETWORKS
from tests.benchmarks.loading import load_benchmark


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return load_benchmark("steps")


def test_rows_are_held_against_the_first(benchmark: ModuleType) -> None:
    rows = list(benchmark.rows_of(["T", "L"], {"T": (2.0, 1.0), "L": (10.0, 4.0)}.get))
    assert [(row.name, row.value, row.ratio) for row in rows] == [
        ("step_T", 4.0, 1.0),
        ("classes_T", 2.0, 1.0),
        ("step_L", 20.0, 0.2),
        ("classes_L", 8.0, 0.25),
    ]
    assert rows[2].peer == "T, 4"


def test_a_network_and_a_backbone_are_timed(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "REPEATS", 1)
    for step_s, classes_s in (benchmark.network_seconds("T", 64), benchmark.backbone_seconds("tiny", 64)):
        assert step_s > 0
        assert classes_s > 0


def test_the_plan_has_all_that_is_measured(benchmark: ModuleType) -> None:
    assert list(NETWORKS) == list(benchmark.SIDES)
    assert tuple(BACKBONES) == benchmark.BACKBONES
