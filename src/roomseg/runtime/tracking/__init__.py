"""MLflow: one parent run a pipeline run, one nested run a stage; and the model registry. Nothing else knows mlflow."""

from roomseg.runtime.tracking.client import default_tracking_uri, has_registry, serve_ui
from roomseg.runtime.tracking.download import download_model
from roomseg.runtime.tracking.journal import Journal
from roomseg.runtime.tracking.published import register_published
from roomseg.runtime.tracking.registry import MlflowRegistry, find_champion, promote_version, roll_back
from roomseg.runtime.tracking.runs import StageRun, open_tracking

__all__ = [
    "Journal",
    "MlflowRegistry",
    "StageRun",
    "default_tracking_uri",
    "download_model",
    "find_champion",
    "has_registry",
    "open_tracking",
    "promote_version",
    "register_published",
    "roll_back",
    "serve_ui",
]
