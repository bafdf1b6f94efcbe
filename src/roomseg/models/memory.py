"""How much memory a computation may take here."""

from __future__ import annotations

import os
from pathlib import Path

import torch

_CGROUP, _MEMINFO = Path("/sys/fs/cgroup"), Path("/proc/meminfo")


def free_bytes(device: torch.device) -> int:
    """Memory that is free on the device; for the CPU within the container's limit, where there is one."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = _available_bytes()
    limit, used = (_number(_CGROUP / name) for name in ("memory.max", "memory.current"))
    return free if limit is None or used is None else min(free, limit - used)


def _available_bytes() -> int:
    """As Linux tells it; half of what there is elsewhere."""
    if not _MEMINFO.exists():
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    line = next(line for line in _MEMINFO.read_text().splitlines() if line.startswith("MemAvailable:"))
    return 1024 * int(line.split()[1])


def _number(path: Path) -> int | None:
    """None without such a file or limit."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
