"""How long each stage computes: core-seconds on CPUs alone, and seconds of a GPU.

No GPU was at hand. Its seconds are worked out from what others published: the student's from the paper's pretraining,
the rest by its arithmetic, at the rate at which an RTX 3090 trains a ViT.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, get_args

from roomseg.comparisons import comparisons, network_of
from roomseg.config import (
    DistillConfig,
    PipelineConfig,
    PretrainConfig,
    RenderConfig,
    Section,
    StudentVariant,
    TeacherConfig,
)
from roomseg.planning.measured import (
    BACKBONES,
    BLOCK_VOXELS,
    CORES,
    DISTILL_ROOM_M,
    FORWARD_TFLOP,
    FRAMES,
    MEASURED,
    NETWORKS,
    PANORAMA_HEIGHT,
    PANORAMA_PATCHES,
    PAPER_PRETRAIN,
    PATCH,
    PIXELS,
    VIT_IMAGES_PER_S,
    VIT_SIZES,
)
from roomseg.planning.sizes import (
    panorama_patches,
    panorama_share,
    room_voxels,
    trained_blocks,
    trained_panoramas,
    validations,
    viewpoints,
    voxels,
    window_patches,
)
from roomseg.profiles import demo, paper

_FORWARD = 1 / 3  # of the arithmetic of a training step
_DECODER_BLOCKS = 2  # of the mask transformer, as wide as the encoder's
_VIT_SIDE = 384
_SCALED = ("train_rooms", "val_rooms", "test_rooms", "rooms_per_shard", "furniture_dir", "workers",
           "max_quarantined_share", "frames_per_room", "frame_width", "frame_height", "depth_noise",
           "panoramas_per_room", "panorama_height")  # fmt: skip
"""Of render: what a room costs as much with, or what its cost is worked out for. With other values of all else the
figures of ``MEASURED`` are of other rooms."""


_STEP_SIZES = ("hits", "views_per_step", "augment", "band_weight", "lovasz_weight", "feature_weight", "ema_decay",
               "max_voxels", "compile")  # fmt: skip
"""Of distill: what makes a step longer or shorter than the measured one."""


class Work(NamedTuple):
    """None: nothing is known that it could be worked out from."""

    core_s: float | None  # on CPUs alone
    gpu_s: float | None  # also None where a GPU does not help
    extrapolated: float  # share of core_s; 0: at the settings of the measurement
    basis: str


def stage_work(stage: str, config: PipelineConfig) -> Work:
    """As it was measured, where the stage and all before it have the demo's settings; else worked out."""
    worked_out = {
        "render": lambda: render_work(config.render),
        "teacher": lambda: teacher_work(config.teacher, config.render),
        "pretrain": lambda: pretrain_work(config.pretrain, config.render),
        "distill": lambda: distill_work(config.distill, config.pretrain, config.teacher, config.render),
        "evaluate": lambda: evaluate_work(config),
        "register": lambda: Work(_demo_core_s("register"), None, 1.0, "as the demo's"),
    }[stage]()
    if not _is_demo(stage, config):
        return worked_out
    seconds = MEASURED[f"demo_{stage}"].value
    return worked_out._replace(
        core_s=seconds * CORES, extrapolated=0.0, basis=f"the demo: {seconds:g} s on {CORES} cores"
    )


def compared_work(section: Section, config: PipelineConfig) -> Work:
    """Of a baseline or an ablation."""
    if isinstance(section, PretrainConfig):
        return pretrain_work(section, config.render)
    assert isinstance(section, DistillConfig)
    return distill_work(section, config.pretrain, config.teacher, config.render)


def render_work(render: RenderConfig) -> Work:
    """Frames and panoramas are taken to cost in proportion to their pixels."""
    frames = render.frames_per_room * render.frame_width * render.frame_height / (FRAMES * PIXELS)
    panoramas = render.panoramas_per_room * panorama_share(render)
    noisy = render.depth_noise != "none" and render.source in ("generated", "front3d")
    parts = [
        ((MEASURED["room"].value - MEASURED["panorama"].value) * frames, frames != 1),
        (MEASURED["noise"].value * frames * noisy, frames != 1),
        (MEASURED["panorama"].value * panoramas, render.panorama_height != PANORAMA_HEIGHT),
    ]
    a_room = sum(core_s for core_s, _ in parts)
    like = paper().render
    other = [name for name in RenderConfig.model_fields if getattr(render, name) != getattr(like, name)]
    other = [name for name in other if name not in _SCALED]
    extrapolated = 1.0 if other else sum(core_s for core_s, guess in parts if guess) / a_room
    basis = f"{a_room:.3g} core-seconds a room" + (f", which does not reckon with other {other[0]}" if other else "")
    return Work(sum(render.rooms.values()) * a_room, None, extrapolated, basis)


def teacher_work(teacher: TeacherConfig, render: RenderConfig) -> Work:
    """Steps and validations by the patches that they see."""
    steps = trained_panoramas(teacher, render)
    window, whole = window_patches(teacher, render), panorama_patches(teacher, render)
    validated = validations(teacher) * render.val_rooms * render.panoramas_per_room
    gpu_s = None
    if teacher.backbone in VIT_SIZES:
        gpu_s = steps * _backbone_gpu_s(teacher.backbone, window)
        gpu_s += validated * _backbone_gpu_s(teacher.backbone, whole) * _FORWARD
    if (known := BACKBONES.get(teacher.backbone)) is not None:
        core_s = (steps * known.step_core_s * window + validated * known.classes_core_s * whole) / PANORAMA_PATCHES
        basis = f"{steps:,} panoramas by patches, {validated:,} more to validate"
        return Work(core_s, gpu_s, 1.0, basis + _not_reckoned(teacher, ("decoder",)))
    then = demo()
    if teacher.backbone != then.teacher.backbone:
        return Work(None, None, 1.0, f"not measured with the backbone {teacher.backbone}")
    share = steps * window / trained_panoramas(then.teacher, then.render) / window_patches(then.teacher, then.render)
    return Work(_demo_core_s("teacher") * share, gpu_s, 1.0, f"the demo's x {share:.3g} by patches of panoramas")


def pretrain_work(pretrain: PretrainConfig, render: RenderConfig) -> Work:
    """Steps by their blocks' voxels, validations by their rooms'."""
    blocks, network = trained_blocks(pretrain, render), NETWORKS[pretrain.network]
    steps = blocks * pretrain.block_voxels**3 / BLOCK_VOXELS
    labelled = validations(pretrain) * render.val_rooms * room_voxels(render) / BLOCK_VOXELS
    core_s = steps * network.step_core_s + labelled * network.classes_core_s
    gpu_s = (steps + labelled * _FORWARD) * _block_gpu_s(pretrain.network)
    basis = f"{blocks:,.0f} blocks of {pretrain.block_voxels}^3 by voxels, {validations(pretrain)} validations"
    return Work(core_s, gpu_s, 1.0, basis + _not_reckoned(pretrain, ("compile",)))


def distill_work(
    distill: DistillConfig, pretrain: PretrainConfig, teacher: TeacherConfig, render: RenderConfig
) -> Work:
    """Iterations and validations by their rooms' voxels, and the teacher's answers, one a viewpoint."""
    alone = not distill.weight and not distill.feature_weight
    network, small = NETWORKS[pretrain.network], NETWORKS["T"]
    step = MEASURED["finetune_step" if alone else "distill_step"].value * network.step_core_s / small.step_core_s
    rooms = distill.iterations * distill.accumulate
    labelled = validations(distill) * render.val_rooms * room_voxels(render) / BLOCK_VOXELS
    core_s = rooms * step * room_voxels(render) / voxels(DISTILL_ROOM_M, 0.04, 5) + labelled * network.classes_core_s
    steps = rooms * room_voxels(render) / BLOCK_VOXELS
    gpu_s = (steps + labelled * _FORWARD) * _block_gpu_s(pretrain.network)
    basis = f"{rooms:,} rooms by voxels, {validations(distill)} validations"
    if (known := BACKBONES.get(teacher.backbone)) is not None and not alone:
        answers, patches = viewpoints(distill, render), panorama_patches(teacher, render)
        core_s += answers * known.classes_core_s * patches / PANORAMA_PATCHES
        gpu_s += answers * _backbone_gpu_s(teacher.backbone, patches) * _FORWARD
        basis += f", {answers:,} answers of the teacher"
    elif not alone and teacher.backbone != demo().teacher.backbone:
        basis += ", without the teacher's answers"
    return Work(core_s, gpu_s, 1.0, basis + _not_reckoned(distill, _STEP_SIZES))


def evaluate_work(config: PipelineConfig) -> Work:
    """The demo's by the voxels of the rooms, and the classes of what the demo does not have.

    A GPU would label the rooms sooner, and wait for the report: its hours are those of the CPU cores beside it.
    """
    render, then = config.render, demo()
    share = render.test_rooms * room_voxels(render) / (then.render.test_rooms * room_voxels(then.render))
    names = [network_of(section, config) for section in comparisons(config).values()]
    names += [config.pretrain.network] * 3  # untrained, pretrained, distilled
    names += [config.pretrain.network] * 8 * config.evaluate.average_symmetries
    labelled = render.test_rooms * room_voxels(render) / BLOCK_VOXELS
    more_s = sum(NETWORKS[name].classes_core_s for name in names) - 3 * NETWORKS[then.pretrain.network].classes_core_s
    core_s = _demo_core_s("evaluate") * share + labelled * more_s
    if (known := BACKBONES.get(config.teacher.backbone)) is not None:
        patches = render.test_rooms * render.panoramas_per_room * panorama_patches(config.teacher, render)
        core_s += patches / PANORAMA_PATCHES * known.classes_core_s
    elif config.teacher.backbone != then.teacher.backbone:
        return Work(None, None, 1.0, f"not measured with the backbone {config.teacher.backbone}")
    return Work(core_s, None, 1.0, f"the demo's x {share:.3g} by voxels of rooms, on the pod's cores alone")


def demo_worked_out() -> dict[str, float]:
    """Seconds: how good a guess the others are."""
    then = demo()
    works = {
        "pretrain": pretrain_work(then.pretrain, then.render),
        "distill": distill_work(then.distill, then.pretrain, then.teacher, then.render),
    }
    return {stage: work.core_s / CORES for stage, work in works.items() if work.core_s is not None}


def _not_reckoned(section: Section, names: Sequence[str]) -> str:
    """The first of them that is not as it was measured."""
    fields = type(section).model_fields
    other = next((name for name in names if getattr(section, name) != fields[name].default), None)
    return f", which does not reckon with other {other}" if other else ""


def _is_demo(stage: str, config: PipelineConfig) -> bool:
    before = {
        "render": ("render",),
        "teacher": ("render", "teacher"),
        "pretrain": ("render", "pretrain"),
        "distill": ("render", "teacher", "pretrain", "distill"),
        "evaluate": ("render", "teacher", "pretrain", "distill", "evaluate"),
        "register": ("render", "pretrain", "register"),
    }
    then = demo()
    return all(config.section(name) == then.section(name) for name in before[stage])


def _block_gpu_s(network: str) -> float:
    """Of a training step on 128^3 voxels."""
    if network in FORWARD_TFLOP:
        return 3 * FORWARD_TFLOP[network] / _vit_tflop_per_s("base")
    assert network in get_args(StudentVariant)  # the paper has one figure for all four
    then = paper()
    return PAPER_PRETRAIN.value * 3600 / trained_blocks(then.pretrain, then.render)


def _backbone_gpu_s(name: str, patches: float) -> float:
    """Of a training step on so many of one picture."""
    width, blocks = VIT_SIZES[name]
    return 3 * (blocks + _DECODER_BLOCKS) * _block_tflop(patches, width) / _vit_tflop_per_s(name)


def _vit_tflop_per_s(name: str) -> float:
    """In the published training."""
    width, blocks = VIT_SIZES[name]
    return VIT_IMAGES_PER_S[name].value * 3 * blocks * _block_tflop((_VIT_SIDE // PATCH) ** 2 + 1, width)


def _block_tflop(tokens: float, width: int) -> float:
    """Of a transformer block's forward pass: four projections and an MLP of four times the width, and attention."""
    return (24 * tokens * width**2 + 4 * tokens**2 * width) / 1e12


def _demo_core_s(stage: str) -> float:
    return MEASURED[f"demo_{stage}"].value * CORES
