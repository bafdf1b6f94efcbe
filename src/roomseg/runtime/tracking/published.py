"""Checkpoints that others have published, as versions of the registry."""

from __future__ import annotations

from pathlib import Path

from roomseg.runtime.tracking.client import check_reachable, connect, experiment_id, mlflow_errors, one_at_a_time
from roomseg.runtime.tracking.registry import MlflowRegistry

PUBLISHED = "published"  # the alias: such a model has no scores of ours, so it is never champion by itself


def register_published(uri: str, name: str, model_dir: Path, source: str) -> str:
    """Register the folder and give it the alias ``published``; the same folder again is the same version."""
    check_reachable(uri)
    with one_at_a_time(uri):
        client = connect(uri)
        with mlflow_errors(uri):
            run = client.create_run(experiment_id(client, uri), run_name=f"import {source}")
            version = MlflowRegistry(client, run.info.run_id, uri).register(
                name, model_dir, {}, {"source": source}, alias=PUBLISHED
            )
            client.set_terminated(run.info.run_id)
    return version
