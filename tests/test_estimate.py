"""The plan's figures against ones worked out by hand."""

from __future__ import annotations

import pytest

from roomseg.cluster import ClusterConfig
from roomseg.config import PipelineConfig, override
from roomseg.estimate import Cost, describe, estimate, warnings
from roomseg.measured import MEASURED
from roomseg.profiles import demo, paper

TWO_CORES = ClusterConfig.model_validate(
    {"render": {"shards": 1}, "pods": {"all": {"cpu": "2", "gpus": 0, "tolerations": []}}}
)
VOXELS = 135 * 135 * 75  # of a room of 5 x 5 x 2.6 m with its margin


def costs(config: PipelineConfig, cluster: ClusterConfig = TWO_CORES) -> dict[str, Cost]:
    return {cost.stage: cost for cost in estimate(config, cluster)}


def test_paper_render_by_hand() -> None:
    render = costs(paper(), ClusterConfig())["render"]
    assert render.hours == pytest.approx(5917 * 4.5 / 3600 / 64)  # 8 pods of 8 cores
    assert render.core_hours == pytest.approx(5917 * 4.5 / 3600)
    assert render.gigabytes == pytest.approx(6.86372)
    assert render.requests == 740 * 4 + 4  # shards of 8 rooms
    assert render.extrapolated == 1  # two cores were measured
    assert costs(paper())["render"].extrapolated == 0


@pytest.mark.parametrize(
    ("change", "a_room", "extrapolated"),
    [
        ("depth_noise=kinect", 8.8, 0),  # both measured
        ("panoramas_per_room=4", 4.165 + 4 * 0.335, 0),
        ("panorama_height=1024", 4.165 + 4 * 0.335, 4 * 0.335 / 5.505),
        ("frames_per_room=212", 4.165 / 2 + 0.335, 2.0825 / 2.4175),
        ("room_size_m=[3.0,12.0]", 4.5, 1),
        ("voxel_m=0.02", 4.5, 1),
        ("train_rooms=5325", 4.5, 0),
    ],
)
def test_what_changes_a_room_changes_its_cost_or_is_said(change: str, a_room: float, extrapolated: float) -> None:
    render = costs(override(paper(), [f"render.{change}"]))["render"]
    assert render.core_hours == pytest.approx(5917 * a_room / 3600)
    assert render.extrapolated == pytest.approx(extrapolated)


def test_the_demo_is_as_it_was_measured() -> None:
    found = costs(demo())
    seconds = {"render": 67, "teacher": 134, "pretrain": 197, "distill": 103, "evaluate": 45, "register": 3}
    assert {stage: cost.core_hours for stage, cost in found.items()} == pytest.approx(
        {stage: 2 * value / 3600 for stage, value in seconds.items()}
    )
    assert {cost.hours for cost in found.values()} == {
        cost.core_hours and cost.core_hours / 2 for cost in found.values()
    }
    assert {cost.extrapolated for cost in found.values()} == {0.0}
    other = costs(override(demo(), ["distill.iterations=60"]))
    assert (other["pretrain"].extrapolated, other["distill"].extrapolated) == (0.0, 1.0)


def test_paper_trainings_by_hand() -> None:
    found = costs(paper(), ClusterConfig())
    label_s = 297 * VOXELS / 128**3 * 0.274
    blocks = 1.57**2  # sides of 85 to 185 voxels in blocks of 128: 57 % of them take two
    assert found["pretrain"].core_hours == pytest.approx((5325 * blocks * 100 * 0.946 + 100 * label_s) / 3600)
    step = VOXELS / (160 * 135 * 85) * 2.12
    assert found["distill"].core_hours == pytest.approx((45_000 * step + 30 * label_s) / 3600)
    for stage in ("pretrain", "distill"):
        assert (found[stage].hours, found[stage].gpu_hours, found[stage].extrapolated) == (None, None, 1.0)
    for stage in ("teacher", "evaluate"):
        assert found[stage].core_hours is None
        assert "not measured with the" in found[stage].basis
    assert found["register"].core_hours == pytest.approx(2 * 3 / 3600)
    large = costs(override(paper(), ["pretrain.network=L"]))
    assert [large[stage].core_hours for stage in ("pretrain", "distill", "register")] == [None] * 3
    on_cpus = ClusterConfig.model_validate({"pods": {"pretrain": {"gpus": 0, "cpu": "16", "nodes": 2}}})
    pretrain = costs(paper(), on_cpus)["pretrain"]
    assert pretrain.core_hours is not None
    assert (pretrain.hours, pretrain.gpu_hours) == (pytest.approx(pretrain.core_hours / 32), 0.0)


def test_the_teacher_of_the_demo_scales_by_pixels() -> None:
    half = costs(override(demo(), ["teacher.epochs=12"]))["teacher"]
    assert half.core_hours == pytest.approx(134 / 3600)
    assert half.extrapolated == 1


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
    found = costs(wanted)
    assert list(found)[4:] == ["pretrain-unet3d", "pretrain-no_skip", "distill-ce_only", "evaluate", "register"]
    assert found["pretrain-unet3d"].core_hours is None
    assert found["pretrain-no_skip"].core_hours == found["pretrain"].core_hours
    label_s = 30 * 297 * VOXELS / 128**3 * 0.274
    alone = 45_000 * VOXELS / (160 * 135 * 85) * 1.99
    assert found["distill-ce_only"].core_hours == pytest.approx((alone + label_s) / 3600)


def test_table() -> None:
    text = describe(paper(), ClusterConfig())
    for each in MEASURED.values():
        assert f"{each.value:g} {each.unit}: {each.machine}, {each.date}, {each.command}" in text
    assert "pretrain: 48 hours on an A100 of 80 GB (section 6)" in text
