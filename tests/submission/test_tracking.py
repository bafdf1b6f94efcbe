"""Which MLflow servers a submission may name: its stages run in pods, not on this machine."""

from __future__ import annotations

import pytest

from roomseg.cluster import TASKS, ClusterConfig
from roomseg.errors import UsageError
from submission.tracking import check_tracking_uri, doubt
from tests.submission.server import TOKEN
from tests.submission.test_submit import IMAGES
from tests.test_pipeline import run_pipeline

SUBMIT = ("--submit", "--store", "s3://b/p", *IMAGES)
NO_SERVER = "no --tracking-uri, and no MLFLOW_TRACKING_URI in the env of every pod"
NO_CLUSTER = ClusterConfig()
TOLD = {"env": {"MLFLOW_TRACKING_URI": "http://m"}}


def test_a_file_of_this_machine_is_refused_before_anything_is_sent():
    done = run_pipeline(*SUBMIT, "--host", "http://127.0.0.1:9", "--tracking-uri", "sqlite:///m.db")
    assert (done.returncode, "the pods do not have this file" in done.stderr) == (2, True), done.stderr


@pytest.mark.parametrize("uri", ["sqlite:///m.db", "mlruns", "/srv/mlruns", "file:/m", "http://[::1"])
def test_what_is_no_server_is_refused(uri):
    with pytest.raises(UsageError, match=r"the pods do not have this file|is no address"):
        check_tracking_uri(uri)


@pytest.mark.parametrize(
    "uri", ["http://roomseg-mlflow.perception.svc:5000", "https://m.example", "postgresql://h/m", "databricks"]
)
def test_servers_that_pods_may_reach_are_taken(uri):
    check_tracking_uri(uri)
    assert doubt(NO_CLUSTER, uri) == ""


@pytest.mark.parametrize("uri", ["http://localhost:5000", "http://user:word@127.0.0.1:5000", "http://[::1]:5000"])
def test_a_forwarded_port_is_doubted(uri):
    check_tracking_uri(uri)
    assert "is the pod itself" in doubt(NO_CLUSTER, uri)
    assert "word" not in doubt(NO_CLUSTER, uri)


def test_a_dry_run_says_that_no_server_is_told():
    done = run_pipeline(*SUBMIT, "--host", "https://kfp.example.org", "--dry-run")
    assert (done.returncode, f"MLflow     {NO_SERVER}" in done.stdout) == (0, True), done.stderr


def test_a_run_without_a_server_is_warned_of_when_it_is_started(server):
    done = run_pipeline(*SUBMIT, "--host", server.url, "--token", TOKEN)
    assert (done.returncode, done.stderr.startswith(f"warning: {NO_SERVER}")) == (0, True), done.stderr


@pytest.mark.parametrize(
    ("pods", "known"),
    [
        ({"all": TOLD}, True),
        ({"all": {"secrets": [{"name": "mlflow", "env": {"uri": "MLFLOW_TRACKING_URI"}}]}}, True),
        ({"teacher": TOLD}, False),
        ({task: TOLD for task in TASKS if task != "finish"}, True),
    ],
)
def test_pods_may_have_it_in_their_environment(pods, known):
    assert (doubt(ClusterConfig(pods=pods), "") == "") == known
