"""What plans rest on: figures of docs/results.md and docs/scale.md, each with machine, date and command."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    value: float
    unit: str
    machine: str
    date: str
    command: str


CORES = 2  # of the machine
_MACHINE = f"{CORES} cores of an AMD EPYC virtual machine"
ROOMS, GEOMETRY = "python benchmarks/rooms.py", "python benchmarks/geometry.py"
STORE, MODELS, DISTILL = "python benchmarks/store.py", "python benchmarks/models.py", "python benchmarks/distill.py"

MEASURED = {
    name: Measured(value, unit, _MACHINE, date, command)
    for name, value, unit, date, command in (
        ("room", 4.5, "core-seconds a room of 424 frames with its panorama", "2026-11-24", ROOMS),
        ("noise", 4.3, "core-seconds more with depth_noise=kinect", "2026-11-24", "by hand (docs/scale.md)"),
        ("panorama", 0.335, "core-seconds a panorama of 512 x 1024", "2026-11-24", GEOMETRY),
        ("room_mb", 1.16, "MB a room with its panorama", "2026-11-24", f"{STORE} --only rooms"),
        ("block_step", 0.946, "core-seconds a training step of student T on a block of 128^3", "2026-11-28", MODELS),
        ("block_classes", 0.274, "core-seconds for the classes of 128^3 voxels by student T", "2026-11-28", MODELS),
        ("distill_step", 2.12, "core-seconds an iteration of student T, 6 x 5 x 3 m", "2026-11-24", DISTILL),
        ("finetune_step", 1.99, "core-seconds the same with cross entropy alone", "2026-11-24", DISTILL),
        ("demo_render", 67, "s on both cores: render of the demo", "2026-11-28", "make demo"),
        ("demo_teacher", 134, "s on both cores: teacher of the demo", "2026-11-28", "make demo"),
        ("demo_pretrain", 197, "s on both cores: pretrain of the demo", "2026-11-28", "make demo"),
        ("demo_distill", 103, "s on both cores: distill of the demo", "2026-11-28", "make demo"),
        ("demo_evaluate", 45, "s on both cores: evaluate of the demo", "2026-11-28", "make demo"),
        ("demo_register", 3, "s on both cores: register of the demo", "2026-11-28", "make demo"),
    )
}
FRAMES, PIXELS, PANORAMA_HEIGHT = 424, 640 * 480, 512  # of "room"
BLOCK_VOXELS = 128**3
DISTILL_ROOM_M = (6.0, 5.0, 3.0)

PAPERS_OWN = (  # not measured by us, and on other code
    "render: 120 V100 for 48 hours (section 5)",
    "pretrain: 48 hours on an A100 of 80 GB (section 6)",
)
