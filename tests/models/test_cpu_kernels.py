from __future__ import annotations

from types import ModuleType

import pytest
from numba.core.dispatcher import Dispatcher

from roomseg.geometry import cpu_math
from roomseg.losses import cpu_collapse, cpu_divergence
from roomseg.models import cpu_attention, cpu_upsampled

MODULES = (cpu_math, cpu_attention, cpu_upsampled, cpu_collapse, cpu_divergence)


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__.split(".")[-1])
def test_every_part_of_a_fast_kernel_is_inlined(module: ModuleType) -> None:
    """Otherwise the process that compiles it rounds differently from those that load it (see cpu_math)."""
    compiled = {name: value for name, value in vars(module).items() if isinstance(value, Dispatcher)}
    called = {name for kernel in compiled.values() for name in kernel.py_func.__code__.co_names if name in compiled}
    assert [name for name in called if not compiled[name].targetoptions.get("forceinline")] == []
