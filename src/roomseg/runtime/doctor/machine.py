"""This machine: the GPU and its driver, shared memory, the cache's disk."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from roomseg.runtime.artifacts import cache_dir
from roomseg.runtime.doctor.lines import Line
from roomseg.runtime.storage import open_store

MIN_SHM_BYTES = 1 << 30
MIN_DISK_BYTES = 20 << 30
SHM = Path("/dev/shm")


def gpu() -> Iterator[Line]:
    import torch

    build = f"torch {torch.__version__}"
    driver = _nvidia_driver()
    if torch.cuda.is_available():
        names = sorted({torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())})
        yield Line("OK", "GPU", f"{torch.cuda.device_count()} x {', '.join(names)}, driver {driver}, {build}")
    elif driver is None:
        yield Line("WARN", "GPU", f"no NVIDIA driver here, {build}", "training will use the CPU")
    elif torch.version.cuda is None:
        yield Line("FAIL", "GPU", f"driver {driver}, but {build} is a build for CPUs", "install PyPI's torch")
    else:
        needed = f"driver {driver} does not serve {build}, which is for CUDA {torch.version.cuda}"
        yield Line("FAIL", "GPU", needed, "update the driver, or take a torch build for an older CUDA")


def shared_memory() -> Iterator[Line]:
    if not SHM.is_dir():
        yield Line("WARN", "/dev/shm", "not there", "several GPUs in a pod need it: set shm in the cluster's file")
        return
    size = shutil.disk_usage(SHM).total
    enough = size >= MIN_SHM_BYTES
    remedy = "" if enough else "set shm of the training pods in the cluster's file, such as 8Gi"
    yield Line("OK" if enough else "WARN", "/dev/shm", _gib(size), remedy)


def disk(store: str) -> Iterator[Line]:
    folder = cache_dir(open_store(store)).absolute()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    enough = free >= MIN_DISK_BYTES
    remedy = "" if enough else f"expected {_gib(MIN_DISK_BYTES)}: free some, or set ROOMSEG_CACHE_DIR"
    yield Line("OK" if enough else "WARN", "disk", f"{_gib(free)} free for {folder}", remedy)


def _nvidia_driver() -> str | None:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.split()[0] if done.returncode == 0 and done.stdout.strip() else None


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB"
