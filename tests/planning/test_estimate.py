"""The plan's figures against ones worked out by hand."""

from __future__ import annotations

import pytest

from roomseg.cluster import ClusterConfig
from roomseg.config import PipelineConfig, override
from roomseg.planning.estimate import Cost, describe, estimate, longest_way, total, warnings
from roomseg.planning.measured import MEASURED, NETWORKS, VIT_IMAGES_PER_S
from roomseg.profiles import demo, paper

TWO_CORES = ClusterConfig.model_validate(
    {"render": {"shards": 1}, "pods": {"all": {"cpu": "2", "gpus": 0, "tolerations": []}}}
)
VOXELS = 135 * 135 * 75  # of a room of 5 x 5 x 2.6 m with its margin


def costs(config: PipelineConfig, cluster: ClusterConfig = TWO_CORES) -> dict[str, Cost]:
    return {cost.task: cost for cost in estimate(config, cluster)}


def test_paper_render_by_hand() -> None:
    render = costs(paper(), ClusterConfig())["render"]
    assert render.hours == pytest.approx(5917 * 4.5 / 3600 / 64)  # 8 pods of 8 cores
    assert render.core_hours == pytest.approx(5917 * 4.5 / 3600)
    assert render.gigabytes == pytest.approx(6.86372)
    shards = 666 + 38 + 37  # of 8 rooms
    start = 26 + 16 * 26  # its own, and those of its parts
    written, read, renewed = 2 * (2 * shards + 3), 2 * shards, 5917 * 4.5 / 64 / 15
    assert render.requests == round(start + written + read + renewed)
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
    seconds = {"render": 37, "teacher": 102, "pretrain": 152, "distill": 87, "evaluate": 33, "register": 3}
    assert {stage: cost.core_hours for stage, cost in found.items()} == pytest.approx(
        {stage: 2 * value / 3600 for stage, value in seconds.items()}
    )
    assert {cost.hours for cost in found.values()} == {
        cost.core_hours and cost.core_hours / 2 for cost in found.values()
    }
    assert {cost.extrapolated for cost in found.values()} == {0.0}
    other = costs(override(demo(), ["distill.iterations=60"]))
    assert (other["pretrain"].extrapolated, other["distill"].extrapolated) == (0.0, 1.0)


LABELLED = 297 * VOXELS / 128**3  # blocks of 128^3 in the rooms of a validation
BLOCKS = 5325 * 1.57**2 * 100  # sides of 85 to 185 voxels in blocks of 128: 57 % of them take two


def test_paper_trainings_on_cpus_by_hand() -> None:
    found = costs(paper())
    student, teacher = NETWORKS["T"], 5325 * 200 * 29.65 + 20 * 297 * 8.474
    label_s = LABELLED * student.classes_core_s
    step = VOXELS / (160 * 135 * 85) * 2.12
    wanted = {
        "teacher": teacher,
        "pretrain": BLOCKS * student.step_core_s + 100 * label_s,
        "distill": 45_000 * step + 30 * label_s + 5325 * 8.474,  # the teacher answers once a room
    }
    for stage, core_s in wanted.items():
        cost = found[stage]
        assert cost.core_hours == pytest.approx(core_s / 3600)
        assert (cost.hours, cost.gpu_hours, cost.extrapolated) == (pytest.approx(core_s / 3600 / 2), 0.0, 1.0)
    large = costs(override(paper(), ["pretrain.network=L"]))
    assert large["pretrain"].core_hours == pytest.approx((BLOCKS * 7.402 + 100 * LABELLED * 1.931) / 3600)
    assert large["distill"].core_hours == pytest.approx(
        (45_000 * step * 7.402 / 1.117 + 30 * LABELLED * 1.931 + 5325 * 8.474) / 3600
    )


def test_paper_trainings_on_gpus_by_hand() -> None:
    found = costs(paper(), ClusterConfig())
    block_s = 48 * 3600 / BLOCKS  # the paper's A100
    pretrain = 48 * 3600 + 100 * LABELLED / 3 * block_s
    vit = 12 * (24 * 577 * 768**2 + 4 * 577**2 * 768) * 96.96  # operations a second, of forward passes
    panorama = 14 * (24 * 2048 * 768**2 + 4 * 2048**2 * 768) / vit  # with two blocks of the decoder
    teacher = panorama * (5325 * 200 + 20 * 297 / 3)
    distill = (45_000 * VOXELS / 128**3 + 30 * LABELLED / 3) * block_s + panorama * 5325 / 3
    for stage, gpu_s in {"teacher": teacher, "pretrain": pretrain, "distill": distill}.items():
        cost = found[stage]
        assert (cost.gpu_hours, cost.hours, cost.extrapolated) == (pytest.approx(gpu_s / 3600), cost.gpu_hours, 1.0)


@pytest.mark.parametrize(
    ("accumulate", "gpus", "nodes", "busy"),
    [(1, 4, 1, 1), (2, 4, 1, 2), (6, 4, 1, 3), (8, 4, 1, 4), (8, 4, 2, 8)],
)
def test_gpus_that_share_the_batches_of_a_step(accumulate: int, gpus: int, nodes: int, busy: int) -> None:
    config = override(paper(), [f"teacher.accumulate={accumulate}"])
    cluster = ClusterConfig.model_validate({"pods": {"teacher": {"gpus": gpus, "nodes": nodes}}})
    alone, found = costs(paper(), ClusterConfig())["teacher"], costs(config, cluster)["teacher"]
    assert found.hours == pytest.approx((alone.hours or 0) / busy)
    assert found.gpu_hours == pytest.approx((found.hours or 0) * gpus * nodes)  # an idle one is held, too
    idle = f"teacher asks for 4 GPUs and uses {busy}, for teacher.accumulate is {accumulate}: "
    told = [f"{idle}--set teacher.accumulate=4 or a multiple of it"] if busy < gpus else []
    assert warnings(config, cluster) == told


def test_nodes_that_cannot_share_the_batches_are_told() -> None:
    cluster = ClusterConfig.model_validate({"pods": {"pretrain": {"gpus": 2, "nodes": 3}}})
    (text,) = warnings(override(paper(), ["pretrain.accumulate=4"]), cluster)
    assert text.startswith("pretrain will fail: its 3 nodes have 6 processes, which cannot share evenly the 4 batches")


def test_each_node_reads_the_rooms() -> None:
    config = override(paper(), ["pretrain.accumulate=2"])
    one = costs(config, ClusterConfig())["pretrain"]
    two = costs(config, ClusterConfig.model_validate({"pods": {"pretrain": {"nodes": 2}}}))["pretrain"]
    by_time = 24.12 * 3600 * (1 / 15 + 5 / 30)  # half of its 48.24 hours: renewals, and checkpoints
    assert (two.requests or 0) - (one.requests or 0) == pytest.approx(2 + (666 + 38) * 3 - by_time, abs=60)


def test_a_gpu_does_not_render() -> None:
    with_gpus = ClusterConfig.model_validate({"pods": {"all": {"gpus": 1}}})
    for task in ("render", "register"):
        without, found = costs(paper(), ClusterConfig())[task], costs(paper(), with_gpus)[task]
        assert (without.hours or 0) > 0
        assert (found.hours, without.gpu_hours) == (without.hours, 0.0)
    assert costs(paper(), with_gpus)["render"].gpu_hours == pytest.approx(8 * 5917 * 4.5 / 3600 / 64)


@pytest.mark.parametrize(
    ("fan_out", "cores"),
    [
        ({"shards": 8, "parallelism": 8}, 64),
        ({"shards": 9, "parallelism": 8}, 36),  # the ninth pod works alone
        ({"shards": 4, "parallelism": 8}, 32),
    ],
)
def test_pods_that_render_in_waves(fan_out: dict[str, int], cores: int) -> None:
    render = costs(paper(), ClusterConfig.model_validate({"render": fan_out}))["render"]
    assert render.hours == pytest.approx(5917 * 4.5 / 3600 / cores)


def test_pods_have_no_more_to_do_than_there_are_rooms() -> None:
    render = costs(demo(), ClusterConfig())["render"]  # 10 shards of 4 rooms: 8 pods, then 2, each with 4 rooms
    assert render.hours == pytest.approx(2 * 37 / 3600 / (4 * 5))


@pytest.mark.parametrize(
    ("change", "times"),
    [
        ("render.panoramas_per_room=4", (1, 4)),  # an epoch has one panorama of each room; all are validated
        ("teacher.patch=8", (4, 4)),
        ("teacher.crop=[256,256]", (1 / 8, 1)),
        ("render.panorama_height=1024", (4, 4)),
    ],
)
def test_what_the_teacher_looks_at(change: str, times: tuple[float, float]) -> None:
    teacher = costs(override(paper(), [change]))["teacher"]
    wanted = times[0] * 5325 * 200 * 29.65 + times[1] * 20 * 297 * 8.474
    assert teacher.core_hours == pytest.approx(wanted / 3600)


@pytest.mark.parametrize(
    ("stage", "settings", "other"),
    [
        ("teacher", ["teacher.decoder=linear"], "decoder"),
        ("pretrain", ["pretrain.compile=true"], "compile"),
        ("distill", ["distill.views=2", "distill.views_per_step=2"], "views_per_step"),
        ("distill", ["distill.hits=cube"], "hits"),
    ],
)
def test_what_is_not_reckoned_with_is_said(stage: str, settings: list[str], other: str) -> None:
    assert "reckon" not in costs(paper())[stage].basis
    assert costs(override(paper(), settings))[stage].basis.endswith(f", which does not reckon with other {other}")


def test_what_is_not_known_is_told() -> None:
    found = costs(override(paper(), ["teacher.backbone=vit_base_patch14_dinov2"]), ClusterConfig())
    for stage in ("teacher", "evaluate"):
        cost = found[stage]
        assert (cost.hours, cost.gpu_hours, cost.core_hours, cost.extrapolated) == (None, None, None, None)
        assert "not measured with the backbone vit_base_patch14_dinov2" in cost.basis
    everything = total(list(found.values()))
    assert (everything.hours, everything.gpu_hours, everything.core_hours) == (None, None, None)


def test_an_evaluation_on_a_gpu_holds_it_while_the_cores_work() -> None:
    alone, beside = costs(paper())["evaluate"], costs(paper(), ClusterConfig())["evaluate"]
    rooms = 295 / 8 * VOXELS / (105 * 105 * 75)  # those of the demo are 3.8 m wide
    assert alone.core_hours == pytest.approx((2 * 33 * rooms + 295 * 8.474) / 3600)
    assert beside.hours == pytest.approx(alone.core_hours / 8)
    assert (alone.gpu_hours, beside.gpu_hours) == (0.0, beside.hours)


def test_all_of_it() -> None:
    wanted = override(paper(), ['evaluate.baselines=["unet3d"]', 'evaluate.ablations=["ce_only"]'])
    found = costs(wanted, ClusterConfig())
    hours = {task: cost.hours or 0.0 for task, cost in found.items()}
    everything = total(list(found.values()))
    ends = hours["render"] + hours["evaluate"] + hours["register"]
    assert hours["pretrain-unet3d"] > hours["pretrain"] + hours["distill"]
    assert everything.hours == pytest.approx(ends + hours["pretrain-unet3d"])
    assert everything.gpu_hours == pytest.approx(sum(cost.gpu_hours or 0.0 for cost in found.values()))
    assert everything.requests == sum(cost.requests or 0 for cost in found.values())
    costs_of_student = [cost for cost in found.values() if cost.task != "pretrain-unet3d"]
    student = max(hours["teacher"], hours["pretrain"]) + max(hours["distill"], hours["distill-ce_only"])
    assert longest_way(costs_of_student) == pytest.approx(ends + student)


def test_the_teacher_of_the_demo_scales_by_pixels() -> None:
    half = costs(override(demo(), ["teacher.epochs=12"]))["teacher"]
    assert half.core_hours == pytest.approx(102 / 3600)
    assert half.extrapolated == 1


def test_what_cannot_hold_it_is_said() -> None:
    assert warnings(paper(), ClusterConfig()) == []
    small = ClusterConfig.model_validate({"pods": {"distill": {"scratch": "5Gi"}}})
    small_scratch = "pods.distill.scratch is 5Gi and holds 3.8 GB of the store"
    assert warnings(paper(), small) == [f"{small_scratch}, its rooms are 6.5 GB: raise it"]
    wide = ClusterConfig.model_validate({"render": {"shards": 4, "parallelism": 8}})
    assert warnings(paper(), wide) == ["render.parallelism is 8, above render.shards 4: lower it"]
    assert "render.shards is 16, but there are 10 shards" in warnings(demo(), ClusterConfig())[0]
    finer = override(paper(), ["render.voxel_m=0.02"])
    assert estimate(finer, ClusterConfig())[0].gigabytes == pytest.approx(8 * 6.86372)
    told = warnings(finer, ClusterConfig())
    assert [text.split(".")[1] for text in told] == ["teacher", "pretrain", "distill"]  # the test rooms fit


def test_what_is_compared_is_in_the_plan() -> None:
    wanted = override(paper(), ['evaluate.baselines=["unet3d"]', 'evaluate.ablations=["ce_only","no_skip"]'])
    found = costs(wanted)
    assert list(found)[4:] == ["pretrain-unet3d", "pretrain-no_skip", "distill-ce_only", "evaluate", "register"]
    assert found["pretrain-unet3d"].core_hours == pytest.approx((BLOCKS * 189.2 + 100 * LABELLED * 45.19) / 3600)
    on_gpu = costs(wanted, ClusterConfig())["pretrain-unet3d"].gpu_hours
    vit = 12 * (24 * 577 * 768**2 + 4 * 577**2 * 768) * 96.96 * 3
    assert on_gpu == pytest.approx((BLOCKS + 100 * LABELLED / 3) * 3 * 3.81e12 / vit / 3600)
    assert found["pretrain-no_skip"].core_hours == found["pretrain"].core_hours
    alone = 45_000 * VOXELS / (160 * 135 * 85) * 1.99
    label_s = 30 * LABELLED * NETWORKS["T"].classes_core_s
    assert found["distill-ce_only"].core_hours == pytest.approx((alone + label_s) / 3600)
    more = found["evaluate"].core_hours - costs(paper())["evaluate"].core_hours
    rooms = 295 * VOXELS / 128**3
    assert more == pytest.approx(rooms * (45.19 + 2 * NETWORKS["T"].classes_core_s) / 3600)


def test_table() -> None:
    text = describe(paper(), ClusterConfig())
    for figure in MEASURED.values():
        assert f"{figure.value:g} {figure.unit} ({figure.date}, {figure.source})" in text
        assert f"Measured on {figure.machine}:" in text
    for figure in VIT_IMAGES_PER_S.values():
        assert f"{figure.value:g} {figure.unit} on {figure.machine} ({figure.date}, {figure.source})" in text
    assert "48 hours of pretraining on an A100 of 80 GB (2023, the paper, section 6, its own code)" in text
    assert "teacher 2.48 GB, pretrain 0.01 GB, distill 0.01 GB" in text
    assert text.splitlines()[7].startswith("all ")
