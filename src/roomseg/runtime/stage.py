"""``run_stage``: the one way to start a stage, for KFP in the cluster and locally, the command line and the tests."""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import roomseg
from roomseg.config import PipelineConfig, Section
from roomseg.errors import UserError
from roomseg.ports import Progress, StageContext
from roomseg.runtime.artifacts import AttemptClock, StoreArtifactReader, StoreArtifactWriter, cache_dir
from roomseg.runtime.checkpoints import StoreCheckpoints
from roomseg.runtime.fingerprint import code_digest, fingerprint
from roomseg.runtime.manifest import Manifest, Origin, manifest_key, read_manifest
from roomseg.runtime.progress import open_progress
from roomseg.runtime.storage import Store, open_store
from roomseg.runtime.tracking import MlflowRegistry, StageRun, default_tracking_uri, open_tracking


@dataclass(frozen=True)
class StageSpec:
    """``roomseg.stages.<name>`` has ``run(config, ctx) -> scores`` for each name in ``STAGES``."""

    inputs: Mapping[str, str] = field(default_factory=dict)  # name of an input -> the stage that makes it
    reads_outside: bool = False  # the module has external_digests(config): what counts besides the inputs


STAGES: dict[str, StageSpec] = {
    "render": StageSpec(reads_outside=True),
    "teacher": StageSpec({"rooms": "render"}),
    "pretrain": StageSpec({"rooms": "render"}),
    "distill": StageSpec({"rooms": "render", "teacher": "teacher", "pretrained": "pretrain"}),
    "evaluate": StageSpec({"rooms": "render", "teacher": "teacher", "pretrained": "pretrain", "distilled": "distill"}),
    "register": StageSpec({"distilled": "distill", "evaluation": "evaluate"}),
}


def run_stage(
    stage: str,
    section: Section,
    *,
    store: str,
    inputs: Mapping[str, Manifest],
    run_id: str,
    tracking_uri: str | None = None,
) -> Manifest:
    """The complete artifact of a stage: at once if it is there, else from where an earlier attempt stopped.

    ``run_id`` names the pipeline run in MLflow. Raises ``UserError``.
    """
    _check_inputs(stage, inputs)
    opened, progress = open_store(store), open_progress()
    mark = stage_fingerprint(stage, section, inputs)
    complete = read_manifest(opened, stage, mark)
    if complete is not None:
        progress.say(f"{stage}: already complete (fingerprint {mark})")
        return complete
    origin = Origin(
        stage=stage,
        fingerprint=mark,
        code_version=f"{roomseg.__version__}+{code_digest(stage)[:12]}",
        config=section.model_dump(mode="json"),
        parents={name: manifest.as_parent() for name, manifest in inputs.items()},
    )
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or default_tracking_uri(store)
    return _run(_Job(section, origin, opened, inputs, progress), uri, run_id)


def stage_fingerprint(stage: str, section: Section, inputs: Mapping[str, Manifest]) -> str:
    external = _module(stage).external_digests(section) if STAGES[stage].reads_outside else {}
    return fingerprint(stage, section, {name: manifest.digest for name, manifest in inputs.items()}, external)


def find_inputs(stage: str, config: PipelineConfig, store: str) -> dict[str, Manifest]:
    """The complete artifacts that a stage of this configuration reads; raises ``UserError`` naming what to run."""
    found = find_artifacts(STAGES[stage].inputs.values(), config, store)
    return {name: found[parent] for name, parent in STAGES[stage].inputs.items()}


def find_artifacts(stages: Iterable[str], config: PipelineConfig, store: str) -> dict[str, Manifest]:
    """The complete artifacts of these stages and of all before them; raises ``UserError`` naming what to run."""
    opened = open_store(store)
    found: dict[str, Manifest] = {}
    for stage in stages:
        _find(stage, config, opened, found)
    return found


def _find(stage: str, config: PipelineConfig, store: Store, found: dict[str, Manifest]) -> Manifest:
    """``found`` keeps what is known already: a stage is the parent of several."""
    if stage not in found:
        inputs = {name: _find(parent, config, store, found) for name, parent in STAGES[stage].inputs.items()}
        mark = stage_fingerprint(stage, config.section(stage), inputs)
        manifest = read_manifest(store, stage, mark)
        if manifest is None:
            raise UserError(
                f"{store.url}/{manifest_key(stage, mark)} is not there: "
                f"run `roomseg {stage}` first, with the same profile, settings and store"
            )
        found[stage] = manifest
    return found[stage]


@dataclass(frozen=True)
class _Job:
    section: Section
    origin: Origin
    store: Store
    inputs: Mapping[str, Manifest]
    progress: Progress

    @property
    def work_dir(self) -> Path:
        return cache_dir(self.store) / "work" / self.origin.stage / self.origin.fingerprint

    def say(self, text: str) -> None:
        self.progress.say(f"{self.origin.stage}: {text}")


def _run(job: _Job, uri: str, run_id: str) -> Manifest:
    """One attempt, timed and tracked; what it made is complete when this returns."""
    origin, store = job.origin, job.store
    clock = AttemptClock(store, origin.folder)
    tags = {"roomseg.code_version": origin.code_version, "roomseg.store": store.url}
    try:
        with open_tracking(uri, run_id, origin.stage, origin.fingerprint, origin.config, tags, job.say) as run:
            writer = StoreArtifactWriter(store, origin, clock, cache_dir(store))
            checkpoints = StoreCheckpoints(store, origin.stage, origin.fingerprint, job.work_dir, job.say)
            context = _context(job, writer, checkpoints, run, MlflowRegistry(run.client, run.run_id, uri))
            scores = _module(origin.stage).run(job.section, context)
            manifest = writer.finish(scores)
            where = f"{store.url}/{manifest_key(origin.stage, origin.fingerprint)}"
            run.conclude(manifest.scores, {"roomseg.manifest": where, "roomseg.digest": manifest.digest})
    finally:
        clock.beat(at_once=True)
    checkpoints.clear()
    shutil.rmtree(job.work_dir, ignore_errors=True)
    return manifest


def _context(
    job: _Job, writer: StoreArtifactWriter, checkpoints: StoreCheckpoints, run: StageRun, registry: MlflowRegistry
) -> StageContext:
    _make_work_dir(job.work_dir)
    cache = cache_dir(job.store)
    return StageContext(
        inputs={name: StoreArtifactReader(job.store, manifest, cache) for name, manifest in job.inputs.items()},
        outputs=writer,
        checkpoints=checkpoints,
        tracker=run,
        progress=job.progress,
        registry=registry,
        work_dir=job.work_dir,
    )


def _make_work_dir(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the scratch folder {path} ({error.strerror}): set ROOMSEG_CACHE_DIR") from error


def _module(stage: str) -> ModuleType:
    """Imported when the stage runs only: a complete stage costs no torch, and ``render`` never does."""
    return importlib.import_module(f"roomseg.stages.{stage}")


def _check_inputs(stage: str, inputs: Mapping[str, Manifest]) -> None:
    wanted = STAGES[stage].inputs
    if set(inputs) != set(wanted):
        raise UserError(f"{stage}: got the inputs {sorted(inputs)}, expected {sorted(wanted)}")
    for name, manifest in inputs.items():
        if manifest.stage != wanted[name]:
            raise UserError(f"{stage}: input {name!r} is the artifact of {manifest.stage}, expected {wanted[name]}'s")
