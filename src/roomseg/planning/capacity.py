"""Can a quota and pools of nodes hold what the pods of a run ask for, one by one and side by side?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from roomseg.cluster import ClusterConfig, Pod, Pool, quantity
from roomseg.comparisons import comparisons
from roomseg.config import PipelineConfig

RESOURCES = ("cpu", "memory", "gpus")
_FORMAT = {"cpu": "{:g} CPUs", "memory": "{:.4g} GB of memory", "gpus": "{:g} GPUs"}


class Ask(NamedTuple):
    """Pods of one task that run at the same time."""

    task: str
    pod: Pod
    pods: int
    together: bool  # all of them or none: a TrainJob


def at_a_time(config: PipelineConfig, cluster: ClusterConfig) -> list[list[Ask]]:
    """What may run side by side, by the pipeline's arrows."""
    compared = [(each.task, each.stage) for each in comparisons(config)]
    parts = cluster.render

    def alone(task: str) -> list[Ask]:
        return [Ask(task, cluster.pod(task), 1, False)]

    rooms = [alone("render")]
    if parts.shards > 1:
        at_once = min(parts.shards, parts.parallelism)
        rooms = [[Ask("render_part", cluster.pod("render_part"), at_once, False)], *rooms]  # then they are collected
    pretrained = [(task, stage) for task, stage in compared if stage == "pretrain"]
    distilled = [(task, stage) for task, stage in compared if stage == "distill"]
    first = [("teacher", "teacher"), ("pretrain", "pretrain"), *pretrained]
    then = [("distill", "distill"), *distilled, *pretrained]  # which need the rooms alone, and may be at it still
    return [
        *rooms,
        *([_training(task, cluster.pod(stage)) for task, stage in tasks] for tasks in (first, then)),
        *(alone(task) for task in ("evaluate", "gate", "register", "finish")),
    ]


def shortages(config: PipelineConfig, cluster: ClusterConfig) -> list[str]:
    """Sentences on what can never start, and on what has to wait for others."""
    asked, quota = at_a_time(config, cluster), cluster.quota
    limits = {"cpu": quota.cpu, "memory": quota.memory, "gpus": quota.gpus}
    known = {name: quantity(str(limit)) for name, limit in limits.items() if limit is not None}
    found = [text for asks in asked for text in _above("the quota", asks, known)]
    if quota.pools:
        found += [text for asks in asked for ask in asks for text in _homeless(ask, quota.pools)]
        for name, pool in quota.pools.items():
            there = [[ask for ask in asks if list(_homes(ask.pod, quota.pools)) == [name]] for asks in asked]
            total = {resource: pool.nodes * amount for resource, amount in _of_node(pool).items()}
            found += [text for asks in there for text in _above(f"the pool {name}", asks, total)]
    return list(dict.fromkeys(found))


def _training(task: str, pod: Pod) -> Ask:
    return Ask(task, pod, pod.nodes, pod.nodes > 1)


def _above(holder: str, asks: list[Ask], limits: Mapping[str, float]) -> Iterator[str]:
    for name, limit in limits.items():
        never = [ask for ask in asks if _at_once(ask, name) > limit]
        for ask in never:
            wants, has = (_FORMAT[name].format(_shown(name, n)) for n in (_at_once(ask, name), limit))
            yield f"{ask.task} asks for {wants}, {holder} has {has}: it can never start"
        total = sum(ask.pods * _of_pod(ask.pod)[name] for ask in asks)
        if not never and total > limit:
            wants, has = (_FORMAT[name].format(_shown(name, n)) for n in (total, limit))
            who = " and ".join(f"{ask.pods} x {ask.task}" if ask.pods > 1 else ask.task for ask in asks)
            yield f"{who} at a time ask for {wants}, {holder} has {has}: some wait for others"


def _homeless(ask: Ask, pools: Mapping[str, Pool]) -> Iterator[str]:
    if not any(_homes(ask.pod, pools)):
        wants = ", ".join(_FORMAT[name].format(_shown(name, n)) for name, n in _of_pod(ask.pod).items())
        where = " with its node_selector" if ask.pod.node_selector else ""
        which = f"no node of {', '.join(pools)}{where} has so much"
        yield f"a pod of {ask.task} asks for {wants}: {which}, it can never start"


def _homes(pod: Pod, pools: Mapping[str, Pool]) -> Iterator[str]:
    """The pools whose nodes can take the pod."""
    wants = _of_pod(pod)
    for name, pool in pools.items():
        has = _of_node(pool)
        if pod.node_selector.items() <= pool.labels.items() and all(wants[each] <= has[each] for each in RESOURCES):
            yield name


def _at_once(ask: Ask, resource: str) -> float:
    return (ask.pods if ask.together else 1) * _of_pod(ask.pod)[resource]


def _of_pod(pod: Pod) -> dict[str, float]:
    return {"cpu": quantity(pod.cpu), "memory": quantity(pod.memory), "gpus": float(pod.gpus)}


def _of_node(pool: Pool) -> dict[str, float]:
    return {"cpu": quantity(pool.cpu), "memory": quantity(pool.memory), "gpus": float(pool.gpus)}


def _shown(resource: str, amount: float) -> float:
    return amount / 1e9 if resource == "memory" else amount
