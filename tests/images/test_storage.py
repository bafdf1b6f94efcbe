"""Nothing is left of building images: not when a build fails in the middle, not when the tests are stopped there."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.images import container
from tests.images.storage import ROOT, open_storage
from tests.waiting import wait_until

pytestmark = [
    pytest.mark.images,
    pytest.mark.skipif(bool(container.missing()), reason=f"not here: {', '.join(container.missing())}"),
]
MAKE_BASE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
from tests.images.container import make_base
from tests.images.storage import open_storage
with open_storage() as storage:
    print(storage.folder, flush=True)
    make_base(storage)
"""


def processes_of(folder: Path) -> list[str]:
    """The command lines of those that have it in their environment."""
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder).encode() in (each / "environ").read_bytes():
                found.append((each / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # it has just ended
    return found


def mounts_of(folder: Path) -> list[str]:
    """In the mount namespaces of all processes."""
    tables = []
    for each in Path("/proc").glob("[0-9]*/mountinfo"):
        try:
            tables.append(each.read_text())
        except OSError:
            continue
    return [line for table in tables for line in table.splitlines() if str(folder) in line]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_of_what_is_stopped_in_the_middle(sent: signal.Signals) -> None:
    command = [sys.executable, "-c", MAKE_BASE]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        # Until debootstrap is at work in its new root.
        wait_until(lambda: any("proc" in line for line in mounts_of(folder)), 600)
        assert any("debootstrap" in each for each in processes_of(folder))
        process.send_signal(sent)
        assert process.wait(300) != 0
    wait_until(lambda: not processes_of(folder))
    wait_until(lambda: not mounts_of(folder))  # of their children too, whose environment does not name the folder
    assert folder.exists() == (sent == signal.SIGKILL)
    with open_storage():
        assert not folder.exists()


def test_nothing_stays_of_a_build_that_fails(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\nRUN no-such-program\n")
    before = machines_own()
    with open_storage() as storage:
        with pytest.raises(AssertionError, match='building at STEP "RUN no-such-program"'):
            storage.run("buildah", "build", "--layers=false", "--tag", "localhost/fails:1", str(tmp_path))
        assert machines_own() == before
    assert not storage.folder.exists()


def test_two_runs_at_once_leave_each_other_alone() -> None:
    with open_storage() as one:
        with open_storage() as other:
            assert one.folder.exists()
        assert not other.folder.exists()
        assert one.folder.exists()


def machines_own() -> set[str]:
    """What buildah keeps outside of the tests."""
    places = ("/var/lib/containers", "/run/containers", "/etc/cni")
    return {str(path) for place in places for path in Path(place).rglob("*")}
