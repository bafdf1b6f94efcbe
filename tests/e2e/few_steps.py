"""Training steps of a student, a teacher and a distilled student; prints the digests of their weights after each step.

Run as ``python -m tests.e2e.few_steps``: each call is a process of its own.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from roomseg.losses import collapse_teacher, collapsed_distillation
from roomseg.models.student import build_student
from roomseg.models.teacher import build_teacher

STEPS, CLASSES = 2, 30


def weight_digests() -> dict[str, list[str]]:
    rng = np.random.default_rng(0)
    student = build_student("T", CLASSES, drop_path=0.2)
    teacher = build_teacher("micro", CLASSES, "mask", image_size=(64, 128), drop_path=0.1)
    return {
        "student": [_step(student, student.loss(*_room(rng)), step) for step in range(STEPS)],
        "distilled": [_step(student, _distillation(student, rng), step) for step in range(STEPS)],
        "teacher": [_step(teacher, _teacher_loss(teacher, rng), step) for step in range(STEPS)],
    }


def _room(rng: np.random.Generator) -> tuple[Tensor, Tensor]:  # (2, 4, X, Y, Z) float32, (2, X, Y, Z) uint8
    shape = (2, 60, 64, 44)
    volume = rng.normal(size=(shape[0], 4, *shape[1:])).astype(np.float32)
    return torch.from_numpy(volume), torch.from_numpy(rng.integers(0, CLASSES, shape).astype(np.uint8))


def _distillation(student: nn.Module, rng: np.random.Generator) -> Tensor:
    volume, _ = _room(rng)
    coarse = torch.from_numpy(rng.normal(size=(CLASSES, 4, 8)).astype(np.float32))
    hit = torch.from_numpy(rng.integers(-1, volume[0, 0].numel(), (64, 128)).astype(np.int32))
    teacher = collapse_teacher(coarse, hit, 20.0, torch.ones(hit.shape))
    at_hits = student.logits_at(student.room_coarse(volume[:1]), volume[:1], teacher.voxels)  # (V, K)
    return collapsed_distillation(at_hits, teacher, 20.0)


def _teacher_loss(teacher: nn.Module, rng: np.random.Generator) -> Tensor:
    images = torch.from_numpy(rng.integers(0, 256, (2, 3, 64, 128)).astype(np.uint8))
    return F.cross_entropy(teacher(images), torch.from_numpy(rng.integers(0, CLASSES, (2, 64, 128))))


def _step(model: nn.Module, loss: Tensor, step: int) -> str:
    """One of Adam's first updates, then the digest of all weights."""
    torch.manual_seed(step)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:16]


if __name__ == "__main__":
    torch.manual_seed(0)
    print(json.dumps(weight_digests()))
