"""A TrainJob's manifest against the API's own models, and its life against an API server on loopback."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kubeflow_trainer_api.models import TrainerV1alpha1TrainJob
from kubernetes import client

from roomseg.cluster import ClusterConfig
from roomseg.errors import UserError
from roomseg.runtime.train_job import TrainJobs, train_job
from submission.train_job import train_job_spec
from tests.answers import Answers

FOLDER = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/ns/trainjobs"
NAME = "roomseg-teacher-0123456789abcdef0123"
POD = {
    "nodes": 4, "gpus": 8, "node_selector": {"accelerator": "a100"}, "scratch_class": "fast", "labels": {"a": "b"},
    "secrets": [{"name": "s3", "env": {"key": "AWS_ACCESS_KEY_ID"}}],
}  # fmt: skip


@pytest.fixture
def manifest() -> dict[str, Any]:
    pod = ClusterConfig(pods={"teacher": POD}).pod("teacher")
    spec = train_job_spec(pod, "r.example/train@sha256:1", {"ROOMSEG_CACHE_DIR": "/scratch"}, "roomseg")
    return train_job("teacher", "0123456789abcdef0123", spec, '{"stage": "teacher"}')


class Cluster:
    """What the API server has: one job, which takes each of ``states`` at the next looks.

    A number among them is the status that this look is refused with.
    """

    def __init__(self) -> None:
        self.server = Answers()
        self.job: dict[str, Any] | None = None
        self.states: list[Any] = []
        self.hidden = 0  # so many looks find no job, whatever there is
        self.busy: dict[str, list[int]] = {"POST": [], "DELETE": []}  # statuses of the next requests
        self.answers_late = False  # a job that is made is so although the answer is 504
        self.made, self.deleted = 0, 0
        one = f"{FOLDER}/{NAME}"
        self.server.of = {
            f"POST {FOLDER}": self._make, f"GET {one}": self._get, f"DELETE {one}": self._delete
        }  # fmt: skip

    def _make(self, headers: dict[str, str], body: Any) -> Any:
        assert TrainerV1alpha1TrainJob.from_dict(body).to_dict() == body
        if self.busy["POST"]:
            return self.busy["POST"].pop(0), {"message": "busy"}, {}
        if self.job is not None:
            return 409, {"reason": "AlreadyExists", "message": "trainjobs already exists"}, {}
        self.job, self.made = body, self.made + 1
        return (504, {"message": "time-out"}, {}) if self.answers_late else (201, body, {})

    def _get(self, headers: dict[str, str], body: Any) -> Any:
        if self.states and isinstance(self.states[0], int):
            return self.states.pop(0), {"message": "busy"}, {}
        if self.job is None or self.hidden:
            self.hidden = max(0, self.hidden - 1)
            return 404, {"message": "not found"}, {}
        state = self.states.pop(0) if self.states else None
        return 200, {**self.job, **({"status": {"conditions": [state]}} if state else {})}, {}

    def _delete(self, headers: dict[str, str], body: Any) -> Any:
        if self.busy["DELETE"]:
            return self.busy["DELETE"].pop(0), {"message": "busy"}, {}
        found, self.job = self.job, None
        self.deleted += found is not None
        return (200 if found else 404), {}, {}


COMPLETE = {"type": "Complete", "status": "True", "reason": "JobsCompleted", "message": "done"}
FAILED = {"type": "Failed", "status": "True", "reason": "JobsFailed", "message": "jobset failed"}


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.server.shutdown()


@pytest.fixture
def jobs(cluster: Cluster) -> TrainJobs:
    settings = client.Configuration(host=cluster.server.url)
    settings.retries = 0
    return TrainJobs(client.ApiClient(settings), "ns", print, every_s=0.01)


def test_the_manifest_is_of_the_api(manifest):
    assert TrainerV1alpha1TrainJob.from_dict(manifest).to_dict() == manifest
    assert manifest["metadata"]["name"] == NAME
    trainer = manifest["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"]) == (4, "8")
    assert trainer["env"][-1] == {"name": "ROOMSEG_TEAM_JOB", "value": '{"stage": "teacher"}'}


def test_a_job_is_made_followed_through_a_busy_server_and_deleted(cluster, jobs, manifest):
    cluster.states = [None, 503, COMPLETE]
    jobs.run(manifest)
    assert (cluster.made, cluster.deleted) == (1, 1)


def test_a_job_of_an_earlier_attempt_is_adopted(cluster, jobs, manifest):
    cluster.job, cluster.states = manifest, [None, None, COMPLETE]
    jobs.run(manifest)
    assert (cluster.made, cluster.deleted) == (0, 1)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_cluster_that_is_busy_at_the_first_look_is_no_reason_to_delete_the_job(cluster, jobs, manifest, status):
    cluster.job, cluster.states = manifest, [status, status, None, COMPLETE]
    jobs.run(manifest)
    assert (cluster.made, cluster.deleted) == (0, 1)


def test_the_job_that_another_run_made_meanwhile_is_adopted(cluster, jobs, manifest):
    cluster.job, cluster.hidden, cluster.states = manifest, 1, [None, COMPLETE]
    jobs.run(manifest)
    assert (cluster.made, cluster.deleted) == (0, 1)


def test_a_job_whose_creation_was_not_answered_is_not_made_twice(cluster, jobs, manifest):
    cluster.answers_late, cluster.states = True, [None, COMPLETE]
    jobs.run(manifest)
    assert (cluster.made, cluster.deleted) == (1, 1)


def test_the_end_of_a_job_stands_while_the_cluster_is_too_busy_to_delete_it(cluster, jobs, manifest):
    cluster.busy["DELETE"], cluster.states = [503, 503], [None, COMPLETE]
    jobs.run(manifest)
    assert (cluster.made, cluster.deleted) == (1, 1)


@pytest.mark.parametrize("state", [401, 403])
def test_a_refusal_ends_the_attempt_and_leaves_the_job(cluster, jobs, manifest, state):
    cluster.job, cluster.states = manifest, [None, state]
    with pytest.raises(UserError):
        jobs.run(manifest)
    assert (cluster.job, cluster.deleted) == (manifest, 0)


def test_a_job_that_had_failed_is_made_anew(cluster, jobs, manifest):
    cluster.job, cluster.states = manifest, [FAILED, COMPLETE]
    jobs.run(manifest)
    assert (cluster.made, cluster.deleted) == (1, 2)


def test_the_reason_is_that_of_the_first_pod_that_failed(cluster, jobs, manifest):
    def pod(name: str, at: str, code: int, reason: str) -> dict[str, Any]:
        end = {"exitCode": code, "reason": reason, "finishedAt": f"2026-01-01T00:00:{at}Z"}
        one = {"name": "node", "image": "i", "imageID": "i", "ready": False, "restartCount": 0}
        return {"metadata": {"name": name}, "status": {"containerStatuses": [{**one, "state": {"terminated": end}}]}}

    pods = [pod("node-0", "09", 1, "Error"), pod("node-1", "05", 137, "OOMKilled")]
    cluster.server.tell("GET /api/v1/namespaces/ns/pods", {"items": pods})
    cluster.states = [FAILED]
    with pytest.raises(
        UserError, match=rf"^TrainJob {NAME} failed: pod node-1 ended with exit code 137 \(OOMKilled\);"
    ):
        jobs.run(manifest)
    assert cluster.deleted == 1


def test_sigterm_deletes_the_job(cluster, jobs, manifest):
    def cancel() -> None:
        while not cluster.made:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=cancel).start()
    with pytest.raises(SystemExit) as end:
        jobs.run(manifest)
    assert (end.value.code, cluster.made, cluster.deleted) == (143, 1, 1)


def test_a_job_that_cannot_be_deleted_on_sigterm_is_named(cluster, jobs, manifest, capsys):
    cluster.busy["DELETE"] = [503]
    cluster.server.of[f"GET {FOLDER}/{NAME}"] = lambda *_: (os.kill(os.getpid(), signal.SIGTERM), (404, {}, {}))[1]
    with pytest.raises(SystemExit) as end:
        jobs.run(manifest)
    assert end.value.code == 143
    assert f"TrainJob {NAME} could not be deleted" in capsys.readouterr().out


def test_without_the_right_the_remedy_is_told(cluster, jobs, manifest):
    cluster.server.tell(f"GET {FOLDER}/{NAME}", {"message": "forbidden"}, status=403)
    with pytest.raises(
        UserError, match=r"no right to TrainJobs in namespace ns: install the chart with rbac.trainJobs"
    ):
        jobs.run(manifest)


def test_an_exceeded_quota_is_told_as_such(cluster, jobs, manifest):
    said = "trainjobs is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=8, limited: 4"
    cluster.server.tell(f"POST {FOLDER}", {"message": said}, status=403)
    with pytest.raises(UserError, match=r"quota of namespace ns is too small .*limited: 4\); lower nodes, gpus"):
        jobs.run(manifest)
