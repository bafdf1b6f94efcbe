"""One undisturbed run of the tiny pipeline, with which the disturbed ones are compared."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.e2e.test_local_pipeline import ROOT, command


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Its store, and what it printed."""
    store = tmp_path_factory.mktemp("finished")
    done = subprocess.run(command(store), cwd=ROOT, capture_output=True, text=True, timeout=1700)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return store, done
