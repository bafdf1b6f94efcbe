"""The plan's figures against ones worked out by hand."""

from __future__ import annotations

import pytest

from roomseg.cluster import ClusterConfig
from roomseg.config import override
from roomseg.estimate import describe, estimate, warnings
from roomseg.profiles import demo, paper


def test_paper_render_by_hand() -> None:
    render, teacher, *_ = estimate(paper(), ClusterConfig())
    assert render.hours == pytest.approx(5917 * 4.5 / 3600 / 64)  # 8 pods of 8 cores
    assert render.gigabytes == pytest.approx(6.86372)
    assert render.requests == 740 * 4 + 4  # shards of 8 rooms
    assert render.extrapolated == 1  # two cores were measured
    few = ClusterConfig.model_validate({"render": {"shards": 1}, "pods": {"render": {"cpu": "2"}}})
    assert estimate(paper(), few)[0].extrapolated == 0
    assert teacher.hours is None
    assert "not measured" in teacher.basis


def test_other_frames_are_extrapolated() -> None:
    render = estimate(demo(), ClusterConfig())[0]
    assert render.hours == pytest.approx(40 * 4.5 * (80 * 320 * 240) / (424 * 640 * 480) / 3600 / 64)
    assert render.extrapolated == 1


def test_what_cannot_hold_it_is_said() -> None:
    assert warnings(paper(), ClusterConfig()) == []
    small = ClusterConfig.model_validate({"pods": {"distill": {"scratch": "5Gi"}}})
    small_scratch = "pods.distill.scratch is 5Gi and holds 3.8 GB of the store"
    assert warnings(paper(), small) == [f"{small_scratch}, the rooms are 6.9 GB: raise it"]
    wide = ClusterConfig.model_validate({"render": {"shards": 4, "parallelism": 8}})
    assert warnings(paper(), wide) == ["render.parallelism is 8, above render.shards 4: lower it"]
    assert "render.shards is 16, but there are 10 shards" in warnings(demo(), ClusterConfig())[0]
    finer = override(paper(), ["render.voxel_m=0.02"])
    assert estimate(finer, ClusterConfig())[0].gigabytes == pytest.approx(8 * 6.86372)
    assert len(warnings(finer, ClusterConfig())) == 4


def test_what_is_compared_is_in_the_plan() -> None:
    wanted = override(paper(), ['evaluate.baselines=["unet3d"]', 'evaluate.ablations=["ce_only","no_skip"]'])
    tasks = [cost.stage for cost in estimate(wanted, ClusterConfig())][4:]
    assert tasks == ["pretrain-unet3d", "pretrain-no_skip", "distill-ce_only"]


def test_table() -> None:
    assert "4.5 core-seconds a room of 424 frames" in describe(paper(), ClusterConfig())
