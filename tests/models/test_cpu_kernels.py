from __future__ import annotations

from types import ModuleType

import pytest
from numba.core.dispatcher import Dispatcher

from roomseg.models import cpu_attention, cpu_math, cpu_upsampled


@pytest.mark.parametrize("module", [cpu_math, cpu_attention, cpu_upsampled], ids=lambda m: m.__name__.split(".")[-1])
def test_every_part_of_a_fast_kernel_is_inlined(module: ModuleType) -> None:
    """Otherwise the process that compiles it rounds differently from those that load it (see cpu_math)."""
    compiled = {name: value for name, value in vars(module).items() if isinstance(value, Dispatcher)}
    called = {name for name, value in compiled.items() if not value.targetoptions.get("parallel")}
    assert called
    assert [name for name in called if not compiled[name].targetoptions.get("forceinline")] == []
