"""The MLflow server of a submission, as its pods will find it."""

from __future__ import annotations

from urllib.parse import urlsplit

from roomseg.cluster import TASKS, ClusterConfig, Pod
from roomseg.errors import UsageError, one_line

VARIABLE = "MLFLOW_TRACKING_URI"
_HERE = ("localhost", "127.0.0.1", "::1")


def check_tracking_uri(uri: str) -> None:
    """Raises ``UsageError`` for a file of this machine, which no pod has."""
    try:
        scheme = urlsplit(uri).scheme
    except ValueError as error:
        raise UsageError(f"--tracking-uri is no address ({error})") from None
    if uri and (scheme in ("file", "sqlite") or (not scheme and uri != "databricks")):
        raise UsageError(
            f"--submit with --tracking-uri (or {VARIABLE}) {uri}: the pods do not have this file; "
            "give a server's address in the cluster, such as http://roomseg-mlflow.NAMESPACE.svc:5000"
        )


def doubt(cluster: ClusterConfig, uri: str) -> str:
    """Why the stages will hardly reach MLflow; empty if nothing speaks against it."""
    if urlsplit(uri).hostname in _HERE:
        return one_line(f"in a pod {uri} is the pod itself: give the server's address in the cluster")
    if uri or all(_told(cluster.pod(task)) for task in TASKS if task != "finish"):
        return ""
    return f"no --tracking-uri, and no {VARIABLE} in the env of every pod: unless your cluster sets it, stages fail"


def _told(pod: Pod) -> bool:
    return VARIABLE in pod.env or any(VARIABLE in secret.env.values() for secret in pod.secrets)
