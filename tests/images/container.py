"""Images without a registry or an engine: built by buildah over a stand-in for python:3.11-slim, run in their own root.

A container here is the image's files mounted read-only, as user 1000 without new privileges, with a scratch folder and
/tmp to write to; it shares the machine's network, so that it reaches the servers of the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
BASE = "localhost/roomseg-tests/python:3.11-slim"
ENVIRONMENT = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
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


def buildah(*arguments: str) -> str:
    done = subprocess.run(["buildah", *arguments], capture_output=True, text=True, env=os.environ | ENVIRONMENT)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


def make_base() -> None:
    if BASE not in buildah("images", "--format", "{{.Name}}:{{.Tag}}").split():
        _run(["sh", "images/debian_base.sh", BASE])


def build(name: str) -> Image:
    """``images/build.sh NAME``; torch is the one that this machine's pip prefers."""
    find_links = os.environ.get("PIP_FIND_LINKS") or _pip_setting("global.find-links")
    indexes = [url.removeprefix("file://") for url in (_pip_setting("global.extra-index-url") or "").split()]
    folders = [str(Path(each).parent if each.endswith("/simple") else each) for each in [find_links, *indexes] if each]
    volumes = [path for path in (*PIP_SETTINGS, *folders) if Path(path).exists()]
    options = ["--pull-never", "--layers=false", f"--build-arg=PYTHON={BASE}", "--build-arg=TORCH_INDEX="]
    options += [f"--volume={path}:{path}:ro" for path in volumes]
    _run(["sh", "images/build.sh", name], BUILD_OPTIONS=" ".join(options))
    version = subprocess.run(
        ["sed", "-n", 's/^__version__ = "\\(.*\\)"$/\\1/p', "src/roomseg/__init__.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    return Image(f"localhost/roomseg/{name}:{version}")


@dataclass(frozen=True)
class Image:
    tag: str

    def config(self) -> dict:
        return json.loads(buildah("inspect", "--type", "image", self.tag))["OCIv1"]["config"]

    def run(self, scratch: Path, *command: str, **env: str) -> subprocess.CompletedProcess[str]:
        """A command in a fresh container with these variables beside the image's own."""
        container = buildah("from", "--pull-never", self.tag)
        try:
            rootfs = Path(buildah("mount", container))
            (rootfs / "scratch").mkdir()
            variables = [*self.config()["Env"], *(f"{name}={value}" for name, value in env.items())]
            enter = ["unshare", "--mount", "sh", "-euc", ENTER, "sh", "env", "-i", "-C", "/tmp", *variables, *command]
            places = {"ROOTFS": str(rootfs), "SCRATCH": str(scratch)}
            return subprocess.run(enter, capture_output=True, text=True, timeout=500, env=os.environ | places)
        finally:
            buildah("rm", container)


def _run(command: list[str], **env: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=os.environ | ENVIRONMENT | env)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def _pip_setting(name: str) -> str:
    done = subprocess.run(["pip", "config", "get", name], capture_output=True, text=True)
    return done.stdout.strip()
