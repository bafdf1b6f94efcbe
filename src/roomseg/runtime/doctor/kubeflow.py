"""The cluster: the KFP server and what it lets us do, rights in the namespace, retries of preempted pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

import yaml

from roomseg.cluster import KfpServer
from roomseg.errors import UserError
from roomseg.runtime.doctor.lines import Line
from roomseg.runtime.kfp_api import Get, kfp_api
from roomseg.runtime.kubeconfig import KubernetesApi
from roomseg.runtime.web import Refused, Silent


class Right(NamedTuple):
    group: str
    resource: str
    verb: str
    name: str = ""  # a right to one object only is none to all of them


NEEDED = (  # by the pods of a run
    Right("argoproj.io", "workflowtaskresults", "create"),
    Right("", "configmaps", "get", "kfp-launcher"),
    Right("", "pods", "get"),
)
NEEDED_BY_TRAIN_JOBS = (  # where a stage trains on several nodes
    Right("trainer.kubeflow.org", "trainjobs", "create"),
    Right("trainer.kubeflow.org", "trainjobs", "get"),
    Right("trainer.kubeflow.org", "trainjobs", "delete"),
    Right("", "pods", "list"),
)
CONTROLLER = "workflow-controller-configmap"
RETRY = "set workflowDefaults.spec.templateDefaults.retryStrategy.retryPolicy: Always there (docs/cluster.md)"


def kfp(server: KfpServer) -> Iterator[Line]:
    """Raises ``UserError`` for a token or a kubeconfig that is not to be used."""
    if not server.host and not server.kubeconfig:
        yield Line("WARN", "KFP", "no address", "give --host, or kfp.host in the cluster's file")
        return
    where, get = server.host or f"that of {server.kubeconfig}", kfp_api(server)
    try:
        health = get("/healthz")
    except Silent as error:
        yield Line("FAIL", "KFP", f"{where}: no KFP server answers ({error})", "check the address and the network")
        return
    except Refused as error:
        yield Line("FAIL", "KFP", f"{where}: {error}", _remedy(server, error.status))
        return
    version = health.get("tag_name") or "of unknown version"
    users = "for several users" if health.get("multi_user") else "for one user"
    yield Line("OK", "KFP", f"{where}: {version}, {users}")
    yield _runs(get, server)


def _runs(get: Get, server: KfpServer) -> Line:
    query = urlencode({"page_size": 1, **({"namespace": server.namespace} if server.namespace else {})})
    where = f"in namespace {server.namespace}" if server.namespace else "of the server"
    try:
        get(f"/runs?{query}")
    except Refused as error:
        return Line("FAIL", "KFP rights", f"runs {where}: {error}", _remedy(server, error.status))
    except Silent as error:
        return Line("FAIL", "KFP rights", f"runs {where}: {error}", "look at the server's log")
    return Line("OK", "KFP rights", f"runs {where} can be listed")


def _remedy(server: KfpServer, status: int) -> str:
    if status == 401:
        return "give a valid token by --token or KFP_TOKEN" if server.host else "renew the kubeconfig's credentials"
    if status == 403 and server.host:
        return "ask for the role kubeflow-edit in the namespace, or name another by --namespace"
    if status == 403:
        return f"ask for the right to services/proxy in namespace {server.kfp_namespace}, or give --host"
    if status < 500:
        return "is this the address of a KFP v2 API server?" if server.host else "is kfp.kfp_namespace that of KFP?"
    return "look at the server's pods and log"


def cluster(server: KfpServer, train_jobs: bool) -> Iterator[Line]:
    """What only the cluster's own API tells; raises ``UserError`` for a kubeconfig that is not to be used."""
    if not server.kubeconfig:
        yield Line("WARN", "cluster", "no kubeconfig: rights and retries are not checked", "give --kubeconfig")
        return
    api = KubernetesApi(server.kubeconfig, server.kube_context)
    yield _rights(api, server, NEEDED, "rbac.create=true")
    if train_jobs:
        yield _rights(api, server, NEEDED_BY_TRAIN_JOBS, "rbac.trainJobs=true")
    yield _retries(api, server)


def _rights(api: KubernetesApi, server: KfpServer, needed: Sequence[Right], chart_value: str) -> Line:
    namespace, account = server.namespace or server.kfp_namespace, server.service_account or "pipeline-runner"
    user = f"system:serviceaccount:{namespace}:{account}"
    missing = []
    for right in needed:
        attributes = {"namespace": namespace, **{key: value for key, value in right._asdict().items() if value}}
        review = {"spec": {"user": user, "resourceAttributes": attributes}}
        answer = _call(api, "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        if answer is None:
            return Line("WARN", "rights", f"we may not ask what {user} may do", "ask an administrator")
        if not _table(answer, "status").get("allowed"):
            missing.append(f"{right.verb} {right.resource}")
    if missing:
        return Line("FAIL", "rights", f"{user} may not {', '.join(missing)}", f"install the chart with {chart_value}")
    return Line("OK", "rights", f"{user} may {', '.join(f'{right.verb} {right.resource}' for right in needed)}")


def _retries(api: KubernetesApi, server: KfpServer) -> Line:
    """KFP's own retries do not count a pod that was evicted: Argo must be told to."""
    where = f"{CONTROLLER} in {server.kfp_namespace}"
    found = _call(api, "GET", f"/api/v1/namespaces/{server.kfp_namespace}/configmaps/{CONTROLLER}")
    if found is None:
        return Line("WARN", "retries", f"{where} cannot be read", "ask an administrator for retryPolicy: Always")
    if _retry_policy(_table(found, "data")) == "Always":
        return Line("OK", "retries", f"{where} has retryPolicy: Always")
    return Line("WARN", "retries", f"{where} has no retryPolicy: Always: preempted pods are not tried again", RETRY)


def _retry_policy(data: Mapping[str, Any]) -> Any:
    """That of every step. The controller reads its settings from keys of their own, or all of them from ``config``."""
    defaults = data.get("workflowDefaults") or _table(_parsed(data.get("config")), "workflowDefaults")
    spec = _table(_parsed(defaults), "spec")
    return _table(_table(spec, "templateDefaults"), "retryStrategy").get("retryPolicy")


def _parsed(text: Any) -> Any:
    try:
        return yaml.safe_load(text) if isinstance(text, str) else text
    except yaml.YAMLError:
        return None


def _table(values: Any, name: str) -> dict[str, Any]:
    """A table in another; empty where there is none, or something else: what servers tell may have any shape."""
    found = values.get(name) if isinstance(values, dict) else None
    return found if isinstance(found, dict) else {}


def _call(api: KubernetesApi, method: str, path: str, body: Any = None) -> dict[str, Any] | None:
    """The answer, or None where we may not; raises ``UserError`` if the cluster does not answer."""
    try:
        return api.ask(method, path, body)
    except Refused as error:
        if error.status in (401, 403, 404):
            return None
        raise UserError(f"cluster: the API server answers {error}; look at the cluster") from None
    except Silent as error:
        raise UserError(f"cluster: no API server answers ({error}); check the kubeconfig") from None
