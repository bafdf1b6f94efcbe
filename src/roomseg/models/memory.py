"""How much memory a computation may plan with.

Rooms are cut into windows by it, and the seams are in the result. So it is a share of what the machine has, never of
what is free just now, which follows what was read before: a machine always gives the same bits.
"""

from __future__ import annotations

import os

import torch

from roomseg.errors import UsageError
from roomseg.processes import given_memory

MEMORY_GB = "ROOMSEG_MEMORY_GB"  # in the environment: to plan with instead of what there is
SHARE = 0.5  # the rest is for what lies there already: networks, rooms, what others hold
_GIB = 2**30


def planned_bytes(device: torch.device) -> int:
    """Half of the device's memory; for the CPU within the container's limit, where there is one.

    The memory counts in whole GiB, as kernels and drivers of like machines keep a few MB more or less for themselves.
    """
    return int(SHARE * (_given_bytes() or _whole_gib(device)))


def how_to_plan_with_less(device: torch.device) -> str:
    """What to do where rooms in windows were too much."""
    return f"set {MEMORY_GB} below {planned_bytes(device) / SHARE / 1e9:.3g}, so that rooms go in smaller windows"


def _whole_gib(device: torch.device) -> int:
    on_gpu = device.type == "cuda"
    total = torch.cuda.get_device_properties(device).total_memory if on_gpu else given_memory()
    return total // _GIB * _GIB


def _given_bytes() -> int | None:
    given = os.environ.get(MEMORY_GB)
    if not given:
        return None
    try:
        gigabytes = float(given)
    except ValueError:
        gigabytes = 0.0
    if not 0 < gigabytes < 1e9:
        raise UsageError(f"{MEMORY_GB} is {given!r}: expected the memory to plan with in GB, such as 16")
    return int(gigabytes * 1e9)
