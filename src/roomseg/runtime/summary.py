"""The last screen of a pipeline run: the scores, and where things are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from roomseg.comparisons import Comparison, comparisons
from roomseg.config import PipelineConfig
from roomseg.errors import one_line
from roomseg.runtime.artifacts import StoreArtifactReader, cache_dir
from roomseg.runtime.finding import find_artifacts, find_complete
from roomseg.runtime.manifest import Manifest
from roomseg.runtime.reports import copy_report
from roomseg.runtime.stage import STAGES
from roomseg.runtime.storage import DirectoryStore, Store, open_store

FIRST_ROWS = (  # name, prefix of its scores
    ("2D teacher, on panoramas", "teacher_2d"),
    ("constant prediction", "constant"),
    ("untrained student", "untrained"),
)
LAST_ROWS = (
    ("student before distillation", "pretrained"),
    ("student after distillation", "distilled"),
)


def print_summary(config: PipelineConfig, store_url: str, tracking_uri: str) -> None:
    """Print the summary of a complete run; raises ``UserError`` if a stage's artifact is not there."""
    store = open_store(store_url)
    manifests = find_artifacts(tuple(stage for stage in STAGES if stage != "register"), config, store_url)
    registered = find_complete("register", config, store_url, manifests)
    console = Console()
    console.print("\nOn the test rooms, whose houses are in no other split:")
    console.print(scores_table(manifests["evaluate"].scores, comparisons(config)))
    done = {**manifests, **({"register": registered} if registered else {})}
    times = ", ".join(f"{stage} {manifest.seconds:.0f} s" for stage, manifest in done.items())
    console.print(f"times     {times}", soft_wrap=True)
    console.print(f"report    {_report(store, manifests['evaluate'])}", soft_wrap=True)
    for line in _model(store, registered):
        console.print(line, soft_wrap=True)
    console.print(f"MLflow    {_mlflow_command(store_url, tracking_uri)}", soft_wrap=True)


def _model(store: Store, registered: Manifest | None) -> list[str]:
    if registered is None:
        return ["model     not registered: the champion stays (the line `register: keep` above says why)"]
    told = json.loads(_fetched(store, registered, "registered.json").read_text())
    place = "@champion" if told["champion"] else " (the champion stays)"
    return [f"model     {told['name']} version {told['version']}{place}", f"gate      {told['reason']}"]


def scores_table(scores: Mapping[str, float], compared: Iterable[Comparison] = ()) -> Table:
    """A row a model; the teacher's is left out where the test rooms have no panoramas."""
    table = Table()
    table.add_column("model")
    table.add_column("miou", justify="right")
    table.add_column("miou_published", justify="right")
    rows = (*FIRST_ROWS, *((each.title, each.name) for each in compared), *LAST_ROWS)
    for name, prefix in (row for row in rows if f"{row[1]}_miou" in scores):
        table.add_row(name, f"{scores[f'{prefix}_miou']:.1%}", f"{scores[f'{prefix}_miou_published']:.1%}")
    return table


def _report(store: Store, evaluation: Manifest) -> Path:
    """The report under a name that one can find again."""
    folder = store.root if isinstance(store, DirectoryStore) else cache_dir(store)
    return copy_report(store, evaluation, folder / "reports" / evaluation.fingerprint)


def _fetched(store: Store, manifest: Manifest, name: str) -> Path:
    return StoreArtifactReader(store, manifest, cache_dir(store)).path(name)


def _mlflow_command(store_url: str, tracking_uri: str) -> str:
    return f"open {one_line(tracking_uri)}" if tracking_uri else f"roomseg ui --store {store_url}"
