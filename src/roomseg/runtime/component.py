"""What every KFP component calls: JSON and file paths in, ``run_stage``, a manifest and metrics out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from roomseg.config import parse_section
from roomseg.errors import UserError
from roomseg.runtime.manifest import Manifest
from roomseg.runtime.stage import run_stage


class MetricsPort(Protocol):
    """``kfp.dsl.Metrics``, as far as it is used here."""

    path: str

    def log_metric(self, metric: str, value: float) -> None: ...


def run_component(
    stage: str,
    config: str,
    store: str,
    tracking_uri: str,
    run_id: str,
    inputs: Mapping[str, str],
    output: str,
    metrics: MetricsPort,
) -> None:
    """Run a stage for KFP. ``config`` is its section as JSON; inputs and output are files that hold manifests.

    A ``UserError`` ends the process with one line and its exit code.
    """
    try:
        manifest = run_stage(
            stage,
            parse_section(stage, config),
            store=store,
            inputs={name: Manifest.from_json(Path(path).read_text(), path) for name, path in inputs.items()},
            run_id=run_id,
            tracking_uri=tracking_uri or None,
        )
    except UserError as error:
        print(f"roomseg {stage}: error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    _write(Path(output), manifest.to_json())
    _write(Path(metrics.path), "{}")  # KFP takes an output without a file for a missing one
    for name, value in manifest.scores.items():
        metrics.log_metric(name, value)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
