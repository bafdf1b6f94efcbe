"""Each check against a real store, or a server on loopback that answers as KFP, Kubernetes and registries do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from roomseg.cli import app
from roomseg.cluster import Images, KfpServer
from roomseg.errors import UserError
from roomseg.runtime.doctor import kubeflow, machine, registry, services
from roomseg.runtime.doctor.lines import Line, run_checks
from tests.answers import Answers

DIGEST = "sha256:" + "ab" * 32


@pytest.fixture
def server() -> Iterator[Answers]:
    server = Answers()
    yield server
    server.shutdown()


def only(lines: Iterator[Line]) -> Line:
    (line,) = lines
    return line


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_good_store(kind, tmp_path, request):
    url = str(tmp_path) if kind == "folder" else request.getfixturevalue("s3_store")
    line = only(services.store(url))
    assert (line.state, line.found) == ("OK", f"{url}: written, read, uploaded in parts, listed, written conditionally")
    assert services.open_store(url).list("doctor/") == []


def test_a_bucket_that_is_not_there_fails_with_the_remedy_and_the_next_check_goes_on(s3_server):
    after = Line("OK", "next", "went on")
    lines = run_checks({"store": lambda: services.store("s3://no-such-bucket/x"), "next": lambda: iter([after])})
    failed, went_on = lines
    assert (failed.state, went_on) == ("FAIL", after)
    assert "no-such-bucket" in failed.found + failed.remedy


def test_a_tracking_server(tmp_path):
    assert only(services.tracking("", str(tmp_path))).state == "OK"


def test_kfp_and_its_version(server):
    server.tell("GET /apis/v2beta1/healthz", {"tag_name": "2.17.0", "multi_user": True})
    server.tell("GET /apis/v2beta1/runs", {"runs": []})
    lines = list(kubeflow.kfp(KfpServer(host=server.url, namespace="team")))
    assert lines[0] == Line("OK", "KFP", f"{server.url}: 2.17.0, for several users")
    assert lines[1] == Line("OK", "KFP rights", "runs in namespace team can be listed")


@pytest.mark.parametrize(("status", "remedy"), [(401, "--token"), (403, "kubeflow-edit")])
def test_kfp_that_refuses(server, status, remedy):
    server.tell("GET /apis/v2beta1/healthz", {})
    server.tell("GET /apis/v2beta1/runs", {}, status)
    line = list(kubeflow.kfp(KfpServer(host=server.url, token="secret-token")))[1]
    assert line.state == "FAIL"
    assert remedy in line.remedy
    assert "secret-token" not in line.found + line.remedy


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("kfp.example.org", "expected an address that begins with https:// or http://"),
        ("http://a b", "InvalidURL"),
        ("http://h:port", "InvalidURL"),
    ],
)
def test_an_address_that_is_none_is_a_line(host, words):
    line = only(kubeflow.kfp(KfpServer(host=host)))
    assert (line.state, words in line.found) == ("FAIL", True), line


def test_answers_of_another_shape_are_lines(server, kubeconfig):
    for path in ("GET /apis/v2beta1/healthz", REVIEW, CONTROLLER):
        server.tell(path, ["a list"])
    found = KfpServer(host=server.url, kubeconfig=kubeconfig)
    checks = {"KFP": lambda: kubeflow.kfp(found), "cluster": lambda: kubeflow.cluster(found, False)}
    assert [line.state for line in run_checks(checks)] == ["FAIL", "FAIL"]
    server.tell(REVIEW, {"status": []})
    server.tell(CONTROLLER, {"data": ["workflowDefaults"]})
    assert [line.state for line in run_checks(checks)] == ["FAIL", "FAIL", "WARN"]


def test_kfp_through_the_cluster(server, kubeconfig):
    proxy = "GET /api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy/apis/v2beta1"
    reach = KfpServer(kubeconfig=kubeconfig)
    server.tell(f"{proxy}/healthz", {"message": "forbidden"}, 403)
    assert only(kubeflow.kfp(reach)).remedy.startswith("ask for the right to services/proxy in namespace kubeflow")
    server.tell(f"{proxy}/healthz", {"tag_name": "2.17.0"})
    server.tell(f"{proxy}/runs", {"runs": []})
    health, runs = kubeflow.kfp(reach)
    assert (health.state, health.found) == ("OK", f"that of {kubeconfig}: 2.17.0, for one user")
    assert runs.state == "OK"


def test_a_token_that_no_header_takes_is_a_line_without_it():
    reach = KfpServer(host="http://127.0.0.1:9", token="secret-token\n")
    (line,) = run_checks({"KFP": lambda: kubeflow.kfp(reach)})
    assert (line.state, "secret-token" in line.found + line.remedy) == ("FAIL", False)


def test_what_is_no_kfp(server):
    assert only(kubeflow.kfp(KfpServer(host=server.url))).found == f"{server.url}: 404 Not Found"
    assert "no KFP server answers" in only(kubeflow.kfp(KfpServer(host="http://127.0.0.1:9"))).found
    assert only(kubeflow.kfp(KfpServer())).state == "WARN"


@pytest.fixture
def kubeconfig(server: Answers, tmp_path: Path) -> str:
    path = tmp_path / "kubeconfig"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "users": [{"name": "u", "user": {"token": "kube-token"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(config))
    return str(path)


REVIEW = "POST /apis/authorization.k8s.io/v1/subjectaccessreviews"
CONTROLLER = "GET /api/v1/namespaces/kubeflow/configmaps/workflow-controller-configmap"


def allow(server: Answers, *refused: str) -> None:
    def answer(headers, body):
        assert headers["Authorization"] == "Bearer kube-token"
        assert body["spec"]["user"] == "system:serviceaccount:team:trainer"
        asked = body["spec"]["resourceAttributes"]
        if asked["resource"] == "configmaps":  # the chart gives a right to this one only
            assert asked["name"] == "kfp-launcher"
        return 201, {"status": {"allowed": asked["resource"] not in refused}}, {}

    server.of[REVIEW] = answer


def test_a_cluster_in_order(server, kubeconfig):
    allow(server)
    defaults = "spec: {templateDefaults: {retryStrategy: {retryPolicy: Always}}}"
    server.tell(CONTROLLER, {"data": {"workflowDefaults": defaults}})
    found = KfpServer(kubeconfig=kubeconfig, namespace="team", service_account="trainer")
    lines = list(kubeflow.cluster(found, train_jobs=True))
    assert [(line.state, line.check) for line in lines] == [("OK", "rights"), ("OK", "rights"), ("OK", "retries")]
    assert "create trainjobs" in lines[1].found


def test_rights_to_train_on_several_nodes_are_asked_for(server, kubeconfig):
    allow(server, "trainjobs")
    server.tell(CONTROLLER, {}, 403)
    found = KfpServer(kubeconfig=kubeconfig, namespace="team", service_account="trainer")
    pods, jobs, _ = kubeflow.cluster(found, train_jobs=True)
    assert (pods.state, jobs.state) == ("OK", "FAIL")
    assert jobs.found.endswith("may not create trainjobs, get trainjobs, delete trainjobs")
    assert jobs.remedy == "install the chart with rbac.trainJobs=true"


def test_a_cluster_that_is_not(server, kubeconfig):
    allow(server, "workflowtaskresults", "pods")
    server.tell(CONTROLLER, {"data": {"parallelism": "5"}})
    found = KfpServer(kubeconfig=kubeconfig, namespace="team", service_account="trainer")
    rights, retries = kubeflow.cluster(found, train_jobs=False)
    assert rights.state == "FAIL"
    assert "system:serviceaccount:team:trainer may not create workflowtaskresults, get pods" in rights.found
    assert retries.state == "WARN"
    assert "retryPolicy: Always" in retries.remedy


ALWAYS = "{templateDefaults: {retryStrategy: {retryPolicy: Always}}}"
ON_FAILURE = ALWAYS.replace("Always", "OnFailure")


@pytest.mark.parametrize(
    ("data", "state"),
    [
        ({"workflowDefaults": f"spec: {ALWAYS}"}, "OK"),
        ({"config": f"workflowDefaults: {{spec: {ALWAYS}}}"}, "OK"),
        (
            {"workflowDefaults": f"spec: {ALWAYS.replace('Always', 'OnFailure')}", "e": "imagePullPolicy: Always"},
            "WARN",
        ),
        ({"workflowDefaults": f"# spec: {ALWAYS}"}, "WARN"),
        ({"workflowDefaults": "spec: ["}, "WARN"),
        ({"workflowDefaults": "spec: [retryPolicy, Always]"}, "WARN"),
        ({}, "WARN"),
    ],
)
def test_retries_are_read_where_argo_reads_them(server, kubeconfig, data, state):
    server.tell(REVIEW, {}, 403)
    server.tell(CONTROLLER, {"data": data})
    _, retries = kubeflow.cluster(KfpServer(kubeconfig=kubeconfig), False)
    assert (retries.check, retries.state) == ("retries", state)


def test_a_cluster_that_does_not_tell(server, kubeconfig):
    server.tell(REVIEW, {}, 403)
    server.tell(CONTROLLER, {}, 403)
    assert [line.state for line in kubeflow.cluster(KfpServer(kubeconfig=kubeconfig), False)] == ["WARN", "WARN"]


def test_a_kubeconfig_that_is_none(tmp_path):
    with pytest.raises(UserError, match=r"kubeconfig .*missing"):
        list(kubeflow.cluster(KfpServer(kubeconfig=str(tmp_path / "missing")), False))
    for text in ("- a", "a: [", ""):
        path = tmp_path / "broken"
        path.write_text(text)
        reach = KfpServer(kubeconfig=str(path))
        checks = {"KFP": lambda: kubeflow.kfp(reach), "cluster": lambda: kubeflow.cluster(reach, False)}  # noqa: B023
        assert [line.state for line in run_checks(checks)] == ["FAIL", "FAIL"]


def test_images(server):
    host = server.url.removeprefix("http://")
    server.tell(f"HEAD /v2/roomseg/render/manifests/{DIGEST}", {})
    server.tell("HEAD /v2/roomseg/train/manifests/1.0", {})
    named = Images(render=f"{host}/roomseg/render@{DIGEST}", train=f"{host}/roomseg/train:1.0")
    states = {line.found.partition(" ")[0]: line.state for line in registry.images(named)}
    assert states == {named.render: "OK", named.train: "WARN"}


def test_a_registry_that_gives_everybody_a_token(server):
    def manifest(headers, body):
        if headers.get("Authorization") == "Bearer for-all":
            return 200, {}, {}
        challenge = f'Bearer realm="{server.url}/token",service="registry",scope="repository:a/b:pull"'
        return 401, {}, {"WWW-Authenticate": challenge}

    server.of[f"HEAD /v2/a/b/manifests/{DIGEST}"] = manifest
    server.tell("GET /token", {"token": "for-all"})
    name = f"{server.url.removeprefix('http://')}/a/b@{DIGEST}"
    assert only(registry.images(Images(render=name, train=name))).state == "OK"
    server.tell("GET /token", {"token": "other"})
    assert only(registry.images(Images(render=name, train=name))).state == "WARN"


def test_an_image_that_is_not_there(server):
    name = f"{server.url.removeprefix('http://')}/a/b@{DIGEST}"
    line = only(registry.images(Images(render=name, train=name)))
    assert (line.state, "404" in line.found) == ("FAIL", True)


@pytest.mark.parametrize("name", ["a b", "x:notaport/z", "127.0.0.1:9/a b"])
def test_a_name_that_is_none_is_a_line(name):
    line = only(registry.images(Images.model_construct(render=name, train=name)))
    assert (line.state, "InvalidURL" in line.found) == ("WARN", True)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("python", ("https://registry-1.docker.io", "library/python", "latest")),
        ("a/b:1", ("https://registry-1.docker.io", "a/b", "1")),
        (f"ghcr.io/a/b/c@{DIGEST}", ("https://ghcr.io", "a/b/c", DIGEST)),
        ("localhost:5000/a:x", ("http://localhost:5000", "a", "x")),
    ],
)
def test_names_of_images(name, parts):
    assert registry.split_image(name) == parts


@pytest.mark.parametrize(("limit", "state"), [(0, "OK"), (1 << 60, "WARN")])
def test_room_on_this_machine(monkeypatch, tmp_path, limit, state):
    monkeypatch.setattr(machine, "MIN_SHM_BYTES", limit)
    monkeypatch.setattr(machine, "MIN_DISK_BYTES", limit)
    (tmp_path / "shm").mkdir()
    monkeypatch.setattr(machine, "SHM", tmp_path / "shm")
    for line in (only(machine.shared_memory()), only(machine.disk(str(tmp_path / "not" / "yet")))):
        assert (line.state, bool(line.remedy)) == (state, state == "WARN")


@pytest.mark.parametrize(
    ("available", "driver", "cuda", "state"),
    [(False, None, None, "WARN"), (False, "570", None, "FAIL"), (False, "470", "13.0", "FAIL")],
)
def test_gpu_driver_and_build(monkeypatch, available, driver, cuda, state):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(machine, "_nvidia_driver", lambda: driver)
    assert only(machine.gpu()).state == state


def test_the_command(tmp_path, server):
    arguments = ["doctor", "--store", str(tmp_path / "store"), "--cluster", "/dev/null", "--json"]
    done = CliRunner().invoke(app, arguments, env={"KFP_HOST": server.url, "KUBECONFIG": "", "KFP_TOKEN": ""})
    assert done.exit_code == 1
    found = {line["check"]: line for line in json.loads(done.stdout)}
    assert (found["store"]["state"], found["KFP"]["state"], found["cluster"]["state"]) == ("OK", "FAIL", "WARN")


def test_the_command_asks_for_the_account_that_submit_gives_the_pods(tmp_path, server, kubeconfig):
    allow(server)
    asked = ["--kubeconfig", kubeconfig, "--kube-context", "x", "--namespace", "team"]
    arguments = ["doctor", "--store", str(tmp_path / "store"), "--cluster", "/dev/null", *asked, "--json"]
    done = CliRunner().invoke(app, arguments, env={"KFP_SERVICE_ACCOUNT": "trainer", "KFP_HOST": "", "KFP_TOKEN": ""})
    (rights,) = (line for line in json.loads(done.stdout) if line["check"] == "rights")
    assert rights["state"] == "OK"
    assert rights["found"].startswith("system:serviceaccount:team:trainer may")
