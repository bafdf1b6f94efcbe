"""The scripts of ``benchmarks``, which find each other by bare names."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest


def load_benchmark(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        return importlib.import_module(name)
