"""The chart, rendered over a matrix of values, and every manifest held against Kubernetes's own schemas."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from roomseg.cluster import ClusterConfig
from roomseg.runtime.doctor.kubeflow import NEEDED, NEEDED_BY_TRAIN_JOBS, Right
from roomseg.runtime.train_job import JOBSET_NAME, train_job

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "helm" / "roomseg"
KUBERNETES = ("1.36", "1.37")
CPU_LIMIT = {"resourceFieldRef": {"resource": "limits.cpu"}}  # where a variable comes from that is no secret

AWS = {"serviceAccount": {"roleArn": "arn:aws:iam::123456789012:role/roomseg"}}
VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "AWS": {**AWS, "mlflow": {"existingDatabaseSecret": "db"}, "kfpLauncher": {"create": True}},
    "no S3": {"objectStore": {"enabled": True, "storageClass": "fast"}, "kfpLauncher": {"create": True}},
    "foreign S3": {
        "s3": {"endpoint": "https://s3.example.org", "existingSecret": "keys"},
        "objectStore": {"enabled": True},
        "mlflow": {"enabled": False},
    },
    "everything": {
        "rbac": {"trainJobs": True},
        "quota": {"hard": {"requests.nvidia.com/gpu": "8", "pods": 50}},
        "priority": {"enabled": True, "value": 1000},
        "serving": {"enabled": True, "minReplicas": 0},
        "s3": {"existingSecret": "keys"},
    },
    "little": {
        "serviceAccount": {"create": False, "name": "default-editor"},
        "rbac": {"create": False},
        "mlflow": {"enabled": False},
        "limitRange": {"default": None},
        "networkPolicy": {"enabled": False},
    },
}


def render(values: dict[str, Any]) -> list[dict[str, Any]]:
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(values)
        rendered = chart.render(values, name="roomseg", namespace="perception")
    texts = [text for path, text in rendered.items() if path.endswith(".yaml")]
    return [manifest for text in texts for manifest in yaml.safe_load_all(text) if manifest]


@pytest.fixture(params=VALUES, scope="module")
def manifests(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return render(VALUES[request.param])


def named(manifests: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name))
    return found


def pods(manifests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for manifest in manifests:
        if manifest["kind"] in ("Deployment", "StatefulSet"):
            yield manifest["spec"]["template"]["spec"]
        elif manifest["kind"] == "InferenceService":
            yield manifest["spec"]["predictor"]


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_manifest_is_valid(manifests, version):
    for manifest in manifests:
        check_manifest(manifest, version)


def check_manifest(manifest: dict[str, Any], version: str) -> None:
    if manifest["kind"] == "InferenceService":
        check_inference_service(manifest, version)
    else:
        kubernetes_validate.validate(manifest, version, strict=True)


# KServe's ComponentExtensionSpec (pkg/apis/serving/v1beta1/component.go); the other fields of a predictor that names
# its own container are those of a pod.
OF_A_COMPONENT = {
    "minReplicas": int, "maxReplicas": int, "scaleTarget": int, "scaleMetric": str, "containerConcurrency": int,
    "timeout": int, "canaryTrafficPercent": int, "logger": dict, "batcher": dict, "labels": dict, "annotations": dict,
    "deploymentStrategy": dict,
}  # fmt: skip


def check_inference_service(manifest: dict[str, Any], version: str) -> None:
    assert (manifest["apiVersion"], set(manifest["spec"])) == ("serving.kserve.io/v1beta1", {"predictor"})
    predictor = manifest["spec"]["predictor"]
    own = {name: value for name, value in predictor.items() if name in OF_A_COMPONENT}
    assert [name for name, value in own.items() if type(value) is not OF_A_COMPONENT[name]] == []
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": manifest["metadata"]}
    pod["spec"] = {name: value for name, value in predictor.items() if name not in own}
    kubernetes_validate.validate(pod, version, strict=True)
    assert set(manifest) == {"apiVersion", "kind", "metadata", "spec"}
    assert [container["name"] for container in predictor["containers"]] == ["kserve-container"]


def test_the_schemas_find_faults():
    broken = named(render({}), "Deployment", "roomseg-mlflow")
    broken["spec"]["replicsa"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES[0], strict=True)


@pytest.mark.parametrize(
    "change", [{"minReplica": 1}, {"minReplicas": "1"}, {"volumes": [{"name": "tmp", "emptyDri": {}}]}, {"model": {}}]
)
def test_the_schemas_find_faults_in_an_inference_service(change):
    service = named(render({"serving": {"enabled": True}}), "InferenceService", "roomseg")
    check_manifest(service, KUBERNETES[0])
    service["spec"]["predictor"].update(change)
    with pytest.raises((kubernetes_validate.ValidationError, AssertionError)):
        check_manifest(service, KUBERNETES[0])


def test_no_two_manifests_are_the_same(manifests):
    names = [(m["kind"], m["metadata"]["name"]) for m in manifests]
    assert len(names) == len(set(names))


def test_pods_are_nobody_special_and_bounded(manifests):
    for pod in pods(manifests):
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["runAsUser"] > 0
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert set(container["resources"]) == {"requests", "limits"}
            assert {"readinessProbe", "livenessProbe"} <= set(container)


def test_secrets_come_from_secrets_alone(manifests):
    """No environment variable, argument or config map holds a key, a password or an address with one."""
    secret_words = ("KEY", "PASSWORD", "TOKEN", "SECRET", "DATABASE_URI")
    for pod in pods(manifests):
        for variable in (v for container in pod["containers"] for v in container["env"]):
            if any(word in variable["name"] for word in secret_words):
                assert set(variable["valueFrom"]) == {"secretKeyRef"}, variable["name"]
    values = [v for m in manifests if m["kind"] == "Secret" for v in m["stringData"].values()]
    others = "\n".join(yaml.safe_dump(m) for m in manifests if m["kind"] != "Secret")
    assert [value for value in values if value in others] == []


def test_what_pods_read_is_there(manifests):
    """Secrets that the chart's pods name are those of the chart or those that the values name."""
    made = {m["metadata"]["name"] for m in manifests if m["kind"] == "Secret"} | {"keys", "db"}
    for pod in pods(manifests):
        for variable in (v for container in pod["containers"] for v in container["env"]):
            source = variable.get("valueFrom", CPU_LIMIT)
            assert source == CPU_LIMIT or source["secretKeyRef"]["name"] in made


def test_selectors_meet_their_pods(manifests):
    running = [m for m in manifests if m["kind"] in ("Deployment", "StatefulSet")]
    labels = [m["spec"]["template"]["metadata"]["labels"] for m in running]
    for manifest in manifests:
        if manifest["kind"] == "Service":
            wanted = manifest["spec"]["selector"].items()
        elif manifest["kind"] == "NetworkPolicy":
            wanted = manifest["spec"]["podSelector"]["matchLabels"].items()
        else:
            continue
        assert sum(wanted <= each.items() for each in labels) == 1, manifest["metadata"]["name"]


def test_with_a_role_no_keys_are_asked_for():
    manifests = render(VALUES["AWS"])
    account = named(manifests, "ServiceAccount", "roomseg")
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] == AWS["serviceAccount"]["roleArn"]
    (container,) = named(manifests, "Deployment", "roomseg-mlflow")["spec"]["template"]["spec"]["containers"]
    assert not any(variable["name"].startswith("AWS_ACCESS") for variable in container["env"])
    assert not any(m["kind"] == "StatefulSet" for m in manifests)
    providers = yaml.safe_load(named(manifests, "ConfigMap", "kfp-launcher")["data"]["providers"])
    assert providers["s3"]["default"]["credentials"] == {"fromEnv": True}


@pytest.mark.parametrize(
    ("labels", "chosen"),
    [
        ({"workflows.argoproj.io/workflow": "roomseg-x1"}, True),
        ({JOBSET_NAME: train_job("teacher", "0" * 20, {"trainer": {"env": []}}, "")["metadata"]["name"]}, True),
        ({JOBSET_NAME: "of-somebody-else"}, False),
        ({"app.kubernetes.io/name": "mlflow"}, False),
        (None, False),
    ],
)
def test_pods_of_pipelines_and_of_their_train_jobs_get_the_priority(labels, chosen):
    policy = named(render({"priority": {"enabled": True}}), "MutatingAdmissionPolicy", "roomseg-perception")
    (condition,) = policy["spec"]["matchConditions"]
    assert "objectSelector" not in policy["spec"]["matchConstraints"]
    assert as_cel(condition["expression"], labels) == chosen


def as_cel(expression: str, labels: dict[str, str] | None) -> bool:
    """Of CEL what is nearly Python: ``in``, brackets, ``startsWith``, ``&&``, ``||`` and ``has(labels)``."""
    words = {"has(object.metadata.labels)": "labels is not None", "object.metadata.labels": "labels"}
    for cel, python in {**words, "&&": "and", "||": "or", ".startsWith(": ".startswith("}.items():
        expression = expression.replace(cel, python)
    return eval(expression, {"__builtins__": {}}, {"labels": labels})


def test_a_served_model_comes_from_an_mlflow_that_is_there():
    def tracking_uri(values: dict[str, Any]) -> str:
        (container,) = named(render(values), "InferenceService", "roomseg")["spec"]["predictor"]["containers"]
        return {each["name"]: each.get("value") for each in container["env"]}["MLFLOW_TRACKING_URI"]

    elsewhere = {"enabled": True, "trackingUri": "https://mlflow.example.org"}
    assert tracking_uri({"serving": {"enabled": True}}) == "http://roomseg-mlflow:5000"
    assert tracking_uri({"serving": elsewhere, "mlflow": {"enabled": False}}) == "https://mlflow.example.org"
    with pytest.raises(helm_python.HelmError, match=r"serving\.trackingUri"):
        render({"serving": {"enabled": True}, "mlflow": {"enabled": False}})


def test_mlflow_answers_under_every_name_of_its_service():
    (container,) = named(render({}), "Deployment", "roomseg-mlflow")["spec"]["template"]["spec"]["containers"]
    (told,) = re.findall("--allowed-hosts '([^']*)'", container["args"][0])
    for end in ("", ".perception", ".perception.svc", ".perception.svc.cluster.local"):
        assert f"roomseg-mlflow{end}:5000" in told.split(","), told
    assert {"localhost:5000", "127.0.0.1:5000"} < set(told.split(","))


@pytest.mark.parametrize("values", [*VALUES.values(), {"s3": {"endpoint": "https://s3.example.org"}}])
def test_the_notes_hold_a_cluster_file_that_is_taken(values):
    with helm_python.Chart.load(CHART) as chart:
        rendered = chart.render(values, name="roomseg", namespace="perception")
    (notes,) = (text for path, text in rendered.items() if path.endswith("NOTES.txt"))
    table = [line for line in notes.splitlines() if re.match(r"  (\[pods|secrets|env)", line)]
    pods = ClusterConfig.model_validate(tomllib.loads("\n".join(table))).pods
    assert set(pods) <= {"all"}
    assert ("env" in pods.get("all", {})) == ("s3.example.org" in notes or "object-store" in notes)


def test_the_model_server_has_as_many_threads_as_cores():
    (service,) = [each for each in render({"serving": {"enabled": True}}) if each["kind"] == "InferenceService"]
    (container,) = service["spec"]["predictor"]["containers"]
    given = {each["name"]: each.get("valueFrom") for each in container["env"]}
    assert given["OMP_NUM_THREADS"] == given["NUMBA_NUM_THREADS"] == CPU_LIMIT
    assert "cpu" in container["resources"]["limits"]


def test_the_launcher_finds_the_object_store():
    launcher = named(render(VALUES["no S3"]), "ConfigMap", "kfp-launcher")
    default = yaml.safe_load(launcher["data"]["providers"])["s3"]["default"]
    assert default == {
        "endpoint": "roomseg-object-store.perception.svc:8333",
        "region": "us-east-1",
        "disableSSL": True,
        "forcePathStyle": True,
        "credentials": {
            "fromEnv": False,
            "secretRef": {
                "secretName": "roomseg-object-store",
                "accessKeyKey": "AWS_ACCESS_KEY_ID",
                "secretKeyKey": "AWS_SECRET_ACCESS_KEY",
            },
        },
    }


def test_rights_are_no_more_than_what_is_switched_on():
    def groups(values: dict[str, Any]) -> set[str]:
        rules = named(render(values), "Role", "roomseg-pipeline")["rules"]
        return {group for rule in rules for group in rule["apiGroups"]}

    assert groups({}) == {"", "argoproj.io"}
    assert groups({"rbac": {"trainJobs": True}}) == {"", "argoproj.io", "trainer.kubeflow.org"}
    rules = named(render({"rbac": {"trainJobs": True}}), "Role", "roomseg-pipeline")["rules"]
    verbs = [(rule["resources"], rule["verbs"]) for rule in rules]
    assert (["trainjobs"], ["create", "get", "delete"]) in verbs
    assert (["pods"], ["list"]) in verbs


@pytest.mark.parametrize("train_jobs", [False, True])
def test_the_chart_gives_what_the_doctor_asks_for(train_jobs):
    rules = named(render({"rbac": {"trainJobs": train_jobs}}), "Role", "roomseg-pipeline")["rules"]

    def given(right: Right) -> bool:
        """As Kubernetes decides: a rule for named objects holds only where that name is asked for."""
        return any(
            right.group in rule["apiGroups"]
            and right.resource in rule["resources"]
            and right.verb in rule["verbs"]
            and right.name in rule.get("resourceNames", [right.name])
            for rule in rules
        )

    assert all(map(given, NEEDED))
    assert all(map(given, NEEDED_BY_TRAIN_JOBS)) == train_jobs


def test_the_database_is_for_mlflow_alone():
    policy = named(render({}), "NetworkPolicy", "roomseg-postgresql")
    (rule,) = policy["spec"]["ingress"]
    (peer,) = rule["from"]
    assert peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "mlflow"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mlfow": {}}, "mlfow"),
        ({"mlflow": {"replicas": 0}}, "replicas"),
        ({"s3": {"store": "/data"}}, "store"),
        ({"serviceAccount": {"roleArn": "admin"}}, "roleArn"),
        ({"mlflow": {"image": "mlflow"}}, "image"),
        ({"priority": {"apiVersion": "v1"}}, "apiVersion"),
    ],
)
def test_values_that_do_not_fit_are_refused(values, words):
    with helm_python.Chart.load(CHART) as chart, pytest.raises(helm_python.HelmValuesError, match=words):
        chart.validate_schema(values)


def test_lint():
    result = helm_python.lint(CHART)
    assert [message for message in result["messages"] if message["severity"] > 1] == []


def test_the_readme_is_of_these_values():
    before = (CHART / "README.md").read_text()
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'scripts')!r})\nfrom helm_docs import *\n"
    code += "print(chart_readme((CHART / 'values.yaml').read_text()), end='')"
    now = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert now == before, "run `python scripts/helm_docs.py`"
