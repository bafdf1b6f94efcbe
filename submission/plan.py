"""What ``--submit`` is about to send, for a person to read."""

from __future__ import annotations

from roomseg.cluster import TASKS, ClusterConfig, Pod
from roomseg.comparisons import comparisons
from roomseg.config import SECTIONS, PipelineConfig
from roomseg.errors import one_line
from roomseg.figures import aligned
from submission.tracking import VARIABLE, doubt

COLUMNS = ("task", "pods", "cpu", "memory", "GPUs", "scratch", "/dev/shm", "retries", "node", "secrets")


def describe_submission(
    config: PipelineConfig, cluster: ClusterConfig, store: str, tracking_uri: str, run_name: str
) -> str:
    kfp = cluster.kfp
    facts = {
        "server": kfp.host or f"that of {kfp.kubeconfig}",
        "namespace": kfp.namespace or "the server's own",
        "experiment": kfp.experiment,
        "run": run_name,
        "account": kfp.service_account or "the server's default",
        "store": store,
        "MLflow": doubt(cluster, tracking_uri) or one_line(tracking_uri) or f"{VARIABLE} of the pods",
        "render": cluster.images.render,
        "train": cluster.images.train,
    }
    lines = [f"{name:<11}{value}" for name, value in facts.items()]
    lines += ["", *aligned([COLUMNS, *_pods(config, cluster)]), ""]
    lines += [f"{name:<11}{config.section(name).model_dump_json()}" for name in SECTIONS]
    return "\n".join(lines)


def _pods(config: PipelineConfig, cluster: ClusterConfig) -> list[tuple[str, ...]]:
    tasks = [task for task in TASKS if task != "render_part" or cluster.render.shards > 1]
    return [(task, _count(config, cluster, task), *_row(cluster.pod(task))) for task in tasks]


def _count(config: PipelineConfig, cluster: ClusterConfig, task: str) -> str:
    if task == "render_part":
        return f"{cluster.render.shards}, {cluster.render.parallelism} at a time"
    return str(1 + sum(each.stage == task for each in comparisons(config)))


def _row(pod: Pod) -> tuple[str, ...]:
    node = ", ".join(f"{key}={value}" for key, value in pod.node_selector.items())
    secrets = ", ".join(secret.name for secret in pod.secrets)
    return (
        pod.cpu,
        pod.memory,
        str(pod.gpus),
        pod.scratch,
        pod.shm or "-",
        str(pod.retries),
        node or "-",
        secrets or "-",
    )
