"""A registered model's own files, out of what MLflow wraps around them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from roomseg.errors import UsageError, UserError
from roomseg.runtime.tracking.client import check_reachable, connect, mlflow_errors

_CARD = "model.json"
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_MODEL_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


def download_model(model_uri: str, tracking_uri: str, target: Path, missing_ok: bool = False) -> Path | None:
    """The folder of ``model.json`` and the weights of ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

    None for a model, version or alias that is not there where that is ``missing_ok``; else raises ``UserError``.
    """
    check_reachable(tracking_uri)
    client = connect(tracking_uri)
    import mlflow
    from mlflow.exceptions import MlflowException

    with mlflow_errors(tracking_uri):
        try:
            source = _source(client, model_uri)
            # Not by the models:/ URI itself: MLflow would look it up in the server of the whole process.
            downloaded = mlflow.artifacts.download_artifacts(
                artifact_uri=source, dst_path=str(target), tracking_uri=tracking_uri, registry_uri=tracking_uri
            )
        except MlflowException as error:
            if missing_ok and error.error_code in _MISSING:
                return None
            raise
    cards = sorted(Path(downloaded).rglob(_CARD))
    if not cards:
        raise UserError(f"{model_uri} holds no {_CARD}: it was not registered by roomseg")
    return cards[0].parent


def _source(client: Any, model_uri: str) -> str:
    """Where the files of a version are; raises ``MlflowException`` for one that is not there."""
    parts = _MODEL_URI.fullmatch(model_uri)
    if parts is None:
        raise UsageError(f"got the model {model_uri!r}, expected models:/NAME@ALIAS or models:/NAME/VERSION")
    version = parts["version"]
    if parts["alias"]:
        version = client.get_model_version_by_alias(parts["name"], parts["alias"]).version
    return client.get_model_version_download_uri(parts["name"], version)
