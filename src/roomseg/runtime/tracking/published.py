"""Checkpoints that others have published, as versions of the registry."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from roomseg.config import MODEL_NAME
from roomseg.errors import UsageError
from roomseg.runtime.tracking.client import check_reachable, connect, experiment_id, mlflow_errors, one_at_a_time
from roomseg.runtime.tracking.registry import MlflowRegistry

PUBLISHED = "published"  # the alias: such a model has no scores of ours, so it is never champion by itself


def register_published(uri: str, name: str, model_dir: Path, source: str, licence: str = "") -> str:
    """Register the folder and give it the alias ``published``; the same folder again is the same version.

    Raises ``UsageError`` for a name that is none before anything is made.
    """
    if not re.fullmatch(MODEL_NAME, name):
        raise UsageError(f"got the model name {name!r}; expected letters, digits and any of _ . - alone")
    check_reachable(uri)
    tags = {"source": source} | ({"licence": licence} if licence else {})
    with one_at_a_time(uri):
        client = connect(uri)
        with mlflow_errors(uri), _ended_run(client, uri, f"import {source}") as run_id:
            return MlflowRegistry(client, run_id, uri).register(name, model_dir, {}, tags, alias=PUBLISHED)


@contextmanager
def _ended_run(client: Any, uri: str, run_name: str) -> Iterator[str]:
    """A run that ends with what is done under it, also where that fails."""
    from mlflow.exceptions import MlflowException

    run_id = client.create_run(experiment_id(client, uri), run_name=run_name).info.run_id
    try:
        yield run_id
    except BaseException:
        with suppress(MlflowException):  # the first failure is the one to tell
            client.set_terminated(run_id, "FAILED")
        raise
    client.set_terminated(run_id)
