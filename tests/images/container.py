"""Images without a registry or an engine: built by buildah over a stand-in for python:3.11-slim, run in their own root.

A container here is the image's files mounted read-only, as user 1000 without new privileges, with a scratch folder and
/tmp to write to; it shares the machine's network, so that it reaches the servers of the tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.images.storage import ALONE, Storage

BASE = "localhost/roomseg-tests/python:3.11-slim"
NEEDED = ("buildah", "debootstrap", "unshare", "setpriv")
# Where this machine's pip finds its packages: a build must find the same.
PIP_SETTINGS = ("/etc/pip.conf", "/root/.config/pip", "/etc/ssl/certs")

ENTER = """
mount --bind "$ROOTFS" "$ROOTFS"
mount --rbind /dev "$ROOTFS/dev"
mount -t proc proc "$ROOTFS/proc"
mount --bind /etc/resolv.conf "$ROOTFS/etc/resolv.conf"
mount --bind "$SCRATCH" "$ROOTFS/scratch"
mount -o remount,bind,ro "$ROOTFS"
mount -t tmpfs -o mode=1777 tmpfs "$ROOTFS/tmp"
exec setpriv --no-new-privs chroot --userspec=1000:1000 --groups= "$ROOTFS" "$@"
"""


def missing() -> list[str]:
    """What these tests need and this machine does not have."""
    return [name for name in NEEDED if shutil.which(name) is None] + (["root"] if os.geteuid() else [])


def make_base(storage: Storage) -> None:
    storage.run("sh", "images/debian_base.sh", BASE)


def build(storage: Storage, name: str) -> Image:
    """``images/build.sh NAME`` on the base; torch is the one that this machine's pip prefers."""
    find_links = os.environ.get("PIP_FIND_LINKS") or _pip_setting("global.find-links")
    indexes = [url.removeprefix("file://") for url in (_pip_setting("global.extra-index-url") or "").split()]
    folders = [str(Path(each).parent if each.endswith("/simple") else each) for each in [find_links, *indexes] if each]
    volumes = [path for path in (*PIP_SETTINGS, *folders) if Path(path).exists()]
    options = ["--pull-never", "--layers=false", f"--build-arg=PYTHON={BASE}", "--build-arg=TORCH_INDEX="]
    options += [f"--volume={path}:{path}:ro" for path in volumes]
    built = storage.run("sh", "images/build.sh", name, BUILD_OPTIONS=" ".join(options)).stdout
    return Image(storage, re.findall(r"^built (\S+)$", built, re.M)[-1])


@dataclass(frozen=True)
class Image:
    storage: Storage
    tag: str

    def config(self) -> dict:
        return json.loads(self._buildah("inspect", "--type", "image", self.tag))["OCIv1"]["config"]

    def run(self, scratch: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """A command in a fresh container with these variables beside the image's own."""
        container = self._buildah("from", "--pull-never", self.tag)
        try:
            rootfs = Path(self._buildah("mount", container))
            (rootfs / "scratch").mkdir()
            variables = [*self.config()["Env"], *(f"{name}={value}" for name, value in env.items())]
            enter = [*ALONE, "sh", "-euc", ENTER, "sh", "env", "-i", "-C", "/tmp", *variables, *command]
            places = {"ROOTFS": str(rootfs), "SCRATCH": str(scratch)}
            return subprocess.run(enter, capture_output=True, text=True, timeout=500, env=os.environ | places)
        finally:
            self._buildah("rm", container)

    def _buildah(self, *arguments: str) -> str:
        return self.storage.run("buildah", *arguments).stdout.strip()


def _pip_setting(name: str) -> str:
    done = subprocess.run(["pip", "config", "get", name], capture_output=True, text=True)
    return done.stdout.strip()
