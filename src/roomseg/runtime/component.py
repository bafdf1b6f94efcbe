"""What the KFP components call: JSON and file paths in, ``run_stage``, a manifest and what the UI shows out."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from roomseg.config import RegisterConfig, parse_section, parse_shard
from roomseg.errors import UserError, out_of_memory, told_when_memory_runs_out
from roomseg.processes import share_cores
from roomseg.runtime.artifacts import StoreArtifactReader, cache_dir
from roomseg.runtime.manifest import Manifest, manifest_key
from roomseg.runtime.run_record import summarise_run
from roomseg.runtime.stage import run_shard, run_stage
from roomseg.runtime.storage import open_store
from roomseg.runtime.tracking import default_tracking_uri, find_champion

MAX_PAGE_BYTES = 20_000_000  # of a page that KFP's UI shows; it loads the whole page at once


class MetricsPort(Protocol):
    """``kfp.dsl.Metrics``, as far as it is used here."""

    path: str

    def log_metric(self, metric: str, value: float) -> None: ...


class ConfusionPort(Protocol):
    """``kfp.dsl.ClassificationMetrics``, as far as it is used here."""

    path: str

    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None: ...


def run_component(
    stage: str,
    config: str,
    store: str,
    tracking_uri: str,
    run_id: str,
    inputs: Mapping[str, str],
    output: str,
    metrics: MetricsPort,
) -> Manifest:
    """Run a stage for KFP. ``config`` is its section as JSON; inputs and output are files that hold manifests.

    A ``UserError`` ends the process with one line and its exit code.
    """
    with _process_of(stage):
        manifest = run_stage(
            stage,
            parse_section(stage, config),
            store=store,
            inputs={name: Manifest.from_json(Path(path).read_text(), path) for name, path in inputs.items()},
            run_id=run_id,
            tracking_uri=tracking_uri or None,
        )
    _write(Path(output), manifest.to_json())
    _write(Path(metrics.path), "{}")  # KFP takes an output without a file for a missing one
    for name, value in manifest.scores.items():
        if math.isfinite(value):  # JSON, so KFP, has no word for "not known"
            metrics.log_metric(name, value)
    return manifest


def run_part(stage: str, config: str, store: str, tracking_uri: str, run_id: str, shard: str, output: str) -> None:
    """Run the part ``I/N`` of a stage; ``output`` says only that it is done."""
    with _process_of(stage):
        run_shard(
            stage,
            parse_section(stage, config),
            store=store,
            inputs={},
            run_id=run_id,
            shard=parse_shard(shard),
            tracking_uri=tracking_uri or None,
        )
    _write(Path(output), shard)


def show_evaluation(manifest: Manifest, store: str, confusion: ConfusionPort, page: str) -> None:
    """What KFP's UI shows of an evaluation: the confusion matrix, and the report as a page."""
    with _process_of("evaluate"):
        opened = open_store(store)
        artifact = StoreArtifactReader(opened, manifest, cache_dir(opened))
        matrix = json.loads(artifact.path("confusion.json").read_text())
        report = artifact.path("report.html").read_bytes()
    _write(Path(confusion.path), "{}")
    confusion.log_confusion_matrix(matrix["classes"], matrix["voxels"])
    where = f"{opened.url}/{manifest_key(manifest.stage, manifest.fingerprint)}"
    elsewhere = f"<!doctype html><p>The report is too large to show here: report.html of {where}</p>"
    _write(Path(page), report.decode() if len(report) <= MAX_PAGE_BYTES else elsewhere)


def decide(config: str, store: str, tracking_uri: str, evaluation: str, output: str) -> str:
    """ "keep" if the evaluated student does not beat the champion, else "register"; Markdown into ``output``.

    ``config`` is the section of ``register``. Asked anew each time: the champion may be another one by now.
    """
    with _process_of("gate"):
        from roomseg.stages import room_results
        from roomseg.stages.gate import DISTILLED, judge

        section = parse_section("register", config)
        assert isinstance(section, RegisterConfig)
        evaluated = Manifest.from_json(Path(evaluation).read_text(), evaluation)
        opened = open_store(store)
        file = StoreArtifactReader(opened, evaluated, cache_dir(opened)).path(room_results.NAME)
        results = room_results.unpacked(file.read_bytes(), f"{room_results.NAME} of {evaluation}")
        champion = find_champion(section.model_name, tracking_uri or default_tracking_uri(store))
        verdict = judge(section, results, evaluated.parents[DISTILLED].digest, champion)
    print(f"register: {verdict.outcome}: {verdict.reason}")
    _write(Path(output), f"**{verdict.outcome}** {section.model_name}: {verdict.reason}\n")
    return "keep" if verdict.outcome == "keep" else "register"


def finish_run(store: str, run_id: str, state: str, error: str, output: str) -> None:
    """The summary of a run into the store, and as Markdown into ``output``; however the run ended."""
    with _process_of("finish"):
        _write(Path(output), summarise_run(open_store(store), run_id, state, error))


@contextmanager
def _process_of(stage: str) -> Iterator[None]:
    """The process is this stage's alone: it has all cores, and ends with one line if it fails."""
    share_cores()
    try:
        with told_when_memory_runs_out(out_of_memory):
            yield
    except UserError as error:
        print(f"roomseg {stage}: error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
