"""What a pipeline run came to: a note for each stage that ended well, and a summary of them when the run is over."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from roomseg.comparisons import title_of
from roomseg.runtime.manifest import Manifest, manifest_key
from roomseg.runtime.storage import Store

SHOWN = ("miou", "miou_published", "accuracy", "champion")  # a score whose name ends so is in the table


def note_stage(store: Store, run_id: str, manifest: Manifest) -> None:
    """``runs/RUN/STAGE-FINGERPRINT.json``: written again, with the same content, by each attempt."""
    note = {
        "stage": manifest.stage,
        "compared": title_of(manifest.stage, manifest.config),
        "manifest": manifest_key(manifest.stage, manifest.fingerprint),
        "digest": manifest.digest,
        "created": manifest.created,
        "seconds": manifest.seconds,
        "attempts": manifest.attempts,
        "scores": json.loads(manifest.to_json())["scores"],
    }
    key = f"{_folder(run_id)}/stages/{manifest.stage}-{manifest.fingerprint}.json"
    store.put_bytes(key, json.dumps(note, sort_keys=True).encode())


def summarise_run(store: Store, run_id: str, state: str, error: str) -> str:
    """Write ``runs/RUN/summary.json``; returns the same as Markdown. ``state`` and ``error`` are KFP's."""
    notes = [json.loads(store.get_bytes(key)) for key in store.list(f"{_folder(run_id)}/stages/")]
    notes.sort(key=lambda note: (note["stage"], note["manifest"]))
    summary = {"run": run_id, "state": state, "error": error, "stages": notes}
    store.put_bytes(f"{_folder(run_id)}/summary.json", json.dumps(summary, indent=1, sort_keys=True).encode())
    return _markdown(summary, store.url)


def shown_stage(note: dict[str, Any]) -> str:
    """Of several trainings by one stage, which this was."""
    return f"{note['stage']} ({note['compared']})" if note.get("compared") else note["stage"]


def _folder(run_id: str) -> str:
    return f"runs/{quote(run_id, safe='')}"


def _markdown(summary: dict[str, Any], store_url: str) -> str:
    lines = [f"# Run {summary['run']}: {summary['state']}", ""]
    if summary["error"]:
        lines += [f"    {line}" for line in summary["error"].splitlines()] + [""]
    if not summary["stages"]:
        return "\n".join([*lines, "No stage ended well.", ""])
    lines += ["| stage | seconds | attempts | scores | manifest |", "|---|---:|---:|---|---|"]
    for note in summary["stages"]:
        scores = ", ".join(f"{k} {v:.3f}" for k, v in note["scores"].items() if v is not None and k.endswith(SHOWN))
        where = f"`{store_url}/{note['manifest']}`"
        lines.append(f"| {shown_stage(note)} | {note['seconds']:.0f} | {note['attempts']} | {scores} | {where} |")
    return "\n".join([*lines, ""])
