"""What a quota and pools of nodes cannot hold, against sums by hand."""

from __future__ import annotations

from typing import Any

from roomseg.cluster import ClusterConfig
from roomseg.config import PipelineConfig, override
from roomseg.planning.capacity import shortages
from roomseg.profiles import paper

# By default: render_part 8 at a time of 8 CPUs and 16 GiB; trainings and evaluate 8 CPUs, 32 GiB and a GPU.


def found(quota: dict[str, Any], pods: dict[str, Any] | None = None, config: PipelineConfig | None = None) -> list[str]:
    return shortages(config or paper(), ClusterConfig.model_validate({"quota": quota, "pods": pods or {}}))


def test_a_quota_that_holds_it_is_silent() -> None:
    assert found({}) == []
    assert found({"cpu": "64", "memory": "128Gi", "gpus": 2}) == []


def test_what_has_to_wait() -> None:
    assert found({"cpu": "63"}) == [
        "8 x render_part at a time ask for 64 CPUs, the quota has 63 CPUs: some wait for others"
    ]
    assert found({"memory": "100Gi"}) == [
        "8 x render_part at a time ask for 137.4 GB of memory, the quota has 107.4 GB of memory: some wait for others"
    ]
    assert found({"gpus": 1}) == [
        "teacher and pretrain at a time ask for 2 GPUs, the quota has 1 GPUs: some wait for others"
    ]


def test_stages_side_by_side_count_together() -> None:
    compared = override(paper(), ['evaluate.baselines=["unet3d"]', 'evaluate.ablations=["ce_only"]'])
    assert found({"gpus": 3}, config=compared) == []
    who = [
        text.partition(" at a time ask for 3 GPUs, the quota has 2")[0] for text in found({"gpus": 2}, None, compared)
    ]
    assert who == [
        "teacher and pretrain and pretrain-unet3d",
        "distill and distill-ce_only and pretrain-unet3d",
    ]


def test_what_can_never_start() -> None:
    assert found({"gpus": 2}, {"distill": {"gpus": 4}}) == [
        "distill asks for 4 GPUs, the quota has 2 GPUs: it can never start"
    ]
    # A TrainJob wants all of its pods at once.
    assert found({"gpus": 4}, {"pretrain": {"gpus": 2, "nodes": 3}}) == [
        "pretrain asks for 6 GPUs, the quota has 4 GPUs: it can never start"
    ]


def test_pools() -> None:
    cpus = {"nodes": 4, "cpu": "16", "memory": "64Gi"}
    gpus = {"nodes": 2, "cpu": "8", "memory": "64Gi", "gpus": 1, "labels": {"card": "l4"}}
    assert found({"pools": {"cpus": cpus, "gpus": gpus}}) == []
    assert found({"pools": {"cpus": cpus, "gpus": gpus | {"nodes": 1}}}) == [
        "teacher and pretrain at a time ask for 16 CPUs, the pool gpus has 8 CPUs: some wait for others",
        "teacher and pretrain at a time ask for 2 GPUs, the pool gpus has 1 GPUs: some wait for others",
    ]
    (text,) = found({"pools": {"cpus": cpus, "gpus": gpus}}, {"distill": {"gpus": 2}})
    assert text.startswith("a pod of distill asks for 8 CPUs, 34.36 GB of memory, 2 GPUs: no node of cpus, gpus has so")
    selected = {"evaluate": {"node_selector": {"card": "a100"}}}
    (text,) = found({"pools": {"cpus": cpus, "gpus": gpus}}, selected)
    assert text.endswith("no node of cpus, gpus with its node_selector has so much, it can never start")
    assert found({"pools": {"cpus": cpus, "gpus": gpus}}, {"evaluate": {"node_selector": {"card": "l4"}}}) == []


def test_every_task_is_looked_at() -> None:
    pools = {"big": {"nodes": 99, "cpu": "16", "memory": "64Gi", "gpus": 1}}
    for task in ("render", "render_part", "evaluate", "gate", "register", "finish"):
        (text,) = found({"pools": pools}, {task: {"memory": "65Gi"}})
        assert text.startswith(f"a pod of {task} asks for ")
