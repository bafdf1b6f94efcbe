"""The KFP API by plain requests: at its host, or through the cluster's API where only a kubeconfig is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from roomseg.cluster import KfpServer
from roomseg.runtime.kubeconfig import KubernetesApi
from roomseg.runtime.web import bearer, get_json

ROOT = "/apis/v2beta1"
Get = Callable[[str], dict[str, Any]]  # of a path, such as /healthz; raises ``Refused`` and ``Silent``


def kfp_api(server: KfpServer) -> Get:
    """Raises ``UsageError`` for a kubeconfig or a token that is not to be used."""
    if server.host:
        root, headers = f"{server.host.rstrip('/')}{ROOT}", bearer(server.token)
        return lambda path: get_json(f"{root}{path}", headers)
    assert server.kubeconfig is not None
    api = KubernetesApi(server.kubeconfig, server.kube_context)
    proxy = f"/api/v1/namespaces/{server.kfp_namespace}/services/ml-pipeline:http/proxy{ROOT}"
    return lambda path: api.ask("GET", f"{proxy}{path}")
