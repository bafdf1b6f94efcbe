"""The tutorial on one's own cluster: what can run without one really runs, the rest is what its programs take.

Blocks of ``sh`` run as they stand, but for the names of servers; blocks of ``sh cluster`` need the reader's cluster.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import helm_python
import pytest
import yaml

from tests.answers import Answers
from tests.helm.test_chart import CHART, named, render
from tests.servers import MlflowServer
from tests.submission.server import TOKEN, KfpServer

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs" / "cluster.md").read_text()
DIGESTS = (f"sha256:{'a' * 64}", f"sha256:{'b' * 64}")  # of the images that a reader has built
KUBERNETES = "GET /api/v1/namespaces/kubeflow/configmaps/workflow-controller-configmap"
REVIEW = "POST /apis/authorization.k8s.io/v1/subjectaccessreviews"


def blocks(kind: str) -> list[str]:
    """The fenced blocks with this info string."""
    found = re.findall(r"^( *)```(.+)\n((?s:.*?))^ *```$", TUTORIAL, re.M)
    return [re.sub(f"^{indent}", "", text, flags=re.M) for indent, info, text in found if info == kind]


def commands(kind: str) -> list[list[str]]:
    """Their lines in words."""
    return [shlex.split(line) for line in "".join(blocks(kind)).replace("\\\n", " ").splitlines()]


def calls_of(program: str) -> list[list[str]]:
    """What the program is given on the reader's cluster."""
    return [words[1:] for words in commands("sh cluster") if words[0] == program]


def test_each_block_is_of_a_kind_that_is_tested() -> None:
    assert set(re.findall(r"^ *```(.+)$", TUTORIAL, re.M)) == {"sh", "sh cluster", "toml", "yaml"}
    assert re.findall(r"^ {4,}(?:python|roomseg|kubectl|helm|images/)", TUTORIAL, re.M) == []
    assert {words[0] for words in commands("sh cluster")} == {"images/build.sh", "kubectl", "helm"}


@pytest.fixture
def kfp() -> Iterator[KfpServer]:
    server = KfpServer()
    yield server
    server.shutdown()
    assert server.faults == []


@pytest.fixture
def others() -> Iterator[Answers]:
    """The cluster's own API and the registry, as far as ``roomseg doctor`` asks them."""
    server = Answers()
    (advice,) = blocks("yaml")
    server.tell(KUBERNETES, {"data": yaml.safe_load(advice)})
    server.tell(REVIEW, {"status": {"allowed": True}}, 201)
    for image, digest in zip(("render", "train"), DIGESTS, strict=True):
        server.tell(f"HEAD /v2/roomseg/{image}/manifests/{digest}", {})
    yield server
    server.shutdown()


@pytest.fixture
def mlflow(tmp_path: Path, s3_store: str) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path, artifacts=f"{s3_store}-mlflow")
    server.start()
    yield server
    server.kill()


def test_the_steps_that_need_no_cluster_run(
    kfp: KfpServer, others: Answers, mlflow: MlflowServer, s3_store: str, tmp_path: Path
) -> None:
    names = {
        "https://kfp.example.org": kfp.url,
        "registry.example.org": others.url.removeprefix("http://"),
        "s3://bucket/roomseg": s3_store,
        "http://localhost:5000": mlflow.uri,
    }
    home = tmp_path / "home"
    (home / ".config").mkdir(parents=True)
    (home / ".kube").mkdir()
    (table,) = blocks("toml")
    for digest in DIGESTS:
        table = table.replace("sha256:...", digest, 1)
    (home / ".config" / "roomseg.toml").write_text(renamed(table, names))
    (home / ".kube" / "config").write_text(yaml.safe_dump(kubeconfig(others.url)))
    first, second = blocks("sh")

    checked = bash(renamed(first, names), home)
    lines = {line.split()[1]: line for line in checked.splitlines()}
    assert len(lines) == len(checked.splitlines()) - 2  # two lines begin with KFP, two with image
    for check in ("store", "MLflow", "KFP", "rights", "retries", "image"):
        assert lines[check].startswith("OK "), checked
    assert re.findall(r"^(?!OK)\w+ +(?!GPU|/dev/shm|disk)\S+", checked, re.M) == [], checked

    kfp.states.append({"state": "SUCCEEDED"})
    sent = bash(renamed(second, names), home)
    assert f"store      {s3_store}" in sent
    assert "cloud.google.com/gke-accelerator=nvidia-l4" in sent
    assert re.search(rf"started run run-1 \(paper-[\d-]+\) on {kfp.url}\nrun run-1 succeeded\n$", sent), sent
    (run,) = kfp.runs
    assert run["service_account"] == "roomseg"


def renamed(text: str, names: dict[str, str]) -> str:
    for told, real in names.items():
        assert told in TUTORIAL, told
        text = text.replace(told, real)
    return text


def kubeconfig(server: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "kube-token"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def bash(script: str, home: Path) -> str:
    """What it prints. Without the settings of whoever runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not re.match("KFP_|KUBECONFIG|ROOMSEG_CLUSTER", name)}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = kept | {"HOME": str(home), "PATH": path, "KFP_TOKEN": TOKEN}
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_chart_takes_its_command_and_has_what_the_others_name() -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    for name in ("action", "release", "chart"):
        parser.add_argument(name)
    parser.add_argument("-n", "--namespace", required=True)
    parser.add_argument("--set", action="append")
    said = parser.parse_args(*calls_of("helm"))
    assert (said.action, ROOT / said.chart, said.release) == ("install", CHART, "roomseg")
    values = helm_python.parse_set_string(",".join(said.set))
    manifests = render(values)
    (port,) = (each["port"] for each in named(manifests, "Service", "roomseg-mlflow")["spec"]["ports"])
    assert f"http://roomseg-mlflow.{said.namespace}.svc:{port} --watch" in TUTORIAL
    assert f"kubectl -n {said.namespace} port-forward service/roomseg-mlflow {port}\n" in TUTORIAL

    table = tomllib.loads(*blocks("toml"))
    assert table["kfp"]["namespace"] == said.namespace
    assert named(manifests, "ServiceAccount", table["kfp"]["service_account"])
    (secret,) = table["pods"]["all"]["secrets"]
    assert secret["name"] == values["s3"]["existingSecret"]
    (made,) = (words for words in calls_of("kubectl") if "secret" in words)
    assert ["-n", said.namespace, "create", "secret", "generic", secret["name"]] == made[:6]
    keys = [word.removeprefix("--from-literal=").partition("=")[0] for word in made[6:]]
    assert {key: key for key in keys} == secret["env"]


def test_the_images_script_takes_its_arguments(tmp_path: Path) -> None:
    """On a machine without a builder; ``tests/images`` builds them."""
    for tool in ("dirname", "sed"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    calls = calls_of("images/build.sh")
    assert [words[0] for words in calls] == ["render", "train"]
    for words in [*calls, ["rendr"]]:
        script = ["/bin/sh", str(ROOT / "images" / "build.sh"), *words]
        done = subprocess.run(script, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
        expected = (1, "there is neither buildah nor docker here") if words in calls else (2, "got rendr; expected")
        assert (done.returncode, expected[1] in done.stderr) == (expected[0], True), done.stderr


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl here")
def test_kubectl_takes_its_commands() -> None:
    for words in [*calls_of("kubectl"), ["get", "pods", "--no-such-flag"]]:
        created = "create" in words
        options = ["--dry-run=client", "-o", "name"] if created else ["--server=http://127.0.0.1:9"]
        done = subprocess.run(["kubectl", *words, *options], capture_output=True, text=True, timeout=60)
        if created:
            assert done.returncode == 0, done.stderr
        else:
            assert ("refused" in done.stderr) == ("--no-such-flag" not in words), done.stderr
