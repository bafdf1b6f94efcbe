"""One undisturbed run of the tiny pipeline, with which the disturbed ones are compared. Secrets are planted in it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.planted import PLANTED
from tests.e2e.test_local_pipeline import ROOT, command


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Its store, and what it printed."""
    store = tmp_path_factory.mktemp("finished")
    environment = os.environ | PLANTED  # which it has no use for: ``test_secrets`` looks where they went
    done = subprocess.run(command(store), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1700)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return store, done
