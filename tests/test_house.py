"""The house rules that a tool can hold us to."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["lint-imports", "--no-cache"],
        ["mypy"],
    ],
    ids=lambda command: " ".join(command),
)
def test_checks_pass(command):
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_importing_the_package_does_nothing_heavy():
    heavy = ("torch", "mlflow", "kfp", "numba")
    code = f"import sys, roomseg.profiles, roomseg.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rendering_needs_no_torch():
    code = "import sys, roomseg.stages.render, roomseg.runtime.stage; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_lock_is_the_constraints_with_hashes():
    def canonical(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    pins = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    text = "".join(re.findall(r"^[^#].*\n", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    entries = re.findall(r"([\w.-]+)==(\S+) \\\n    --hash=sha256:[0-9a-f]{64}\n", text)
    assert text.count("\n") == 2 * len(entries)  # nothing without a hash
    locked = {canonical(name): version for name, version in entries}
    assert len(locked) == len(entries)
    pinned = {canonical(name): version for name, version in pins}
    assert {name: locked.get(name) for name in pinned} == pinned
    of_torch = [name for name in locked if name not in pinned]
    assert all(re.match(r"nvidia-|cuda-|triton$|setuptools$", name) for name in of_torch), of_torch
