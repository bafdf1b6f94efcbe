"""What a model did on its test rooms, in MLflow: metrics that name model and rooms, and the results by room."""

from __future__ import annotations

import math
import tempfile
import time
from pathlib import Path
from typing import Any

from roomseg.ports import Evidence

_DATASET = "test rooms"
_DIGEST_LETTERS = 32  # MLflow takes 36
_FOLDER = "results"  # in the run's artifacts


def log_evidence(client: Any, run_id: str, model_id: str | None, evidence: Evidence) -> str:
    """Into a run, where what an attempt before has logged is not logged again.

    Returns where the results are, as ``read_results`` takes it.
    """
    from mlflow.entities import Dataset, DatasetInput, Metric

    client.log_artifact(run_id, str(evidence.results), _FOLDER)
    where = f"runs:/{run_id}/{_FOLDER}/{evidence.results.name}"
    digest = evidence.rooms_digest[:_DIGEST_LETTERS]
    # MLflow has one of a name and digest, made by the run that is first: nothing of a single run belongs into it.
    rooms = Dataset(_DATASET, digest, source_type="sha256 of the rooms", source=evidence.rooms_digest)
    run = client.get_run(run_id)
    linked = run.inputs.dataset_inputs if run.inputs else []
    if digest not in [each.dataset.digest for each in linked]:
        client.log_inputs(run_id, [DatasetInput(rooms)])
    links = {"model_id": model_id, "dataset_name": _DATASET, "dataset_digest": digest, "run_id": run_id}
    now_ms = time.time_ns() // 1_000_000
    scores = {f"test/{name}": value for name, value in evidence.scores.items() if math.isfinite(value)}
    new = {name: value for name, value in scores.items() if run.data.metrics.get(name) != value}
    client.log_batch(run_id, [Metric(name, value, now_ms, 0, **links) for name, value in new.items()])
    return where


def read_results(client: Any, where: str) -> bytes:
    run_id, _, path = where.removeprefix("runs:/").partition("/")
    with tempfile.TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run_id, path, folder)).read_bytes()
