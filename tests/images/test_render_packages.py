"""The image of render has a few packages only: its stage runs with them alone, and an MLflow server over HTTP."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from roomseg.runtime.manifest import Manifest
from tests.e2e.test_local_pipeline import TINY
from tests.images.storage import ROOT
from tests.servers import MlflowServer

RENDER_WITHOUT = """
import sys
from importlib.machinery import PathFinder

missing = frozenset(sys.argv.pop(1).split(","))

class Installed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in missing else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Installed
from roomseg.cli import app, run_command_line
run_command_line(app)
"""


def test_render_runs_with_the_packages_of_its_image(tmp_path: Path) -> None:
    missing = not_in_the_image()
    assert {"torch", "sqlalchemy", "alembic"} <= missing
    settings = [part for setting in TINY if setting.startswith("render.") for part in ("--set", setting)]
    store = tmp_path / "store"
    server = MlflowServer(tmp_path)
    try:
        server.start()
        command = ["render", "--profile", "demo", "--store", str(store), "--tracking-uri", server.uri, *settings]
        done = subprocess.run(
            [sys.executable, "-c", RENDER_WITHOUT, ",".join(sorted(missing)), *command], capture_output=True, text=True
        )
    finally:
        server.kill()
    assert done.returncode == 0, done.stderr
    (manifest,) = store.glob("artifacts/render/*/manifest.json")
    assert Manifest.from_json(manifest.read_text()).scores["rooms"] == 5


def not_in_the_image() -> set[str]:
    """Names that can be imported here and not there."""
    lines = (ROOT / "images/render/requirements.txt").read_text().splitlines()
    there = with_what_they_need({line for line in lines if line and not line.startswith("#")}) | {"roomseg"}
    found = packages_distributions()
    return {name for name, owners in found.items() if not there & {canonicalize_name(owner) for owner in owners}}


def with_what_they_need(names: set[str]) -> set[str]:
    found: set[str] = set()
    while names:
        name = canonicalize_name(names.pop())
        if name not in found:
            found.add(name)
            names |= {Requirement(line).name for line in needs(name) if applies(Requirement(line))}
    return found


def needs(name: str) -> list[str]:
    try:
        return requires(name) or []
    except PackageNotFoundError:
        return []  # for other systems


def applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})
