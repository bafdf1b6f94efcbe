"""``--model``: a file or folder, a version of the registry, or the newest network of a store."""

from __future__ import annotations

import tempfile
from pathlib import Path

from roomseg.comparisons import title_of
from roomseg.errors import UsageError, UserError
from roomseg.runtime.artifacts import StoreArtifactReader, cache_dir
from roomseg.runtime.manifest import Manifest, complete_manifests
from roomseg.runtime.storage import Store, open_store
from roomseg.runtime.tracking import default_tracking_uri, download_model, has_registry
from roomseg.stages.networks import load_network, read_card
from roomseg.stages.predicting.models import LoadedModel, load_model

REGISTRY = "models:/"
CHAMPION = "models:/roomseg@champion"
STAGES = ("distill", "pretrain")  # whose artifacts hold a 3D network, the better one first
NO_MODEL = (
    "no model is trained yet: {where} has none. `python pipeline.py --local --profile demo` trains a small one in "
    "minutes with --store {store}, or give a published checkpoint: --model 3DSeg-T.pth"
)


def open_model(spec: str, store: str, tracking_uri: str) -> LoadedModel:
    """``spec`` is a path, ``models:/NAME@ALIAS``, ``models:/NAME/VERSION``, ``distill`` or ``pretrain``.

    Empty: the champion, else the newest distilled or pretrained network of the store. Raises ``UserError``.
    """
    if spec.startswith(REGISTRY):
        return _registered(spec, store, tracking_uri)
    if spec in STAGES:
        found = _newest(open_store(store), spec)
        if found is None:
            raise UserError(NO_MODEL.format(where=f"stage {spec} of {store}", store=store))
        return _of_artifact(open_store(store), found)
    if spec:
        return load_model(Path(spec).expanduser())
    return _default(store, tracking_uri)


def _default(store: str, tracking_uri: str) -> LoadedModel:
    if tracking_uri or not store.startswith("s3://"):
        uri = tracking_uri or default_tracking_uri(store)
        if has_registry(uri) and (registered := _champion(uri)) is not None:
            return registered
    opened = open_store(store)
    for stage in STAGES:
        manifest = _newest(opened, stage)
        if manifest is not None:
            return _of_artifact(opened, manifest)
    raise UserError(NO_MODEL.format(where=store, store=store))


def _champion(uri: str) -> LoadedModel | None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = download_model(CHAMPION, uri, Path(scratch), missing_ok=True)
        return None if folder is None else _renamed(load_model(folder), CHAMPION)


def _registered(spec: str, store: str, tracking_uri: str) -> LoadedModel:
    if not tracking_uri and store.startswith("s3://"):
        raise UsageError(f"--model {spec}: of which MLflow server? give --tracking-uri or set MLFLOW_TRACKING_URI")
    uri = tracking_uri or default_tracking_uri(store)
    if not has_registry(uri):
        raise UserError(NO_MODEL.format(where=uri, store=store))
    with tempfile.TemporaryDirectory() as scratch:
        folder = download_model(spec, uri, Path(scratch))
        assert folder is not None
        return _renamed(load_model(folder), spec)


def _renamed(model: LoadedModel, where: str) -> LoadedModel:
    return LoadedModel(model.card, model.network, where)


def _newest(store: Store, stage: str) -> Manifest | None:
    """A baseline or an ablation, made to be compared with, only where there is nothing else."""
    found = complete_manifests(store, stage)
    return max(found, key=lambda each: (not title_of(stage, each.config), each.created), default=None)


def _of_artifact(store: Store, manifest: Manifest) -> LoadedModel:
    artifact = StoreArtifactReader(store, manifest, cache_dir(store))
    where = f"{manifest.stage} {manifest.fingerprint[:12]} of {store.url}"
    return LoadedModel(read_card(artifact), load_network(artifact).requires_grad_(False), where)
