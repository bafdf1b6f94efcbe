"""What plans rest on: figures that were measured here, each with machine, date and command, and published ones."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    value: float
    unit: str
    machine: str
    date: str
    source: str  # command or publication


CORES = 2  # of the machine
_MACHINE = f"{CORES} cores of an AMD EPYC virtual machine"
_ROOMS, _GEOMETRY, _STORE = "python benchmarks/rooms.py", "python benchmarks/geometry.py", "python benchmarks/store.py"
_DISTILL, _STEPS, _DEMO = "python benchmarks/distill.py", "python benchmarks/steps.py", "make demo"
_TRAFFIC = "pytest tests/planning/test_traffic.py -m heavy -s"

MEASURED = {
    name: Figure(value, unit, _MACHINE, date, command)
    for name, value, unit, date, command in (
        ("room", 4.5, "core-seconds a room of 424 frames with its panorama", "2026-11-24", _ROOMS),
        ("noise", 4.3, "core-seconds more with depth_noise=kinect", "2026-11-24", "by hand (docs/scale.md)"),
        ("panorama", 0.335, "core-seconds a panorama of 512 x 1024", "2026-11-24", _GEOMETRY),
        ("room_mb", 1.16, "MB a room with its panorama", "2026-11-24", f"{_STORE} --only rooms"),
        ("distill_step", 2.12, "core-seconds an iteration of student T, 6 x 5 x 3 m", "2026-11-24", _DISTILL),
        ("finetune_step", 1.99, "core-seconds the same with cross entropy alone", "2026-11-24", _DISTILL),
        ("view_kb", 59, "kB a viewpoint of 256 x 512 in the cache of distill", "2026-11-28", _TRAFFIC),
        ("picture_mb", 0.89, "MB a pictured room of the demo's evaluation, all else included", "2026-11-28", _TRAFFIC),
        ("demo_render", 37, "s on both cores: render of the demo", "2026-11-28", _DEMO),
        ("demo_teacher", 102, "s on both cores: teacher of the demo", "2026-11-28", _DEMO),
        ("demo_pretrain", 152, "s on both cores: pretrain of the demo", "2026-11-28", _DEMO),
        ("demo_distill", 87, "s on both cores: distill of the demo", "2026-11-28", _DEMO),
        ("demo_evaluate", 33, "s on both cores: evaluate of the demo", "2026-11-28", _DEMO),
        ("demo_register", 3, "s on both cores: register of the demo", "2026-11-28", _DEMO),
    )
}
FRAMES, PIXELS, PANORAMA_HEIGHT = 424, 640 * 480, 512  # of "room", and of the steps of backbones
DISTILL_ROOM_M = (6.0, 5.0, 3.0)
BLOCK_VOXELS = 128**3  # of the steps of networks
PATCH = 16  # pixels, of backbones
PANORAMA_PATCHES = 2 * (PANORAMA_HEIGHT // PATCH) ** 2


@dataclass(frozen=True)
class Network:
    """Of 30 classes. A block has 128^3 voxels; 2D Segmenters (mask transformer) have a panorama of 512 x 1024."""

    parameters: int
    step_core_s: float  # forward, backward, optimizer
    classes_core_s: float  # of all voxels or pixels


NETWORKS = {
    "T": Network(375_036, 1.117, 0.2887),
    "B": Network(618_966, 2.216, 0.6039),
    "M": Network(1_549_524, 3.878, 1.151),
    "L": Network(4_430_544, 7.402, 1.931),
    "unet3d": Network(16_323_174, 189.2, 45.19),
    "sparse_unet": Network(2_690_430, 8.861, 3.441),
    "sparse_unet_large": Network(30_105_502, 48.74, 16.07),
    "vtunet": Network(5_388_204, 8.674, 3.752),
}
BACKBONES = {
    "tiny": Network(6_886_716, 5.317, 1.569),
    "small": Network(26_380_860, 10.85, 2.797),
    "base": Network(103_191_612, 29.65, 8.474),
    "large": Network(333_570_108, 106.3, 26.01),
}
MICRO_PARAMETERS = 1_604_156  # of the demo's backbone; its time is that of the demo
STEPS_SOURCE = f"{_MACHINE}, 2026-11-28, {_STEPS}"

FORWARD_TFLOP = {"unet3d": 3.81, "sparse_unet": 0.054, "sparse_unet_large": 0.61, "vtunet": 0.050}
"""Of a block of 128^3, counted by torch (matrix products and convolutions)."""

PAPER_PRETRAIN = Figure(48, "hours of pretraining", "an A100 of 80 GB", "2023", "the paper, section 6, its own code")
PAPER_RENDER = Figure(48, "hours of rendering", "120 V100", "2023", "the paper, section 5, its own code")

_TIMM = "timm's results/benchmark-train-amp-nchw-pt112-cu113-rtx3090.csv"
VIT_IMAGES_PER_S = {  # of 384 x 384 with patches of 16
    name: Figure(rate, f"images of 384 x 384 a second, training of ViT {name}", "an RTX 3090", "2022", _TIMM)
    for name, rate in (("tiny", 512.2), ("small", 239.05), ("base", 96.96), ("large", 29.07))
}
VIT_SIZES = {"tiny": (192, 12), "small": (384, 12), "base": (768, 12), "large": (1024, 24)}  # width, blocks

# Requests to S3, fitted to what a proxy counted of the demo (see _TRAFFIC for the command)
REQUESTS_A_STAGE = 26  # lease, clock, listings, manifest, file table, note of the run
REQUESTS_A_FILE = 2  # itself and its journal entry
EVALUATION_FILES = 6  # beside the views of pictured rooms
PART_MB = 8.0  # of uploads and downloads of larger files
RENEWAL_S = 15.0  # of a lease
SAVE_S = 30.0  # between checkpoints, beside those of validations
