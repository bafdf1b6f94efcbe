"""A training stage on several nodes: a TrainJob of Kubeflow Trainer v2, made and watched by the stage's own pod.

Its name follows from the stage and its fingerprint, so the next attempt of the pod finds the job of the one before.
The nodes run ``team_member`` under ``torchrun``, whose addresses and ranks the torch runtime gives them (``PET_*``).
API: trainer.kubeflow.org/v1alpha1, Kubeflow Trainer 2.2 and later (``runtimePatches``).
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from roomseg.errors import UserError

TRAIN_JOB = "ROOMSEG_TRAIN_JOB"  # in the environment: the job's ``spec`` that the cluster's file makes, as JSON
TEAM_JOB = "ROOMSEG_TEAM_JOB"  # in that of the nodes: a ``TeamJob`` as JSON
GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
EVERY_S = 15.0  # between two looks at the job
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def train_job(stage: str, fingerprint: str, spec: Mapping[str, Any], team_job: str) -> dict[str, Any]:
    """The manifest; ``team_job`` is what the nodes are told to do."""
    trainer = {**spec["trainer"], "env": [*spec["trainer"]["env"], {"name": TEAM_JOB, "value": team_job}]}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "TrainJob",
        "metadata": {
            "name": f"roomseg-{stage}-{fingerprint}",
            "labels": {"app.kubernetes.io/name": "roomseg", "app.kubernetes.io/component": stage},
        },
        "spec": {**spec, "trainer": trainer},
    }


def run_train_job(manifest: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Run it until it is complete, from within the cluster; raises ``UserError`` with why it failed."""
    from kubernetes import client, config
    from kubernetes.config.config_exception import ConfigException

    try:
        config.load_incluster_config()
        namespace = _NAMESPACE.read_text().strip()
    except (ConfigException, OSError) as error:
        raise UserError(f"{TRAIN_JOB} is set, but this is no pod of a cluster ({error}); unset it") from None
    TrainJobs(client.ApiClient(), namespace, say).run(manifest)


class TrainJobs:
    """The TrainJobs of a namespace."""

    def __init__(self, api: Any, namespace: str, say: Callable[[str], None], every_s: float = EVERY_S) -> None:
        from kubernetes import client

        self._custom = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)
        self._namespace, self._say, self._every_s = namespace, say, every_s

    def run(self, manifest: Mapping[str, Any]) -> None:
        """Make the job or adopt that of an earlier attempt, follow it to its end, and delete it, also on SIGTERM."""
        name = manifest["metadata"]["name"]
        with _sigterm_unwinds(), self._errors(name):
            try:
                self._make_or_adopt(name, manifest)
                self._follow(name)
            finally:
                self._delete(name)

    def _make_or_adopt(self, name: str, manifest: Mapping[str, Any]) -> None:
        found = self._get(name)
        if found is not None and not _ended(found) and "deletionTimestamp" not in found["metadata"]:
            self._say(f"TrainJob {name} of an earlier attempt goes on")
            return
        if found is not None:
            self._delete(name)
            while self._get(name) is not None:
                time.sleep(self._every_s)
        self._custom.create_namespaced_custom_object(GROUP, VERSION, self._namespace, PLURAL, manifest)
        self._say(f"TrainJob {name} is made")

    def _follow(self, name: str) -> None:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        while True:
            try:
                job = self._get(name)
            except (ApiException, HTTPError) as error:
                if isinstance(error, ApiException) and error.status < 500:
                    raise
                self._say(f"the cluster does not tell of TrainJob {name} ({error.__class__.__name__}); asking again")
            else:
                if job is None:
                    raise UserError(f"TrainJob {name} was deleted by someone else; the same command goes on")
                ended = _ended(job)
                if ended is not None and ended["type"] == "Complete":
                    return
                if ended is not None:
                    reason = self._why(name) or ended.get("message") or ended.get("reason") or "no reason is given"
                    raise UserError(f"TrainJob {name} failed: {reason}; the same command goes on")
            time.sleep(self._every_s)

    def _why(self, name: str) -> str:
        """What the first pod that failed says of its end."""
        pods = self._core.list_namespaced_pod(
            self._namespace, label_selector=f"jobset.sigs.k8s.io/jobset-name={name}"
        ).items
        ends = [
            (status.state.terminated.finished_at, pod.metadata.name, status.state.terminated)
            for pod in pods
            for status in pod.status.container_statuses or []
            if status.state.terminated is not None and status.state.terminated.exit_code != 0
        ]
        if not ends:
            return ""
        _, pod, end = min(ends, key=lambda each: (str(each[0]), each[1]))
        said = " ".join((end.message or "").split())[-300:]
        return f"pod {pod} ended with exit code {end.exit_code} ({end.reason})" + (f": {said}" if said else "")

    def _get(self, name: str) -> dict[str, Any] | None:
        from kubernetes.client.exceptions import ApiException

        try:
            return self._custom.get_namespaced_custom_object(GROUP, VERSION, self._namespace, PLURAL, name)
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def _delete(self, name: str) -> None:
        from kubernetes.client.exceptions import ApiException

        try:
            self._custom.delete_namespaced_custom_object(GROUP, VERSION, self._namespace, PLURAL, name)
        except ApiException as error:
            if error.status != 404:
                raise

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ApiException as error:
            if error.status == 403 and "exceeded quota" in _message(error):
                raise UserError(
                    f"TrainJob {name}: the quota of namespace {self._namespace} is too small ({_message(error)}); "
                    "lower nodes, gpus, cpu or memory of the stage, or raise the quota; the same command goes on"
                ) from None
            if error.status == 403:
                raise UserError(
                    f"no right to TrainJobs in namespace {self._namespace}: install the chart with rbac.trainJobs=true"
                ) from None
            raise UserError(f"TrainJob {name}: the cluster answers {error.status} {_message(error)}") from None
        except HTTPError as error:
            raise UserError(f"TrainJob {name}: the cluster does not answer ({type(error).__name__})") from None


def _ended(job: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The condition that says so."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), None)


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return str(error.reason)


@contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """SIGTERM ends the process by an exception, so that what must be deleted is."""

    def unwind(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
