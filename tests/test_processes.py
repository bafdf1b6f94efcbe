"""What a process may take: threads as the environment says, else the cores of its machine and container; memory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from roomseg.processes import given_cores, given_memory

NAMES = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_DYNAMIC", "MKL_CBWR", "OMP_WAIT_POLICY")
SHOW = "import numba, torch; print(torch.get_num_threads(), numba.get_num_threads())"
HABITS = "import os; print(*(os.environ[n] for n in ('OMP_WAIT_POLICY', 'MKL_DYNAMIC', 'MKL_CBWR')))"


def said(code: str, cores: int | None = None, **environment: str) -> str:
    """What a process prints that may run on so many cores."""
    others = {name: value for name, value in os.environ.items() if name not in NAMES}
    allowed = sorted(os.sched_getaffinity(0))[:cores]
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {allowed}); {code}"],
        env=others | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("given", "among", "threads"),
    [
        ({}, 1, "1 1"),
        ({"OMP_NUM_THREADS": "3"}, 1, "3 1"),
        ({"OMP_NUM_THREADS": "8", "NUMBA_NUM_THREADS": "6"}, 2, "4 3"),
        ({"OMP_NUM_THREADS": "1"}, 4, "1 1"),
        ({"OMP_NUM_THREADS": "many"}, 1, "1 1"),
    ],
)
def test_a_process_has_the_threads_that_the_environment_says_or_one_a_core(given, among, threads):
    assert said(f"from roomseg.processes import share_cores; share_cores({among}); {SHOW}", cores=1, **given) == threads


@pytest.mark.parametrize(
    "start",
    [
        "import roomseg.cli as c; c.run_command_line(lambda: exec({!r}))",
        "import roomseg.runtime.component as c; context = c._process_of('render'); context.__enter__(); exec({!r})",
    ],
    ids=["command", "component"],
)
def test_commands_and_components_share_the_cores_before_anything_counts_them(start):
    assert said(start.format(SHOW), OMP_NUM_THREADS="2", NUMBA_NUM_THREADS="5") == "2 5"
    assert said(start.format(SHOW), cores=1) == "1 1"
    assert said(start.format(HABITS)) == "PASSIVE FALSE AUTO,STRICT"
    assert said(start.format(HABITS), OMP_WAIT_POLICY="ACTIVE", MKL_CBWR="AVX2") == "ACTIVE FALSE AVX2"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "99900000000 100000\n"}, None),
        ({"cpu.max": "damaged"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_a_containers_limit_of_cpu_time_counts(files, cores, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert given_cores(tmp_path) == (cores or len(os.sched_getaffinity(0)))


MACHINE_BYTES = 1024 * int(Path("/proc/meminfo").read_text().split()[1])  # its first line is MemTotal


@pytest.mark.parametrize(
    ("files", "given"),
    [
        ({}, MACHINE_BYTES),
        ({"memory.max": "max\n"}, MACHINE_BYTES),
        ({"memory.max": "1073741824\n", "memory.current": "1073000000\n"}, 2**30),
        ({"memory.max": "99999999999999999\n"}, MACHINE_BYTES),
        ({"memory.max": "damaged"}, MACHINE_BYTES),
        ({"memory/memory.limit_in_bytes": "9223372036854771712\n"}, MACHINE_BYTES),
        ({"memory/memory.limit_in_bytes": "1073741824\n", "memory/memory.usage_in_bytes": "1073000000\n"}, 2**30),
    ],
)
def test_a_containers_limit_of_memory_counts_and_not_what_is_in_use(files, given, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert given_memory(tmp_path) == given
