"""The MLflow run of a stage: found again on a retry, fed by a thread so that a training step never waits for it.

A server that is away, at the start or later, stops nothing: figures wait, are kept in the journal, and are sent when it
is back, at the end, by the next attempt or by the next stage.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from roomseg.errors import UserError, first_line, one_line
from roomseg.runtime.tracking.client import (
    Unreachable,
    check_reachable,
    connect,
    experiment_id,
    mlflow_errors,
    one_at_a_time,
)
from roomseg.runtime.tracking.journal import Figure, Journal

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
    journal: Journal,
) -> StageRun:
    """The stage's nested run, new or found again by its fingerprint.

    A server that does not answer is a warning, one that refuses a ``UserError``. ``MLFLOW_RUN_ID`` (KFP sets it when it
    tracks runs itself) names the parent instead of ``pipeline_run_id``.
    """

    def link(attempts: int) -> _Link:
        check_reachable(uri, attempts)
        return _link(uri, pipeline_run_id, stage, fingerprint, params, tags)

    try:
        return StageRun(link, link(attempts=3), journal, warn, uri)
    except Unreachable as error:
        warn(f"{error}; until then the figures are kept in the store")
        return StageRun(link, None, journal, warn, uri)


@dataclass(frozen=True)
class _Link:
    """To the runs of a stage on a server that has answered."""

    client: Any
    run_id: str
    experiment: str
    parent_id: str | None  # None where KFP ends the parent
    logged: Mapping[str, int]  # last step of each metric that is there


def _link(
    uri: str, pipeline_run_id: str, stage: str, fingerprint: str, params: Mapping[str, Any], tags: Mapping[str, str]
) -> _Link:
    with one_at_a_time(uri):
        client = connect(uri)
        with mlflow_errors(uri):
            parent, ours = _parent(client, uri, pipeline_run_id)
            wanted = {_FINGERPRINT: fingerprint, _PARENT: parent.info.run_id}
            run = _find_or_create(client, parent.info.experiment_id, stage, wanted)
            _describe(client, run, params, {**tags, "roomseg.stage": stage})
            for running in [run, parent] if ours else [run]:
                client.update_run(running.info.run_id, status="RUNNING")
            logged = {metric.key: metric.step for metric in run.data.to_proto().metrics}  # no histories: they are long
            return _Link(client, run.info.run_id, run.info.experiment_id, parent.info.run_id if ours else None, logged)


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
    """``ports.Tracker``; as a context manager it ends the run as FINISHED, FAILED or KILLED."""

    def __init__(
        self,
        link: Callable[[int], _Link],
        linked: _Link | None,
        journal: Journal,
        warn: Callable[[str], None],
        uri: str,
    ) -> None:
        self._journal, self._warn, self._uri = journal, warn, uri
        earlier = journal.read()
        self._kept = {figure.name: figure.step for figure in earlier}  # they come by step
        self._tags: dict[str, str] = {}
        self._sender = _Sender(link, linked, earlier)

    @property
    def client(self) -> Any:
        """Raises ``UserError`` as soon as it is used, if the server has not answered yet."""
        return _Nobody(self._uri) if self._sender.linked is None else self._sender.linked.client

    @property
    def run_id(self) -> str:
        return "" if self._sender.linked is None else self._sender.linked.run_id

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Steps that an earlier attempt has logged are passed over."""
        at_ms = time.time_ns() // 1_000_000
        for name, value in metrics.items():
            if step > self._kept.get(name, -1):
                self._sender.put(Figure(name, float(value), at_ms, step))

    def keep(self) -> None:
        """Make durable what has not been sent; for before a checkpoint, from which the next attempt logs on."""
        waiting = self._sender.waiting()
        if waiting:
            self._journal.keep(waiting)

    def keep_open(self) -> None:
        """Make durable that the run has not ended; for before the manifest, after which there is no next attempt."""
        self._journal.keep(self._sender.waiting())

    def conclude(self, scores: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """The stage's scores, as metrics named ``final/...``, and the tags that link its manifest."""
        self.log(0, {f"final/{name}": value for name, value in scores.items()})
        self._tags.update(tags)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = self._sender.close()
        status = "FINISHED" if kind is None else "FAILED" if issubclass(kind, Exception) else "KILLED"
        with _warned(self._warn, f"the run's end ({status}) was not recorded"):
            self._record_end(status)
            if not left:
                self._journal.clear()
                return
        self._journal.keep(left)
        if left:
            self._warn(f"MLflow does not take the figures: {len(left)} of them wait in the store for the next attempt")

    def _record_end(self, status: str) -> None:
        linked = self._sender.linked
        if linked is None:
            raise Unreachable("no answer")
        for name, value in self._tags.items():
            linked.client.set_tag(linked.run_id, name, value)
        linked.client.set_terminated(linked.run_id, status)
        if linked.parent_id is not None:
            _end_parent(linked, linked.parent_id)


class _Nobody:
    """Stands for the client of a server that does not answer."""

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def __getattr__(self, name: str) -> Any:
        raise UserError(f"MLflow at {self._uri} did not answer: start it and run the same command again")


def _end_parent(linked: _Link, parent_id: str) -> None:
    """The parent is what its stages are: running if one is, else failed if one is. A later stage wakes it again."""
    stages = linked.client.search_runs([linked.experiment], f"tags.`{_PARENT}` = '{parent_id}'")
    states = {run.info.status for run in stages}
    status = next((state for state in ("RUNNING", "FAILED", "KILLED") if state in states), "FINISHED")
    if status != "RUNNING":
        linked.client.set_terminated(parent_id, status)


@contextmanager
def _warned(warn: Callable[[str], None], what: str) -> Iterator[None]:
    """A failure of MLflow inside becomes a warning."""
    try:
        yield
    except Exception as error:
        warn(one_line(f"MLflow: {what}: {first_line(error)}"))


class _Sender:
    """Sends figures in batches from a thread of its own, which starts with the first figure."""

    def __init__(self, link: Callable[[int], _Link], linked: _Link | None, earlier: list[Figure]) -> None:
        self._link, self.linked = link, linked
        self._waiting: list[Figure] = []
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        for figure in earlier:
            self.put(figure)

    def put(self, figure: Figure) -> None:
        with self._lock:
            self._waiting.append(figure)
            full = len(self._waiting) >= _BATCH
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mlflow-sender", daemon=True)
            self._thread.start()
        if full and self.linked is not None:
            self._wake.set()

    def waiting(self) -> list[Figure]:
        with self._lock:
            return list(self._waiting)

    def close(self) -> list[Figure]:
        """Send what is left; returns what could not be sent."""
        self._closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        return self.waiting()

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
                if self.linked is None:
                    self.linked = self._link(1)
                logged = self.linked.logged
                metrics = [Metric(*figure) for figure in batch if figure.step > logged.get(figure.name, -1)]
                self.linked.client.log_batch(self.linked.run_id, metrics=metrics)
            except Exception:  # the server's failures are of many kinds, and none may stop the training
                return
            with self._lock:
                del self._waiting[: len(batch)]
