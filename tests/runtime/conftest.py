from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from roomseg.runtime.storage import Store, open_store


@pytest.fixture(params=["directory", "s3"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The same tests run over both kinds of store."""
    return str(tmp_path / "store") if request.param == "directory" else request.getfixturevalue("s3_store")


@pytest.fixture
def store(store_url: str) -> Store:
    return open_store(store_url)


@pytest.fixture(scope="session")
def mlflow_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with MLflow's empty tables: making them takes seconds, copying them nothing."""
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    uri = f"sqlite:///{path}"
    MlflowClient(tracking_uri=uri, registry_uri=uri).search_experiments()
    return path


@pytest.fixture
def mlflow_uri(mlflow_tables: Path, tmp_path: Path) -> str:
    path = tmp_path / "tracking" / "mlflow.db"
    path.parent.mkdir()
    shutil.copyfile(mlflow_tables, path)
    return f"sqlite:///{path}"


RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_python() -> RunPython:
    """Run a script in a process of its own, which it may kill."""

    def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", textwrap.dedent(script), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)

    return run
