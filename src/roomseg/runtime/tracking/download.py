"""A registered model's own files, out of what MLflow wraps around them."""

from __future__ import annotations

from pathlib import Path

from roomseg.errors import UserError
from roomseg.runtime.tracking.client import check_reachable, connect, mlflow_errors

_CARD = "model.json"
_MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def download_model(model_uri: str, tracking_uri: str, target: Path, missing_ok: bool = False) -> Path | None:
    """The folder of ``model.json`` and the weights of ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

    None for a model, version or alias that is not there where that is ``missing_ok``; else raises ``UserError``.
    """
    check_reachable(tracking_uri)
    connect(tracking_uri)
    import mlflow
    from mlflow.exceptions import MlflowException

    # The only place where MLflow has no client argument for it.
    mlflow.set_tracking_uri(tracking_uri)
    mlflow.set_registry_uri(tracking_uri)
    with mlflow_errors(tracking_uri):
        try:
            folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=model_uri, dst_path=str(target)))
        except MlflowException as error:
            if missing_ok and error.error_code in _MISSING:
                return None
            raise
    cards = sorted(folder.rglob(_CARD))
    if not cards:
        raise UserError(f"{model_uri} holds no {_CARD}: it was not registered by roomseg")
    return cards[0].parent
