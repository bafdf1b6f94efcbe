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
from typing import Any, TypeVar

from roomseg.errors import UserError

TRAIN_JOB = "ROOMSEG_TRAIN_JOB"  # in the environment: the job's ``spec`` that the cluster's file makes, as JSON
TEAM_JOB = "ROOMSEG_TEAM_JOB"  # in that of the nodes: a ``TeamJob`` as JSON
GROUP, VERSION, PLURAL = "trainer.kubeflow.org", "v1alpha1", "trainjobs"
JOBSET_NAME = "jobset.sigs.k8s.io/jobset-name"  # label of the nodes' pods; its value is the TrainJob's name
EVERY_S = 15.0  # between two looks at the job
T = TypeVar("T")
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
        """Make the job or adopt one that runs, follow it to its end, and delete it; also if this process is to stop.

        A cluster that does not answer is no reason to delete what works: it is asked until it does.
        """
        name = manifest["metadata"]["name"]
        with _sigterm_unwinds(), self._errors(name):
            try:
                self._make_or_adopt(name, manifest)
                failure = self._follow(name)
            except (SystemExit, KeyboardInterrupt):
                self._cancel(name)
                raise
            self._patiently(lambda: self._delete(name))
        if failure is not None:
            raise UserError(f"TrainJob {name} failed: {failure}; the same command goes on")

    def _make_or_adopt(self, name: str, manifest: Mapping[str, Any]) -> None:
        while True:
            found = self._patiently(lambda: self._get(name))
            if found is None:
                if self._patiently(lambda: self._make(manifest)):
                    self._say(f"TrainJob {name} is made")
                    return
                # Another run was quicker, or it was made by a try whose answer was lost.
            elif "deletionTimestamp" in found["metadata"]:
                time.sleep(self._every_s)
            elif _ended(found) is not None:
                self._patiently(lambda: self._delete(name))
            else:
                self._say(f"TrainJob {name} of an earlier attempt or of another run goes on")
                return

    def _follow(self, name: str) -> str | None:
        """Until it ends; returns why it failed, None if it is complete."""
        while True:
            job = self._patiently(lambda: self._get(name))
            if job is None:
                raise UserError(f"TrainJob {name} was deleted by someone else; the same command goes on")
            ended = _ended(job)
            if ended is not None and ended["type"] == "Complete":
                return None
            if ended is not None:
                told = ended.get("message") or ended.get("reason") or "no reason is given"
                return self._patiently(lambda: self._why(name)) or told
            time.sleep(self._every_s)

    def _patiently(self, call: Callable[[], T]) -> T:
        """The answer, however long the cluster takes to give one; a refusal is raised at once."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        while True:
            try:
                return call()
            except ApiException as error:
                if error.status != 429 and error.status < 500:
                    raise
                told = f"{error.status} {_message(error)}"
            except HTTPError as error:
                told = type(error).__name__
            self._say(f"the cluster does not answer about TrainJobs ({told}); asking again")
            time.sleep(self._every_s)

    def _why(self, name: str) -> str:
        """What the first pod that failed says of its end."""
        pods = self._core.list_namespaced_pod(self._namespace, label_selector=f"{JOBSET_NAME}={name}").items
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

    def _make(self, manifest: Mapping[str, Any]) -> bool:
        """False if there is one of this name."""
        from kubernetes.client.exceptions import ApiException

        try:
            self._custom.create_namespaced_custom_object(GROUP, VERSION, self._namespace, PLURAL, manifest)
        except ApiException as error:
            if error.status == 409:
                return False
            raise
        return True

    def _delete(self, name: str) -> None:
        from kubernetes.client.exceptions import ApiException

        try:
            self._custom.delete_namespaced_custom_object(GROUP, VERSION, self._namespace, PLURAL, name)
        except ApiException as error:
            if error.status != 404:
                raise

    def _cancel(self, name: str) -> None:
        """One try: who is told to stop has no time, and its exit code is that of the signal."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            self._delete(name)
        except (ApiException, HTTPError) as error:
            self._say(f"TrainJob {name} could not be deleted ({type(error).__name__}): it goes on without us")

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        from kubernetes.client.exceptions import ApiException

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
