"""What can be known of the images without building them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.images.storage import ROOT

DOCKERFILES = sorted((ROOT / "images").glob("*/Dockerfile"))


def test_they_are_linted() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    assert [path.parent.name for path in DOCKERFILES] == ["render", "train"]
    done = subprocess.run([str(hadolint), *map(str, DOCKERFILES)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_context_holds_what_they_copy_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    let_through = {line[1:] for line in lines if line.startswith("!")}
    assert let_through == set().union(*map(copied_from_context, DOCKERFILES))


def copied_from_context(dockerfile: Path) -> set[str]:
    """The sources of its COPY lines; none of ours goes over several lines."""
    words = [line.split()[1:-1] for line in dockerfile.read_text().splitlines() if line.startswith("COPY ")]
    return {source for sources in words if not sources[0].startswith("--from") for source in sources}
