"""``run_stage``: the one way to start a stage, for KFP in the cluster and locally, the command line and the tests."""

from __future__ import annotations

import importlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import ModuleType

import roomseg
from roomseg.comparisons import KNOWN
from roomseg.config import Section
from roomseg.errors import UsageError, UserError
from roomseg.ports import ArtifactWriter, Checkpoints, ModelRegistry, Progress, StageContext, Tracker
from roomseg.runtime.artifacts import AttemptClock, StoreArtifactReader, StoreArtifactWriter, cache_dir
from roomseg.runtime.cache import StoreCache
from roomseg.runtime.checkpoints import StoreCheckpoints
from roomseg.runtime.distributed import Bystander, TeamJob, run_team, team_size
from roomseg.runtime.fingerprint import code_digest, fingerprint
from roomseg.runtime.lease import Lease, leased
from roomseg.runtime.manifest import Manifest, Origin, manifest_key, read_manifest
from roomseg.runtime.outside import fetch_outside, outside_digests
from roomseg.runtime.progress import LineProgress, open_progress
from roomseg.runtime.run_record import note_stage
from roomseg.runtime.storage import Store, open_store
from roomseg.runtime.tracking import Journal, MlflowRegistry, StageRun, default_tracking_uri, open_tracking
from roomseg.runtime.train_job import TRAIN_JOB, run_train_job, train_job


@dataclass(frozen=True)
class StageSpec:
    """``roomseg.stages.<name>`` has ``run(config, ctx) -> scores`` for each name in ``STAGES``."""

    inputs: Mapping[str, str] = field(default_factory=dict)  # name of an input -> the stage that makes it
    optional: Mapping[str, str] = field(default_factory=dict)  # the same, for inputs that may be left out
    reads_outside: bool = False  # the module has external_digests(config): what counts besides the inputs
    sharded: bool = False  # run() knows ctx.shard


STAGES: dict[str, StageSpec] = {
    "render": StageSpec(reads_outside=True, sharded=True),
    "teacher": StageSpec({"rooms": "render"}),
    "pretrain": StageSpec({"rooms": "render"}),
    "distill": StageSpec({"rooms": "render", "teacher": "teacher", "pretrained": "pretrain"}),
    "evaluate": StageSpec(
        {"rooms": "render", "teacher": "teacher", "pretrained": "pretrain", "distilled": "distill"},
        optional={each.port: each.stage for each in KNOWN},
    ),
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

    Of several processes that are given the same work, one does it and the others wait for what it makes. ``run_id``
    names the pipeline run in MLflow. Raises ``UserError``.
    """
    job = _open_job(stage, section, store, inputs, shard=None)
    manifest = _completed(job)
    if manifest is None and TRAIN_JOB in os.environ:
        manifest = _run_on_nodes(job, run_id, tracking_uri)
    elif manifest is None and (size := team_size(section, job.say)) > 1:
        texts = {name: manifest.to_json() for name, manifest in inputs.items()}
        manifest = _run_in_team(
            job, TeamJob(stage, section.model_dump_json(), store, texts, run_id, tracking_uri), size
        )
    elif manifest is None:
        manifest = _run_alone(job, _tracking_uri(tracking_uri, store), run_id)
    assert manifest is not None, f"{stage} returned no scores"
    note_stage(job.store, run_id, manifest)
    _send_what_is_left(job, [*inputs.values(), manifest], tracking_uri, run_id)
    return manifest


def assist_stage(stage: str, section: Section, *, store: str, inputs: Mapping[str, Manifest], rank: int) -> None:
    """Take part in the training of a stage that the first process of the team runs; nothing is written."""
    job = replace(_open_job(stage, section, store, inputs, shard=None), progress=LineProgress(None), rank=rank)
    checkpoints = StoreCheckpoints(job.store, stage, job.origin.fingerprint, job.work_dir, job.say)
    nothing = Bystander()
    _module(stage).run(section, _context(job, nothing, checkpoints, nothing, nothing))
    shutil.rmtree(job.work_dir, ignore_errors=True)


def run_shard(
    stage: str,
    section: Section,
    *,
    store: str,
    inputs: Mapping[str, Manifest],
    run_id: str,
    shard: tuple[int, int],  # (i, n), 1 <= i <= n
    tracking_uri: str | None = None,
) -> None:
    """Make the i-th of n parts of an artifact; shards may run at the same time, on several machines.

    ``run_stage`` makes what is missing and completes the artifact. Raises ``UserError``.
    """
    if not STAGES[stage].sharded:
        raise UsageError(f"{stage} runs as a whole; in shards runs {', '.join(s for s in STAGES if STAGES[s].sharded)}")
    job = _open_job(stage, section, store, inputs, shard)
    if _completed(job) is None:
        _run_alone(job, _tracking_uri(tracking_uri, store), run_id)


def _open_job(
    stage: str, section: Section, store: str, inputs: Mapping[str, Manifest], shard: tuple[int, int] | None
) -> _Job:
    _check_inputs(stage, inputs)
    opened = open_store(store)
    origin = Origin(
        stage=stage,
        fingerprint=stage_fingerprint(stage, section, inputs),
        code_version=f"{roomseg.__version__}+{code_digest(stage)[:12]}",
        config=section.model_dump(mode="json"),
        parents={name: manifest.as_parent() for name, manifest in inputs.items()},
    )
    return _Job(section, origin, opened, inputs, open_progress(), shard)


def read_inputs(stage: str, fingerprints: Mapping[str, str], store: str) -> dict[str, Manifest]:
    """The complete artifacts of these names and fingerprints; raises ``UserError``."""
    makers, opened = {**STAGES[stage].inputs, **STAGES[stage].optional}, open_store(store)
    found = {name: read_manifest(opened, makers[name], mark) for name, mark in fingerprints.items()}
    missing = [name for name, manifest in found.items() if manifest is None]
    if missing:
        raise UserError(f"{stage}: the input {missing[0]} is not in {opened.url}; run the stage that makes it again")
    return {name: manifest for name, manifest in found.items() if manifest is not None}


def _completed(job: _Job) -> Manifest | None:
    manifest = read_manifest(job.store, job.origin.stage, job.origin.fingerprint)
    if manifest is not None:
        job.say(f"already complete (fingerprint {manifest.fingerprint})")
    return manifest


def _tracking_uri(chosen: str | None, store: str) -> str:
    return chosen or os.environ.get("MLFLOW_TRACKING_URI") or default_tracking_uri(store)


def stage_fingerprint(stage: str, section: Section, inputs: Mapping[str, Manifest]) -> str:
    external = _module(stage).external_digests(section) if STAGES[stage].reads_outside else {}
    external = {**external, **outside_digests(stage, section)}
    return fingerprint(stage, section, {name: manifest.digest for name, manifest in inputs.items()}, external)


@dataclass(frozen=True)
class _Job:
    section: Section
    origin: Origin
    store: Store
    inputs: Mapping[str, Manifest]
    progress: Progress
    shard: tuple[int, int] | None
    rank: int = 0  # in the team of processes that train together

    @property
    def _part(self) -> str:
        return "-{}-of-{}".format(*self.shard) if self.shard else ""

    @property
    def work_dir(self) -> Path:
        """Of its own for each shard and each process of a team: each removes its own when it is done."""
        name = self.origin.fingerprint + self._part + (f"-rank-{self.rank}" if self.rank else "")
        return cache_dir(self.store) / "work" / self.origin.stage / name

    @property
    def lease_key(self) -> str:
        return f"{self.origin.folder}/lease{self._part}.json"

    @property
    def is_complete(self) -> bool:
        return self.store.exists(manifest_key(self.origin.stage, self.origin.fingerprint))

    def say(self, text: str) -> None:
        self.progress.say(f"{self.origin.stage}: {text}")


def _run_in_team(job: _Job, team_job: TeamJob, size: int) -> Manifest | None:
    """A team whose first process found another one at the same work ends with an error, but the work is done."""
    try:
        run_team(team_job, size)
    except UserError:
        if not job.is_complete:
            raise
    return read_manifest(job.store, job.origin.stage, job.origin.fingerprint)


def _run_on_nodes(job: _Job, run_id: str, tracking_uri: str | None) -> Manifest | None:
    """The nodes read the inputs' manifests from the store: they would be too long for an environment variable."""
    origin = job.origin
    marks = {name: manifest.fingerprint for name, manifest in job.inputs.items()}
    team_job = TeamJob(origin.stage, job.section.model_dump_json(), job.store.url, marks, run_id, tracking_uri)
    spec = json.loads(os.environ[TRAIN_JOB])
    run_train_job(train_job(origin.stage, origin.fingerprint, spec, json.dumps(asdict(team_job))), job.say)
    return read_manifest(job.store, origin.stage, origin.fingerprint)


def _run_alone(job: _Job, uri: str, run_id: str) -> Manifest | None:
    """Run as the only process that does, or wait for the one that does; None for a shard."""
    with leased(job.store, job.lease_key, lambda: job.is_complete, job.say) as lease:
        if lease is None or job.is_complete:
            return _completed(job)
        return _run(job, uri, run_id, lease)


def _run(job: _Job, uri: str, run_id: str, lease: Lease) -> Manifest | None:
    """One attempt, timed and tracked; None for a shard, else what it made is complete when this returns."""
    origin, store = job.origin, job.store
    clock = AttemptClock(store, origin.folder)
    try:
        with _tracked(job, origin, uri, run_id) as run:
            writer = StoreArtifactWriter(store, origin, clock, cache_dir(store), lease.check)

            def before_a_checkpoint() -> None:
                lease.check()
                run.keep()  # of the steps before it: the next attempt does not take them again
                clock.beat()

            checkpoints = StoreCheckpoints(
                store, origin.stage, origin.fingerprint, job.work_dir, job.say, before_a_checkpoint
            )
            context = _context(job, writer, checkpoints, run, MlflowRegistry(run.client, run.run_id, uri))
            scores = _module(origin.stage).run(job.section, context)
            manifest = None
            if scores is not None:
                run.keep_open()
                manifest = writer.finish(scores)
                _conclude(run, manifest, store)
    finally:
        clock.beat(at_once=True)
    if manifest is not None:
        checkpoints.clear()
    shutil.rmtree(job.work_dir, ignore_errors=True)
    return manifest


def _tracked(job: _Job, origin: Origin, uri: str, run_id: str) -> StageRun:
    tags = {"roomseg.code_version": origin.code_version, "roomseg.store": job.store.url}
    journal = Journal(job.store, origin.folder)
    return open_tracking(uri, run_id, origin.stage, origin.fingerprint, origin.config, tags, job.say, journal)


def _conclude(run: StageRun, manifest: Manifest, store: Store) -> None:
    where = f"{store.url}/{manifest_key(manifest.stage, manifest.fingerprint)}"
    run.conclude(manifest.scores, {"roomseg.manifest": where, "roomseg.digest": manifest.digest})


def _send_what_is_left(job: _Job, manifests: Iterable[Manifest], uri: str | None, run_id: str) -> None:
    """The figures and ends of complete stages that were killed before they had told MLflow, or found it away."""
    for manifest in manifests:
        journal = Journal(job.store, manifest.folder)
        if journal.is_empty():
            continue
        with leased(job.store, f"{manifest.folder}/lease.json", lambda: True, job.say) as lease:
            if lease is not None and not journal.is_empty():  # else whoever made it is telling MLflow just now
                with _tracked(job, manifest, _tracking_uri(uri, job.store.url), run_id) as run:
                    _conclude(run, manifest, job.store)


def _context(
    job: _Job, writer: ArtifactWriter, checkpoints: Checkpoints, tracker: Tracker, registry: ModelRegistry
) -> StageContext:
    _make_work_dir(job.work_dir)
    cache = cache_dir(job.store)
    return StageContext(
        inputs={name: StoreArtifactReader(job.store, manifest, cache) for name, manifest in job.inputs.items()},
        outputs=writer,
        checkpoints=checkpoints,
        cache=StoreCache(job.store, cache, job.say),
        tracker=tracker,
        progress=job.progress,
        registry=registry,
        work_dir=job.work_dir,
        fetch=lambda uri: fetch_outside(uri, cache, job.work_dir),
        shard=job.shard,
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
    wanted, optional = STAGES[stage].inputs, STAGES[stage].optional
    if not set(wanted) <= set(inputs) <= set(wanted) | set(optional):
        raise UserError(f"{stage}: got the inputs {sorted(inputs)}, expected {sorted(wanted)}")
    for name, manifest in inputs.items():
        maker = wanted.get(name) or optional[name]
        if manifest.stage != maker:
            raise UserError(f"{stage}: input {name!r} is the artifact of {manifest.stage}, expected {maker}'s")
