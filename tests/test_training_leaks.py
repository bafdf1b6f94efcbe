"""Memory and open files stay flat over a long training, checkpoints and validations included."""

from __future__ import annotations

import gc
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from roomseg.data.dataset import open_rooms
from roomseg.models.teacher import build_teacher
from roomseg.runtime.checkpoints import StoreCheckpoints
from roomseg.runtime.storage import DirectoryStore
from roomseg.stages.teacher import TeacherTask
from roomseg.training import FitConfig, Task, constant_lr, fit
from tests.stages.test_teacher import coloured, configured, rooms_of
from tests.test_training import Quiet, Regression


@dataclass
class Measured:
    """A tracker that looks at the process each so many steps."""

    every: int
    resident_mib: list[float] = field(default_factory=list)
    open_files: list[int] = field(default_factory=list)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if "loss" not in metrics or step % self.every:
            return
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.resident_mib.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
        self.open_files.append(len(os.listdir("/proc/self/fd")))


def train_and_measure(task: Task, steps: int, folder: Path) -> Measured:
    measured = Measured(every=steps // 40)
    fit(
        task,
        torch.optim.Adam(task.model.parameters()),
        constant_lr(1e-4),
        FitConfig(steps=steps, validate_every=steps // 20, checkpoint_seconds=1.0),
        checkpoints=StoreCheckpoints(DirectoryStore(folder), "stage", "mark", folder / "work", print),
        tracker=measured,
        progress=Quiet(),
        title="leaks",
    )
    return measured


def check_flat(measured: Measured, slack_mib: float) -> None:
    """After a third, when all caches are warm, nothing grows."""
    warm = len(measured.open_files) // 3
    assert max(measured.open_files[warm:]) <= max(measured.open_files[:warm])
    assert max(measured.resident_mib[-warm:]) < max(measured.resident_mib[:warm]) + slack_mib


def test_300_steps_of_a_small_model(tmp_path: Path) -> None:
    check_flat(train_and_measure(Regression(), 300, tmp_path), slack_mib=8)


@pytest.mark.heavy
@pytest.mark.timeout(3600)
def test_2000_steps_of_a_teacher_on_stored_rooms(tmp_path: Path) -> None:
    rooms = rooms_of(tmp_path / "rooms", [*[coloured(n, "train") for n in range(5)], coloured(6, "val")])
    config = configured("batch=2")
    model = build_teacher("micro", 30, "linear", image_size=(64, 128))
    task = TeacherTask(model, open_rooms(rooms, "train"), open_rooms(rooms, "val"), config)
    check_flat(train_and_measure(task, 2000, tmp_path / "store"), slack_mib=24)
