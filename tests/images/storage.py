"""Where buildah and debootstrap work in these tests: one folder, which goes when they end, in whatever way they end.

What is started here lives in namespaces whose first process dies with pytest, so no process and no mount stays. The
machine's own images and containers are out of reach. Only a pytest that is killed outright (SIGKILL) leaves the folder;
the next run takes it away.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PARENT, PREFIX = Path("/var/tmp"), "roomseg-images-"
ALONE = ("setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--mount-proc", "--pid", "--fork", "--kill-child")
# buildah keeps a cache there, wherever its storage is.
COVERED = 'mkdir -p /var/lib/containers; mount -t tmpfs tmpfs /var/lib/containers; exec "$@"'
SETTINGS = {
    "storage.conf": '[storage]\ndriver = "vfs"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n',
    "containers.conf": '[network]\nnetwork_config_dir = "{folder}/networks"\n',
}


@dataclass(frozen=True)
class Storage:
    folder: Path

    def run(self, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """In the project's root; images, containers and temporary files are below the folder."""
        settings = {
            "CONTAINERS_STORAGE_CONF": f"{self.folder}/storage.conf",
            "CONTAINERS_CONF": f"{self.folder}/containers.conf",
            "BUILDAH_ISOLATION": "chroot",
            "TMPDIR": f"{self.folder}/tmp",
        }
        whole = [*ALONE, "sh", "-euc", COVERED, "sh", *command]
        done = subprocess.run(whole, cwd=ROOT, capture_output=True, text=True, env=os.environ | settings | env)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done


@contextmanager
def open_storage() -> Iterator[Storage]:
    """An empty storage. SIGTERM ends it like Ctrl-C."""
    _remove_abandoned()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=PARENT))
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with (folder / "in-use").open("w") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            (folder / "tmp").mkdir()
            for name, text in SETTINGS.items():
                (folder / name).write_text(text.format(folder=folder))
            yield Storage(folder)
    finally:
        _remove(folder)
        signal.signal(signal.SIGTERM, before)


def _remove_abandoned() -> None:
    for mark in PARENT.glob(f"{PREFIX}*/in-use"):
        with mark.open() as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # another run is at work there
            _remove(mark.parent)


def _remove(folder: Path, tries: int = 20) -> None:
    """Processes that were killed may need a moment until they write no more."""
    for _ in range(tries):
        done = subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], capture_output=True, text=True)
        if done.returncode == 0:
            return
        time.sleep(1.0)
    raise AssertionError(done.stderr[-3000:])
