"""distill: room by room, the teacher's class distributions go into the student (paper, section 4).

What does not change in training is found once a viewpoint and kept in the store (``distillation/views.py``): the pixel
-> voxel map of its panorama, and the frozen teacher's coarse logits. Each step (``distillation/task.py``) then needs
the student's logits at the voxels that are hit, and no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import torch
from safetensors.torch import save_file

from roomseg.config import DistillConfig
from roomseg.data.dataset import RoomSet, open_rooms
from roomseg.errors import UserError
from roomseg.labels import label_set
from roomseg.ports import StageContext
from roomseg.stages.bad_batches import batch_keeper
from roomseg.stages.distillation.student import DistilledStudent
from roomseg.stages.distillation.task import DistillTask
from roomseg.stages.distillation.views import LeftOut, RoomViews, TeacherOf, UsableRoom
from roomseg.stages.networks import NetworkCard, add_network, load_student, read_card
from roomseg.stages.outputs import add_json
from roomseg.stages.teacher import TeacherCard, read_teacher_card
from roomseg.team import Team
from roomseg.training import FitConfig, constant_lr, fit, training_device


def run(config: DistillConfig, ctx: StageContext) -> dict[str, float]:
    """Train; returns the best mIoU over the voxels of the validation rooms, and how much was left out.

    Writes the best network (``model.safetensors``), the last one, and the viewpoints that were left out.
    """
    train, val = open_rooms(ctx.inputs["rooms"], "train"), open_rooms(ctx.inputs["rooms"], "val")
    card = read_card(ctx.inputs["pretrained"])
    check_classes(train, read_teacher_card(ctx.inputs["teacher"]), card)
    views = RoomViews(train, TeacherOf(ctx.inputs["teacher"]), ctx.cache, config)
    with Team.current().first_goes_ahead():
        usable, left_out = views.prepare(ctx.progress)
    say_left_out(ctx, left_out)
    model = start_student(config, ctx, views, usable[0])
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], config.lr)
    model.follow(optimizer)
    result = fit(
        DistillTask(model, train, val, views, usable, config),
        optimizer,
        constant_lr(config.lr),
        FitConfig(
            steps=config.iterations,
            validate_every=config.validate_every,
            precision=config.precision,
            accumulate=config.accumulate,
            max_bad_steps=config.max_bad_steps,
            batch_of="rooms",
            sizes="distill.max_voxels, so that rooms are trained on in windows",
            seed=config.seed,
        ),
        checkpoints=ctx.checkpoints,
        tracker=ctx.tracker,
        progress=ctx.progress,
        title="distill",
        keep_batch=batch_keeper(ctx),
    )
    add_network(ctx, card, model.kept(result.best_state), result.history)
    add_last(ctx, model.kept(result.last_state))
    return {
        "val_miou": result.best_score,
        "rooms_left_out": float(len(train) - len(usable)),
        "views_left_out": float(len(left_out)),
    }


def start_student(config: DistillConfig, ctx: StageContext, views: RoomViews, first: UsableRoom) -> DistilledStudent:
    """The pretrained student on the training device, with the head and the average that the configuration asks for."""
    student = load_student(ctx.inputs["pretrained"], config.drop_path)
    features = views.read(first.place, first.views[0]).features
    width = None if features is None else len(features)
    model = DistilledStudent(student, width, config.ema_decay, config.seed).to(training_device())
    if config.compile:
        model.student.compile()
    return model


def check_classes(rooms: RoomSet, teacher: TeacherCard, student: NetworkCard) -> None:
    """Raises ``UserError`` unless rooms, teacher and student have the same classes in the same order."""
    for what, card in (("teacher", teacher), ("student", student)):
        if card.classes != rooms.labels.names:
            raise UserError(
                f"distill: the {what} knows the {len(card.classes)} classes of {label_set(card.labels).name}, the "
                f"rooms are labelled with the {len(rooms.labels)} of {rooms.labels.name}; expected the same: train it "
                "on these rooms"
            )


def say_left_out(ctx: StageContext, left_out: Sequence[LeftOut]) -> None:
    """``left_out.json``: the viewpoints that are not learnt from, with the reasons."""
    add_json(ctx, "left_out.json", [asdict(view) for view in left_out])
    if left_out:
        first = left_out[0]
        ctx.progress.say(
            f"distill: {len(left_out)} panoramas are left out, listed in left_out.json; "
            f"the first, room {first.room}, because {first.reason}"
        )


def add_last(ctx: StageContext, state: dict[str, torch.Tensor]) -> None:
    path = ctx.work_dir / "last.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    ctx.outputs.add("last.safetensors", path)
