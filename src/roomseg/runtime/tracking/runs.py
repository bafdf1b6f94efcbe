"""The MLflow run of a stage: found again on a retry, fed by a thread so that a training step never waits for it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from roomseg.runtime.tracking.client import check_reachable, connect, experiment_id, mlflow_errors, one_at_a_time

_SEND_EVERY_S = 3.0
_BATCH = 500  # metrics a request; MLflow allows 1000
_PARAMS_BATCH = 100  # MLflow's limit
_RUN_ID, _FINGERPRINT, _PARENT = "roomseg.run_id", "roomseg.fingerprint", "mlflow.parentRunId"


def open_tracking(
    uri: str,
    pipeline_run_id: str,
    stage: str,
    fingerprint: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    warn: Callable[[str], None],
) -> StageRun:
    """The stage's nested run, new or found again by its fingerprint; raises ``UserError`` if MLflow is not there.

    ``MLFLOW_RUN_ID`` (KFP sets it when it tracks runs itself) names the parent instead of ``pipeline_run_id``.
    """
    check_reachable(uri)
    with one_at_a_time(uri):
        client = connect(uri)
        with mlflow_errors(uri):
            parent, ours = _parent(client, uri, pipeline_run_id)
            wanted = {_FINGERPRINT: fingerprint, _PARENT: parent.info.run_id}
            run = _find_or_create(client, parent.info.experiment_id, stage, wanted)
            _describe(client, run, params, {**tags, "roomseg.stage": stage})
            for running in [run, parent] if ours else [run]:
                client.update_run(running.info.run_id, status="RUNNING")
            return StageRun(client, run, parent.info.run_id if ours else None, warn)


def _parent(client: Any, uri: str, pipeline_run_id: str) -> tuple[Any, bool]:
    """The parent run, and whether it is ours (else KFP made it, and ends it)."""
    adopted = os.environ.get("MLFLOW_RUN_ID")
    if adopted:
        return client.get_run(adopted), False
    experiment = experiment_id(client, uri)
    return _find_or_create(client, experiment, pipeline_run_id, {_RUN_ID: pipeline_run_id}), True


def _find_or_create(client: Any, experiment: str, name: str, tags: Mapping[str, str]) -> Any:
    """The oldest run with these tags. If two processes made one at the same time, both end with the older one."""
    found = _oldest(client, experiment, tags)
    if found is not None:
        return found
    made = client.create_run(experiment, run_name=name, tags=dict(tags))
    oldest = _oldest(client, experiment, tags) or made
    if oldest.info.run_id != made.info.run_id:
        client.delete_run(made.info.run_id)
    return oldest


def _oldest(client: Any, experiment: str, tags: Mapping[str, str]) -> Any | None:
    wanted = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    order = ["attributes.start_time ASC", "attributes.run_id ASC"]
    return next(iter(client.search_runs([experiment], wanted, max_results=1, order_by=order)), None)


def _describe(client: Any, run: Any, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
    from mlflow.entities import Param, RunTag

    # A param is written once for ever in MLflow; a retry with other worker counts must not fail on it.
    flat = {name: value for name, value in flattened(params).items() if name not in run.data.params}
    new = [Param(name, value) for name, value in flat.items()]
    client.log_batch(run.info.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
    for start in range(0, len(new), _PARAMS_BATCH):
        client.log_batch(run.info.run_id, params=new[start : start + _PARAMS_BATCH])


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested names joined by dots; lists as JSON."""
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flattened(value, f"{prefix}{name}."))
        else:
            flat[prefix + name] = value if isinstance(value, str) else json.dumps(value)
    return flat


class StageRun:
    """``ports.Tracker``; as a context manager it ends the run as FINISHED, FAILED or KILLED.

    Once the run is open, a server that goes away costs figures and a warning, never the training.
    """

    def __init__(self, client: Any, run: Any, parent_id: str | None, warn: Callable[[str], None]) -> None:
        self.client, self.run_id = client, run.info.run_id
        self._experiment, self._parent_id, self._warn = run.info.experiment_id, parent_id, warn
        self._sender = _Sender(client, self.run_id)
        self._logged = {name: _last_step(client, self.run_id, name) for name in run.data.metrics}

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Steps that an earlier attempt has logged are passed over."""
        at_ms = time.time_ns() // 1_000_000
        for name, value in metrics.items():
            if step > self._logged.get(name, -1):
                self._sender.put((name, float(value), at_ms, step))

    def conclude(self, scores: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """The stage's scores, as metrics named ``final/...``, and the tags that link its manifest."""
        self.log(0, {f"final/{name}": value for name, value in scores.items()})
        with _warned(self._warn, "tags of the run were not recorded"):
            for name, value in tags.items():
                self.client.set_tag(self.run_id, name, value)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lost = self._sender.close()
        if lost:
            self._warn(f"MLflow does not take the figures: {lost} of them are lost")
        status = "FINISHED" if kind is None else "FAILED" if issubclass(kind, Exception) else "KILLED"
        with _warned(self._warn, f"the run's end ({status}) was not recorded"):
            self.client.set_terminated(self.run_id, status)
            if self._parent_id is not None:
                self._end_parent(self._parent_id)

    def _end_parent(self, parent_id: str) -> None:
        """The parent is what its stages are: running if one is, else failed if one is. A later stage wakes it again."""
        stages = self.client.search_runs([self._experiment], f"tags.`{_PARENT}` = '{parent_id}'")
        states = {run.info.status for run in stages}
        status = next((state for state in ("RUNNING", "FAILED", "KILLED") if state in states), "FINISHED")
        if status != "RUNNING":
            self.client.set_terminated(parent_id, status)


def _last_step(client: Any, run_id: str, name: str) -> int:
    return max((metric.step for metric in client.get_metric_history(run_id, name)), default=-1)


@contextmanager
def _warned(warn: Callable[[str], None], what: str) -> Iterator[None]:
    """A failure of MLflow inside becomes a warning."""
    try:
        yield
    except Exception as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        warn(f"MLflow: {what}: {reason}")


class _Sender:
    """Sends metrics in batches from a thread of its own, which starts with the first metric."""

    def __init__(self, client: Any, run_id: str) -> None:
        self._client, self._run_id = client, run_id
        self._waiting: list[tuple[str, float, int, int]] = []  # name, value, ms since 1970, step
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    def put(self, metric: tuple[str, float, int, int]) -> None:
        with self._lock:
            self._waiting.append(metric)
            full = len(self._waiting) >= _BATCH
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mlflow-sender", daemon=True)
            self._thread.start()
        if full:
            self._wake.set()

    def close(self) -> int:
        """Send what is left; returns how many metrics could not be sent."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        return len(self._waiting)

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(_SEND_EVERY_S)
            self._wake.clear()
            self._send_all()
        self._send_all()

    def _send_all(self) -> None:
        """Stops at the first failure: what is left waits for the next time."""
        from mlflow.entities import Metric

        while self._waiting:
            batch = self._waiting[:_BATCH]
            try:
                self._client.log_batch(self._run_id, metrics=[Metric(*metric) for metric in batch])
            except Exception:  # the server's failures are of many kinds, and none may stop the training
                return
            with self._lock:
                del self._waiting[: len(batch)]
