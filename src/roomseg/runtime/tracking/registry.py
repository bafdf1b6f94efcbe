"""The model registry, ``ports.ModelRegistry``, over MLflow."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from collections.abc import Mapping
from importlib import metadata as installed
from pathlib import Path
from typing import Any

import roomseg
from roomseg.errors import UserError
from roomseg.ports import Champion, Evidence
from roomseg.runtime.fingerprint import digest_of
from roomseg.runtime.storage import sha256_of
from roomseg.runtime.tracking.client import check_reachable, connect, mlflow_errors
from roomseg.runtime.tracking.evidence import log_evidence, read_results
from roomseg.runtime.tracking.model_card import metadata_of, model_card

_CHAMPION, _PREVIOUS, _CHALLENGER = "champion", "previous", "challenger"
_PROMOTED = "roomseg.promoted"
_SCORE = "roomseg.score."
_DIGEST = "roomseg.model_digest"
_SERVING = ("boto3", "numba", "numpy", "pandas", "pillow", "pyarrow", "pydantic", "safetensors", "scipy", "torch")
_MODEL_ID, _RESULTS = "roomseg.model_id", "roomseg.results"  # MLflow's logged model; where the results by room are
_CARD = "README.md"


class MlflowRegistry:
    """Versions are pyfunc models, as ``served_model`` says: ``mlflow models serve -m models:/roomseg@champion``."""

    def __init__(self, client: Any, run_id: str, uri: str) -> None:
        self._client, self._run_id, self._uri = client, run_id, uri

    def register(
        self,
        name: str,
        model_dir: Path,
        scores: Mapping[str, float],
        tags: Mapping[str, str],
        evidence: Evidence | None = None,
        alias: str | None = _CHALLENGER,
    ) -> str:
        """See ``ports.ModelRegistry``. A folder that is there already only gets what is new besides."""
        with mlflow_errors(self._uri):
            version = self._registered(name, model_dir, scores, tags)
            if evidence is not None:
                model_id = self._client.get_model_version(name, version).tags.get(_MODEL_ID)
                where = log_evidence(self._client, self._run_id, model_id, evidence)
                self._client.set_model_version_tag(name, version, _RESULTS, where)
            if alias is not None and (alias != _CHALLENGER or self.aliases(name).get(_CHAMPION) != version):
                self._client.set_registered_model_alias(name, alias, version)
        return version

    def _registered(self, name: str, model_dir: Path, scores: Mapping[str, float], tags: Mapping[str, str]) -> str:
        digest = folder_digest(model_dir)
        described = {**tags, **{f"{_SCORE}{key}": repr(float(value)) for key, value in scores.items()}}
        self._ensure_model(name)
        version = self._version_of(name, digest)
        if version is None:
            model = self._upload(name, model_dir, scores, {**tags, _DIGEST: digest})
            all_tags = {**described, _DIGEST: digest, _MODEL_ID: model.model_id}
            # Not by models:/MODEL_ID: a local database would be looked up in the server of the whole process.
            source, ids = model.artifact_location, {"run_id": self._run_id, "model_id": model.model_id}
            return str(self._client.create_model_version(name, source=source, tags=all_tags, **ids).version)
        for key, value in described.items():
            self._client.set_model_version_tag(name, version, key, value)
        return version

    def champion(self, name: str) -> Champion | None:
        """None if there is none or no such model."""
        version = self.aliases(name).get(_CHAMPION)
        if version is None:
            return None
        with mlflow_errors(self._uri):
            tags = self._client.get_model_version(name, version).tags
            results = read_results(self._client, tags[_RESULTS]) if _RESULTS in tags else None
        return Champion(version, tags, results)

    def aliases(self, name: str) -> dict[str, str]:
        """The version of each alias; empty where there is no such model."""
        from mlflow.exceptions import MlflowException

        with mlflow_errors(self._uri):
            try:
                found = self._client.get_registered_model(name).aliases
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return {}
        return {alias: str(version) for alias, version in found.items()}

    def promote(self, name: str, version: str) -> None:
        """Give ``champion`` to a version; the one that had it becomes ``previous``. Raises ``UserError``."""
        aliases = self.aliases(name)
        old = aliases.get(_CHAMPION)
        with mlflow_errors(self._uri):
            if old != version:
                note = "the first champion: there was none to compare with" if old is None else f"follows version {old}"
                self._client.set_model_version_tag(name, version, _PROMOTED, note)  # fails first for an unknown version
                if old is not None:
                    self._client.set_registered_model_alias(name, _PREVIOUS, old)
                self._client.set_registered_model_alias(name, _CHAMPION, version)
            if aliases.get(_CHALLENGER) == version:  # also what a kill after the line above left
                self._client.delete_registered_model_alias(name, _CHALLENGER)

    def _ensure_model(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.create_registered_model(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise

    def _version_of(self, name: str, digest: str) -> str | None:
        versions = self._client.search_model_versions(f"name='{name}'")
        same = [int(found.version) for found in versions if found.tags.get(_DIGEST) == digest]
        return str(min(same)) if same else None

    def _upload(self, name: str, model_dir: Path, scores: Mapping[str, float], tags: Mapping[str, str]) -> Any:
        """MLflow's logged model, with the files: what a version is made from, and metrics are linked to."""
        from mlflow.entities import LoggedModelOutput

        run = self._client.get_run(self._run_id)
        logged = self._interrupted(run, tags[_DIGEST])
        if logged is None:
            experiment = run.info.experiment_id
            logged = self._client.create_logged_model(experiment, "model", source_run_id=self._run_id, tags=dict(tags))
        metadata = metadata_of(json.loads((model_dir / "model.json").read_text()))
        with tempfile.TemporaryDirectory() as folder:
            packed = Path(folder) / "model"
            save_pyfunc(model_dir, packed, metadata)
            (packed / _CARD).write_text(model_card(name, metadata, scores, tags))
            self._client.log_model_artifacts(logged.model_id, str(packed))
        linked = run.outputs.model_outputs if run.outputs else []
        if logged.model_id not in [each.model_id for each in linked]:
            self._client.log_outputs(self._run_id, [LoggedModelOutput(logged.model_id, step=0)])
        return self._client.finalize_logged_model(logged.model_id, "READY")

    def _interrupted(self, run: Any, digest: str) -> Any | None:
        """The logged model of an attempt that was killed before it made a version of it."""
        models = self._client.search_logged_models([run.info.experiment_id], f"source_run_id = '{self._run_id}'")
        return next((each for each in models if each.tags.get(_DIGEST) == digest), None)


def find_champion(name: str, uri: str) -> Champion | None:
    """A model's champion, if there is one."""
    check_reachable(uri)
    return MlflowRegistry(connect(uri), "", uri).champion(name)


def promote_version(uri: str, name: str, version: str = "") -> tuple[str, str | None]:
    """Make a version (default: the challenger) champion; returns it and the champion before. Raises ``UserError``."""
    return _promote(uri, name, version, _CHALLENGER, "give --version N")


def roll_back(uri: str, name: str) -> tuple[str, str | None]:
    """Make the previous champion champion again, as ``promote_version`` returns it: twice is back where it was."""
    return _promote(uri, name, "", _PREVIOUS, "nothing has been promoted over another champion yet")


def _promote(uri: str, name: str, version: str, alias: str, remedy: str) -> tuple[str, str | None]:
    check_reachable(uri)
    registry = MlflowRegistry(connect(uri), "", uri)
    aliases = registry.aliases(name)
    chosen = version or aliases.get(alias)
    if chosen is None:
        raise UserError(f"model {name} has no version with the alias {alias}: {remedy}")
    registry.promote(name, chosen)
    return chosen, aliases.get(_CHAMPION)


def folder_digest(folder: Path) -> str:
    """sha256 over the names and contents of all files of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return digest_of([[path.relative_to(folder).as_posix(), sha256_of(path)] for path in files])


def save_pyfunc(model_dir: Path, target: Path, metadata: Mapping[str, Any]) -> None:
    """The folder as an MLflow model that ``served_model`` serves, with our code: it needs no roomseg installed."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    given = Schema([ColSpec("binary", "volume", required=False), ColSpec("string", "room", required=False)])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow asks for an example of each optional column
        mlflow.pyfunc.save_model(
            str(target),
            loader_module="roomseg.runtime.tracking.served_model",
            data_path=str(model_dir),
            code_paths=[str(Path(roomseg.__file__).parent)],
            pip_requirements=[f"{name}=={installed.version(name)}" for name in _SERVING],
            signature=ModelSignature(inputs=given, outputs=Schema([ColSpec("binary", "labels")])),
            input_example=_example(),
            metadata=dict(metadata),
        )


def _example() -> Any:  # pandas.DataFrame
    """A request: a floor in a small volume."""
    import numpy as np
    import pandas as pd

    tsdf = np.full((16, 16, 16), 127, np.int8)
    tsdf[:, :, 5] = 0
    packed = io.BytesIO()
    np.savez_compressed(packed, tsdf=tsdf, rgb=np.full((*tsdf.shape, 3), 128, np.uint8))
    return pd.DataFrame({"volume": [packed.getvalue()]})
