"""The cluster: the KFP server and what it lets us do, rights in the namespace, retries of preempted pods."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from roomseg.cluster import KfpServer
from roomseg.errors import UserError
from roomseg.runtime.doctor.lines import Line
from roomseg.runtime.doctor.web import Refused, Silent, bearer, get_json


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
    if not server.host:
        yield Line("WARN", "KFP", "no address", "give --host, or kfp.host in the cluster's file")
        return
    root, headers = f"{server.host.rstrip('/')}/apis/v2beta1", bearer(server.token)
    try:
        health = get_json(f"{root}/healthz", headers)
    except Silent as error:
        yield Line(
            "FAIL", "KFP", f"{server.host}: no KFP server answers ({error})", "check the address and the network"
        )
        return
    except Refused as error:
        yield Line("FAIL", "KFP", f"{server.host}: {error}", _refusal(error.status))
        return
    version = (health or {}).get("tag_name") or "of unknown version"
    users = "for several users" if (health or {}).get("multi_user") else "for one user"
    yield Line("OK", "KFP", f"{server.host}: {version}, {users}")
    yield _runs(root, headers, server.namespace)


def _runs(root: str, headers: dict[str, str], namespace: str | None) -> Line:
    query = urlencode({"page_size": 1, **({"namespace": namespace} if namespace else {})})
    where = f"in namespace {namespace}" if namespace else "of the server"
    try:
        get_json(f"{root}/runs?{query}", headers)
    except Refused as error:
        return Line("FAIL", "KFP rights", f"runs {where}: {error}", _refusal(error.status))
    except Silent as error:
        return Line("FAIL", "KFP rights", f"runs {where}: {error}", "look at the server's log")
    return Line("OK", "KFP rights", f"runs {where} can be listed")


def _refusal(status: int) -> str:
    if status == 401:
        return "give a valid token by --token or KFP_TOKEN"
    if status == 403:
        return "ask for the role kubeflow-edit in the namespace, or name another by --namespace"
    return "is this the address of a KFP v2 API server?"


def cluster(server: KfpServer, train_jobs: bool) -> Iterator[Line]:
    """What only the cluster's own API tells; raises ``UserError`` for a kubeconfig that is not to be used."""
    if not server.kubeconfig:
        yield Line("WARN", "cluster", "no kubeconfig: rights and retries are not checked", "give --kubeconfig")
        return
    api = _kubernetes(server)
    yield _rights(api, server, NEEDED, "rbac.create=true")
    if train_jobs:
        yield _rights(api, server, NEEDED_BY_TRAIN_JOBS, "rbac.trainJobs=true")
    yield _retries(api, server)


def _kubernetes(server: KfpServer) -> Any:
    from kubernetes import client, config
    from kubernetes.config.config_exception import ConfigException

    path = Path(server.kubeconfig or "").expanduser()
    settings = client.Configuration()
    try:
        config.load_kube_config(str(path), context=server.kube_context, client_configuration=settings)
    except (ConfigException, OSError) as error:
        raise UserError(f"kubeconfig {path}: {error}; give another by --kubeconfig") from None
    settings.retries = 1
    return client.ApiClient(settings)


def _rights(api: Any, server: KfpServer, needed: Sequence[Right], chart_value: str) -> Line:
    namespace, account = server.namespace or server.kfp_namespace, server.service_account or "pipeline-runner"
    user = f"system:serviceaccount:{namespace}:{account}"
    missing = []
    for right in needed:
        attributes = {"namespace": namespace, **{key: value for key, value in right._asdict().items() if value}}
        review = {"spec": {"user": user, "resourceAttributes": attributes}}
        answer = _call(api, "POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        if answer is None:
            return Line("WARN", "rights", f"we may not ask what {user} may do", "ask an administrator")
        if not answer["status"]["allowed"]:
            missing.append(f"{right.verb} {right.resource}")
    if missing:
        return Line("FAIL", "rights", f"{user} may not {', '.join(missing)}", f"install the chart with {chart_value}")
    return Line("OK", "rights", f"{user} may {', '.join(f'{right.verb} {right.resource}' for right in needed)}")


def _retries(api: Any, server: KfpServer) -> Line:
    """KFP's own retries do not count a pod that was evicted: Argo must be told to."""
    where = f"{CONTROLLER} in {server.kfp_namespace}"
    found = _call(api, "GET", f"/api/v1/namespaces/{server.kfp_namespace}/configmaps/{CONTROLLER}")
    if found is None:
        return Line("WARN", "retries", f"{where} cannot be read", "ask an administrator for retryPolicy: Always")
    text = "\n".join((found.get("data") or {}).values())
    if "retryPolicy" in text and "Always" in text:
        return Line("OK", "retries", f"{where} has retryPolicy: Always")
    return Line("WARN", "retries", f"{where} has no retryPolicy: Always: preempted pods are not tried again", RETRY)


def _call(api: Any, method: str, path: str, body: Any = None) -> Any:
    """The answer, or None where we may not; raises ``UserError`` if the cluster does not answer."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        answer = api.call_api(
            path, method, body=body, auth_settings=["BearerToken"], _preload_content=False, _request_timeout=15,
            header_params={"Accept": "application/json", "Content-Type": "application/json"},
        )[0]  # fmt: skip
    except ApiException as error:
        if error.status in (401, 403, 404):
            return None
        raise UserError(f"cluster: the API server answers {error.status} {error.reason}; look at the cluster") from None
    except HTTPError as error:
        raise UserError(f"cluster: no API server answers ({type(error).__name__}); check the kubeconfig") from None
    return json.loads(answer.data)
