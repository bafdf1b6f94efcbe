"""The cluster's file, and what becomes of it in the compiled pipeline."""

import json
from pathlib import Path

import pytest
import yaml
from kfp import compiler

from pipeline import build_pipeline
from roomseg.cluster import ClusterConfig, Toleration, quantity, read_cluster
from roomseg.errors import UsageError
from roomseg.profiles import paper
from tests.golden.update import GOLDEN

FILE = """
[kfp]
host = "https://kfp.example.org"
[render]
shards = 3
parallelism = 2
[pods.all]
labels = {team = "perception"}
env = {AWS_ENDPOINT_URL = "http://s3:8333"}
secrets = [{name = "roomseg-s3", env = {access-key = "AWS_ACCESS_KEY_ID"}}]
[pods.pretrain]
gpus = 8
node_selector = {"cloud/accelerator" = "a100"}
scratch_class = "fast"
labels = {tier = "train"}
"""


@pytest.fixture
def cluster(tmp_path: Path) -> ClusterConfig:
    path = tmp_path / "cluster.toml"
    path.write_text(FILE)
    return read_cluster(path)


@pytest.fixture
def compiled(cluster: ClusterConfig, tmp_path: Path) -> tuple[dict, dict]:
    path = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(build_pipeline(paper(), cluster, "s3://b/p", "http://mlflow", "run"), str(path))
    spec, platform = yaml.safe_load_all(path.read_text())
    return spec, platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]


def test_a_pod_is_its_defaults_changed_by_all_and_by_its_own_table(cluster):
    pod = cluster.pod("pretrain")
    assert (pod.gpus, pod.memory, pod.shm) == (8, "32Gi", "8Gi")
    assert pod.labels == {"team": "perception", "tier": "train"}
    assert pod.tolerations == (Toleration(key="nvidia.com/gpu", effect="NoSchedule"),)
    assert (cluster.pod("render").gpus, cluster.pod("render").labels) == (0, {"team": "perception"})


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("8", 8),
        ("500m", 0.5),
        ("1.5", 1.5),
        ("2k", 2000),
        ("3Ki", 3072),
        ("1G", 1e9),
        ("50Gi", 50 << 30),
        ("1Pi", 1 << 50),
    ],
)
def test_quantities_are_as_kubernetes_reads_them(text, number):
    assert quantity(text) == number
    assert ClusterConfig(pods={"all": {"scratch": text}}).pod("render").scratch == text


@pytest.mark.parametrize(
    ("field", "text"),
    [("memory", "1.5Gi"), ("memory", "500m"), ("memory", "100k"), ("memory", "0Gi"), ("cpu", "1k"), ("cpu", "1Gi")],
)
def test_what_kfp_does_not_take_for_a_pod_is_refused_with_what_it_takes(field, text):
    with pytest.raises(ValueError, match=rf"pods\.render: {field}: got '{text}'; expected"):
        ClusterConfig(pods={"all": {field: text}})


@pytest.mark.parametrize(
    ("cpu", "memory"), [("0.5", "1536Mi"), ("500m", "2G"), ("1.5m", "4194304Ki"), ("8", "9000000000"), ("1", "1Ti")]
)
def test_what_a_pod_is_given_is_what_kfp_takes(cpu, memory, tmp_path):
    cluster = ClusterConfig(pods={"all": {"cpu": cpu, "memory": memory}})
    path = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(build_pipeline(paper(), cluster, "s3://b/p", "http://mlflow", "run"), str(path))
    executors = next(yaml.safe_load_all(path.read_text()))["deploymentSpec"]["executors"]
    assert executors["exec-teacher"]["container"]["resources"]["resourceMemoryLimit"] == memory


def test_what_was_said_on_the_command_line_wins(cluster):
    changed = cluster.changed(
        {"kfp": {"host": "http://other", "token": None}, "images": {"render": "r", "train": None}}
    )
    assert (changed.kfp.host, changed.kfp.token, changed.images.render) == ("http://other", None, "r")
    assert changed.images.train == ClusterConfig().images.train
    assert changed.render.shards == 3


def test_what_was_said_on_the_command_line_is_checked_too(cluster):
    with pytest.raises(UsageError, match=r"images\.render: got 'a b'; expected an image"):
        cluster.changed({"images": {"render": "a b"}})


def test_pods_in_the_compiled_pipeline(compiled):
    spec, executors = compiled
    container = spec["deploymentSpec"]["executors"]["exec-pretrain"]["container"]
    assert container["resources"]["accelerator"] == {
        "count": "8",
        "resourceCount": "8",
        "resourceType": "nvidia.com/gpu",
        "type": "nvidia.com/gpu",
    }
    env = {each["name"]: each["value"] for each in container["env"]}
    assert (env["AWS_ENDPOINT_URL"], env["ROOMSEG_CACHE_DIR"]) == ("http://s3:8333", "/scratch")
    assert "ROOMSEG_CACHE_GB" not in env  # a volume of its own tells its size
    render = spec["deploymentSpec"]["executors"]["exec-render"]["container"]["env"]
    assert {"name": "ROOMSEG_CACHE_GB", "value": "37.6"} in render  # of the 53.7 GB of its emptyDir
    pod = executors["exec-pretrain"]
    assert pod["nodeSelector"]["labels"] == {"cloud/accelerator": "a100"}
    assert pod["podMetadata"]["labels"] == {"team": "perception", "tier": "train"}
    assert pod["secretAsEnv"][0]["secretName"] == "roomseg-s3"
    assert pod["genericEphemeralVolume"][0]["storageClassName"] == "fast"
    assert [mount["mountPath"] for mount in pod["emptyDirMounts"]] == ["/dev/shm"]
    assert executors["exec-render"]["emptyDirMounts"][0] == {
        "mountPath": "/scratch",
        "sizeLimit": "50Gi",
        "volumeName": "scratch",
    }


def test_a_stage_on_several_nodes_is_a_small_pod_that_makes_a_train_job(tmp_path):
    cluster = ClusterConfig(pods={"teacher": {"nodes": 4, "gpus": 8}})
    path = tmp_path / "pipeline.yaml"
    compiler.Compiler().compile(build_pipeline(paper(), cluster, "s3://b/p", "http://mlflow", "run"), str(path))
    container = next(yaml.safe_load_all(path.read_text()))["deploymentSpec"]["executors"]["exec-teacher"]["container"]
    (told,) = (each["value"] for each in container["env"] if each["name"] == "ROOMSEG_TRAIN_JOB")
    trainer = json.loads(told)["trainer"]
    assert (trainer["numNodes"], trainer["image"]) == (4, cluster.images.train)
    assert trainer["resourcesPerNode"]["limits"]["nvidia.com/gpu"] == "8"
    assert "accelerator" not in container["resources"]


def test_render_fans_out_with_a_cap(compiled):
    spec, _ = compiled
    (dag,) = (c["dag"] for name, c in spec["components"].items() if name.startswith("comp-exit-handler"))
    (loop,) = (task for name, task in dag["tasks"].items() if name.startswith("for-loop"))
    assert loop["parameterIterator"]["items"]["raw"] == '["1/3", "2/3", "3/3"]'
    assert loop["iteratorPolicy"]["parallelismLimit"] == 2


@pytest.mark.parametrize("profile", ["demo", "paper"])
def test_every_pod_is_tried_again_for_days_and_runs_as_nobody_special(profile):
    """KFP gives up an hour after the first start unless it is told otherwise."""
    spec, platform = yaml.safe_load_all((GOLDEN / f"pipeline_{profile}.yaml").read_text())
    dags = [spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)]
    pods = {n: t for dag in dags for n, t in dag["tasks"].items() if f"exec-{n}" in spec["deploymentSpec"]["executors"]}
    assert len(pods) == 9
    for name, task in pods.items():
        assert task["retryPolicy"]["maxRetryCount"] >= 5, name
        assert int(task["retryPolicy"]["backoffMaxDuration"].removesuffix("s")) >= 14 * 24 * 3600, name
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert len(executors) == 9
    assert all(executor["securityContext"]["runAsNonRoot"] for executor in executors.values())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kfp = 3", "kfp: Input should be a valid dictionary"),
        ("[kfp]\nhots = 'x'", "kfp.hots: Extra inputs are not permitted"),
        ("[pods.techer]\ngpus = 1", "pods.techer: expected all, render, render_part"),
        ("[pods.teacher]\nmemory = '32 GB'", "pods.teacher: memory: got '32 GB'; expected"),
        ("[pods.teacher", "is no valid TOML"),
        ("[pods.teacher]\ncpu = '0'", "pods.teacher: cpu: got '0'; expected more than nothing"),
        ("[pods.teacher]\nmemory = '32ki'", "pods.teacher: memory: got '32ki'; expected"),
        ("[pods.teacher]\nscratch = '0.0Gi'", "pods.teacher: scratch: got '0.0Gi'; expected more than nothing"),
        (
            "[[pods.teacher.tolerations]]\noperator = 'Equal'\nvalue = 'a'",
            "tolerations.0: operator Equal without a key",
        ),
        ("[[pods.teacher.tolerations]]\nkey = 'a'\nvalue = 'b'", "tolerations.0: operator Exists with the value 'b'"),
        ("[pods.all.labels]\n'my team' = 'x'", "labels.my team.[key]: String should match pattern"),
        ("[pods.all.node_selector]\npool = 'a b'", "node_selector.pool: String should match pattern"),
        ("[pods.all.env]\n'A=B' = 'x'", "env.A=B.[key]: String should match pattern"),
        ("[[pods.all.secrets]]\nname = ''\nenv = {a = 'A'}", "secrets.0.name: String should have at least 1"),
        ("[images]\nrender = ''", "images.render: got ''; expected an image, such as registry.example.org/train@"),
        ("[images]\ntrain = 'a b'", "images.train: got 'a b'; expected an image"),
        ("[images]\ntrain = 'host:port/train'", "images.train: got 'host:port/train'; expected an image"),
        ("[images]\ntrain = 'r.example/train@sha256:...'", "images.train: got 'r.example/train@sha256:...'; expected"),
        ("[pods.render]\nnodes = 2", "pods.render.nodes: got 2; only teacher, pretrain, distill run on several"),
    ],
)
def test_a_file_with_a_mistake_is_refused_in_one_line(tmp_path, text, words):
    path = tmp_path / "cluster.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as error:
        read_cluster(path)
    assert words in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_was_asked_for_must_be_there(tmp_path):
    with pytest.raises(UsageError, match=r"cluster\.toml: cannot be read \(No such file or directory\)"):
        read_cluster(tmp_path / "cluster.toml")
