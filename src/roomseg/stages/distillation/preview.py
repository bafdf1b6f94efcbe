"""A panorama through the eyes of teacher and student: the qualitative check of a distillation."""

from __future__ import annotations

import numpy as np
from torch import nn

from roomseg.config import HitsWay
from roomseg.data.rooms import Room
from roomseg.errors import UserError
from roomseg.labels import VOID
from roomseg.models.teacher import Teacher
from roomseg.report.content import PanoramaPicture
from roomseg.stages.distillation.judging import room_hits
from roomseg.stages.networks import predict_room
from roomseg.stages.teacher import teacher_labels


def panorama_picture(
    teacher: Teacher, student: nn.Module, room: Room, number: int = 0, way: HitsWay = "direct"
) -> PanoramaPicture:
    """The panorama as the teacher sees it, and the student's prediction through the hit map.

    Raises ``UserError`` for a panorama that the room does not have.
    """
    if not 0 <= number < len(room.panoramas):
        raise UserError(f"room {room.id} has no panorama {number}; it has {len(room.panoramas)}, the first is 0")
    panorama = room.panoramas[number]
    voxel = room_hits(room, panorama, way).voxel  # (H, 2H)
    predicted = predict_room(student, room).ravel()
    return PanoramaPicture(
        room_id=room.id,
        rgb=panorama.rgb,
        truth=panorama.label,
        teacher=teacher_labels(teacher, panorama),
        student=np.where(voxel >= 0, predicted[voxel], VOID).astype(np.uint8),
        hit=voxel >= 0,
    )
