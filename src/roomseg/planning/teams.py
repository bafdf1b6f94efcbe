"""How many GPUs and nodes of a training take part in it: they share the batches of a step (``accumulate``)."""

from __future__ import annotations

from collections.abc import Iterator

from roomseg.cluster import TRAINING, ClusterConfig, Pod
from roomseg.config import PipelineConfig
from roomseg.planning.sizes import trained_with
from roomseg.processes import that_share


def busy(stage: str, config: PipelineConfig, pod: Pod) -> int:
    """Processes that compute. On one node the most that share the batches evenly, on several all or none."""
    there = max(1, pod.gpus) * pod.nodes
    if stage not in TRAINING:
        return 1
    return there if pod.nodes > 1 else that_share(trained_with(stage, config).accumulate, there)


def unshared(config: PipelineConfig, cluster: ClusterConfig) -> Iterator[str]:
    """Sentences on GPUs that would be idle, and on nodes that would fail."""
    for stage in TRAINING:
        pod, batches = cluster.pod(stage), trained_with(stage, config).accumulate
        there, size = max(1, pod.gpus) * pod.nodes, busy(stage, config, pod)
        if batches % size:
            yield (
                f"{stage} will fail: its {pod.nodes} nodes have {there} processes, which cannot share "
                f"evenly the {batches} batches of a step; --set {stage}.accumulate={there} or a multiple of it"
            )
        elif size < there:
            yield (
                f"{stage} asks for {there} GPUs and uses {size}, for {stage}.accumulate is {batches}: "
                f"--set {stage}.accumulate={there} or a multiple of it"
            )
