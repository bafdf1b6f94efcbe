"""The whole tiny pipeline on the servers of a cluster: S3, and MLflow with PostgreSQL and artifacts on S3."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.test_local_pipeline import ROOT, STAGES, command
from tests.servers import MlflowServer, PostgresServer

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(PostgresServer.programs() is None, reason="PostgreSQL is not here: apt-get install postgresql"),
]


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path_factory.mktemp("postgresql") / "cluster")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mlflow(postgres: PostgresServer, s3_store: str, tmp_path: Path) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path, postgres.uri, f"{s3_store}-mlflow")
    server.start()
    yield server
    server.kill()


def test_the_pipeline_on_postgresql_and_s3(mlflow: MlflowServer, s3_store: str, tmp_path: Path) -> None:
    environment = os.environ | {"ROOMSEG_CACHE_DIR": str(tmp_path / "cache")}
    done = subprocess.run(
        command(s3_store, "--tracking-uri", mlflow.uri),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "model     roomseg version 1@champion" in done.stdout

    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=mlflow.uri, registry_uri=mlflow.uri)
    experiment = client.get_experiment_by_name("roomseg")
    runs = client.search_runs([experiment.experiment_id])
    names = [run.info.run_name for run in runs if "mlflow.parentRunId" in run.data.tags]
    assert sorted(names) == sorted(STAGES)
    assert all(run.info.status == "FINISHED" for run in runs)
    assert client.get_model_version_by_alias("roomseg", "champion").version == "1"
