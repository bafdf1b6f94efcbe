"""A stage's ``Pod`` onto its KFP task."""

from __future__ import annotations

import json

from kfp import dsl, kubernetes

from roomseg.cluster import Pod
from roomseg.runtime.train_job import TRAIN_JOB
from submission.images import IMAGE_USER, SCRATCH
from submission.train_job import train_job_spec

# KFP counts the limit from a task's first start and takes an hour if nothing is said: a pod that is preempted after
# that would never be tried again.
RETRY_FOR = "14d"

# The pod that only makes and watches a TrainJob.
WATCHER = {"cpu": "1", "memory": "4Gi", "gpus": 0, "shm": None, "node_selector": {}}


def place(task: dsl.PipelineTask, pod: Pod, image: str, service_account: str | None) -> dsl.PipelineTask:
    """Resources, node, volumes, environment and retries of a task. The task's own result does not depend on them."""
    if pod.nodes > 1:
        spec = train_job_spec(pod, image, _variables(pod), service_account)
        task.set_env_variable(TRAIN_JOB, json.dumps(spec))
        pod = pod.model_copy(update=WATCHER)
    task.set_retry(pod.retries, backoff_duration="60s", backoff_factor=2.0, backoff_max_duration=RETRY_FOR)
    _resources(task, pod)
    _node(task, pod)
    _volumes(task, pod)
    _environment(task, pod)
    kubernetes.set_security_context(task, run_as_user=IMAGE_USER, run_as_group=IMAGE_USER, run_as_non_root=True)
    for key, value in pod.labels.items():
        kubernetes.add_pod_label(task, key, value)
    return task


def _resources(task: dsl.PipelineTask, pod: Pod) -> None:
    task.set_cpu_request(pod.cpu).set_cpu_limit(pod.cpu)
    task.set_memory_request(pod.memory).set_memory_limit(pod.memory)
    if pod.gpus:
        task.set_accelerator_type(pod.gpu_resource).set_accelerator_limit(pod.gpus)


def _node(task: dsl.PipelineTask, pod: Pod) -> None:
    for key, value in pod.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in pod.tolerations:
        kubernetes.add_toleration(task, toleration.key, toleration.operator, toleration.value, toleration.effect)


def _volumes(task: dsl.PipelineTask, pod: Pod) -> None:
    if pod.scratch_class is None:
        kubernetes.empty_dir_mount(task, "scratch", SCRATCH, size_limit=pod.scratch)
    else:
        modes = ["ReadWriteOnce"]
        kubernetes.add_ephemeral_volume(task, "scratch", SCRATCH, modes, pod.scratch, pod.scratch_class)
    if pod.shm is not None:
        kubernetes.empty_dir_mount(task, "shm", "/dev/shm", medium="Memory", size_limit=pod.shm)


def _variables(pod: Pod) -> dict[str, str]:
    caches = {"ROOMSEG_CACHE_DIR": SCRATCH, "NUMBA_CACHE_DIR": f"{SCRATCH}/numba", "TMPDIR": SCRATCH}
    if pod.scratch_class is None:
        caches["ROOMSEG_CACHE_GB"] = f"{pod.cache_gb:.3g}"
    return {**caches, **pod.env}


def _environment(task: dsl.PipelineTask, pod: Pod) -> None:
    for name, value in _variables(pod).items():
        task.set_env_variable(name, value)
    for secret in pod.secrets:
        kubernetes.use_secret_as_env(task, secret.name, secret.env)
