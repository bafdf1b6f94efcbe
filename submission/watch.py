"""Follow a run on a KFP server until it ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from roomseg.errors import UserError
from submission.client import Kfp

ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")


def watch(kfp: Kfp, run_id: str, say: Callable[[str], None], every_s: float = 15.0) -> None:
    """Say each change of a task's state; returns when the run has succeeded, raises ``UserError`` if it did not."""
    states: dict[str, str] = {}
    while True:
        try:
            run = kfp.run(run_id)
        except UserError as error:
            raise UserError(f"{error} (run {run_id} goes on without us)") from None
        for task in _tasks(run):
            if task.state and states.get(task.task_id) != task.state:
                states[task.task_id] = task.state
                say(f"{task.display_name}: {task.state.lower()}{_why(task.error)}")
        if run.state in ENDED:
            if run.state == "SUCCEEDED":
                return
            raise UserError(f"run {run_id} ended as {run.state.lower()}{_why(run.error)}")
        time.sleep(every_s)


def _tasks(run: Any) -> list[Any]:
    """Those of the pipeline, without KFP's own drivers and groups."""
    details = run.run_details.task_details if run.run_details else None
    return [t for t in details or [] if t.display_name and not t.display_name.endswith("-driver")]


def _why(error: Any) -> str:
    return f" ({' '.join(error.message.split())})" if error is not None and error.message else ""
