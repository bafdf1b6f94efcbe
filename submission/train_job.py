"""What a stage on several nodes asks of Kubeflow Trainer: the ``spec`` of its TrainJob, without what the nodes do."""

from __future__ import annotations

from typing import Any

from roomseg.cluster import Pod
from submission.images import IMAGE_USER, SCRATCH

MANAGER = "roomseg.io/pipeline"  # owner of our patch of the runtime
CONTAINER = "node"  # of the torch runtimes: the replicated job and its container


def train_job_spec(pod: Pod, image: str, environment: dict[str, str], service_account: str | None) -> dict[str, Any]:
    """``pod`` is that of each node; ``environment`` has its variables, secrets aside."""
    amounts = {"cpu": pod.cpu, "memory": pod.memory, **({pod.gpu_resource: str(pod.gpus)} if pod.gpus else {})}
    trainer = {
        "numNodes": pod.nodes,
        "image": image,
        "command": ["torchrun", "--max-restarts=0", "-m", "roomseg.runtime.team_member"],
        "env": [{"name": name, "value": value} for name, value in environment.items()] + _secrets(pod),
        "resourcesPerNode": {"requests": amounts, "limits": amounts},
    }
    template = {"metadata": {"labels": pod.labels}, "spec": _pod_patch(pod, service_account)}
    jobs = [{"name": CONTAINER, "template": {"spec": {"template": template}}}]
    patch = {"manager": MANAGER, "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": jobs}}}}
    return {"runtimeRef": {"name": pod.runtime}, "trainer": trainer, "runtimePatches": [patch]}


def _secrets(pod: Pod) -> list[dict[str, Any]]:
    return [
        {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": key}}}
        for secret in pod.secrets
        for key, variable in secret.env.items()
    ]


def _pod_patch(pod: Pod, service_account: str | None) -> dict[str, Any]:
    mounts = [{"name": "scratch", "mountPath": SCRATCH}]
    volumes: list[dict[str, Any]] = [{"name": "scratch", **_scratch(pod)}]
    if pod.shm is not None:
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": pod.shm}})
    user = {"runAsUser": IMAGE_USER, "runAsGroup": IMAGE_USER, "fsGroup": IMAGE_USER, "runAsNonRoot": True}
    return {
        "nodeSelector": pod.node_selector,
        "tolerations": [toleration.model_dump(exclude_none=True) for toleration in pod.tolerations],
        "securityContext": user,
        "volumes": volumes,
        "containers": [{"name": CONTAINER, "volumeMounts": mounts}],
        **({"serviceAccountName": service_account} if service_account else {}),
    }


def _scratch(pod: Pod) -> dict[str, Any]:
    if pod.scratch_class is None:
        return {"emptyDir": {"sizeLimit": pod.scratch}}
    claim = {"accessModes": ["ReadWriteOnce"], "storageClassName": pod.scratch_class}
    asked = {"resources": {"requests": {"storage": pod.scratch}}}
    return {"ephemeral": {"volumeClaimTemplate": {"spec": {**claim, **asked}}}}
