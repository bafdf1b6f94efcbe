"""MLflow: one parent run a pipeline run, one nested run a stage; and the model registry. Nothing else knows mlflow."""

from roomseg.runtime.tracking.client import default_tracking_uri, serve_ui
from roomseg.runtime.tracking.journal import Journal
from roomseg.runtime.tracking.registry import MlflowRegistry
from roomseg.runtime.tracking.runs import StageRun, open_tracking

__all__ = ["Journal", "MlflowRegistry", "StageRun", "default_tracking_uri", "open_tracking", "serve_ui"]
