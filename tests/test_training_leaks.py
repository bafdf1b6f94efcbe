"""Memory, tensors and open files stay flat over a long training, checkpoints and validations included.

How many tensors are alive and files are open is exact. What the process takes of the memory depends on what ran in it
before; in a few steps it shows only whether whole volumes are kept.
"""

from __future__ import annotations

import ctypes
import gc
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pytest
import torch
from torch import Tensor

from roomseg.config import override
from roomseg.data.dataset import open_rooms
from roomseg.models.student import build_student
from roomseg.models.teacher import build_teacher
from roomseg.profiles import demo
from roomseg.runtime.checkpoints import StoreCheckpoints
from roomseg.runtime.storage import DirectoryStore
from roomseg.stages.pretrain import PretrainTask
from roomseg.stages.teacher import TeacherTask
from roomseg.training import FitConfig, Task, constant_lr, fit
from tests.fitting import Quiet, Regression
from tests.stages.distilling import bench, furnished, rooms_artifact
from tests.stages.test_distill_task import make_task
from tests.stages.test_teacher import coloured, configured, rooms_of

MALLOC_TRIM = ctypes.CDLL(None).malloc_trim


@dataclass
class Measured:
    """A tracker that looks at the process each so many steps."""

    every: int
    resident_mib: list[float] = field(default_factory=list)
    tensors: list[int] = field(default_factory=list)
    open_files: list[int] = field(default_factory=list)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if "loss" not in metrics or step % self.every:
            return
        gc.collect()
        MALLOC_TRIM(0)  # what is free goes back: else a leak could hide in what other tests left
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.resident_mib.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
        self.tensors.append(sum(isinstance(each, Tensor) for each in gc.get_objects()))
        self.open_files.append(len(os.listdir("/proc/self/fd")))


def train_and_measure(task: Task, steps: int, folder: Path) -> Measured:
    measured = Measured(every=max(2, steps // 40))
    gc.freeze()  # what is there already is neither looked through each time nor counted
    fit(
        task,
        torch.optim.Adam(task.model.parameters()),
        constant_lr(1e-4),
        FitConfig(steps=steps, validate_every=steps // 8, checkpoint_seconds=5.0),
        checkpoints=StoreCheckpoints(DirectoryStore(folder), "stage", "mark", folder / "work", print),
        tracker=measured,
        progress=Quiet(),
        title="leaks",
    )
    gc.unfreeze()
    return measured


def check_flat(measured: Measured, slack_mib: float) -> None:
    assert growth(measured.open_files) <= 0
    assert growth(measured.tensors) <= 0
    assert growth(measured.resident_mib) < slack_mib


def growth(figures: Sequence[float]) -> float:
    """From the first third, when all caches get warm, to the last; of medians, for a single look may be far off."""
    third = len(figures) // 3
    return median(figures[-third:]) - median(figures[:third])


def distilling(folder: Path) -> Task:
    """Of a student T, with every part of the loss that there is."""
    parts = ("band_weight=0.5", "lovasz_weight=0.5", "feature_weight=0.5", 'augment=["yaw","flip","colour"]')
    rooms = [*[furnished(n, views=2) for n in range(3)], furnished(6, "val")]
    return make_task(bench(folder, rooms), *parts)


def pretraining(folder: Path) -> Task:
    """Of a student T on blocks of 64^3."""
    settings = ["batch=1", "block_voxels=64", "cut=random"]
    config = override(demo(), [f"pretrain.{setting}" for setting in settings]).pretrain
    rooms = rooms_artifact(folder, [*[furnished(n) for n in range(3)], furnished(6, "val")])
    return PretrainTask(build_student("T", 30), open_rooms(rooms, "train"), open_rooms(rooms, "val"), config)


def teaching(folder: Path) -> Task:
    rooms = rooms_of(folder, [*[coloured(n, "train") for n in range(5)], coloured(6, "val")])
    model = build_teacher("micro", 30, "linear", image_size=(64, 128))
    return TeacherTask(model, open_rooms(rooms, "train"), open_rooms(rooms, "val"), configured("batch=2"))


def test_24_steps_of_distillation_with_all_its_kernels(tmp_path: Path) -> None:
    check_flat(train_and_measure(distilling(tmp_path / "bench"), 24, tmp_path / "store"), slack_mib=32)


@pytest.mark.heavy
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("stage", [teaching, pretraining, distilling])
def test_2000_steps_on_stored_rooms(stage: Callable[[Path], Task], tmp_path: Path) -> None:
    check_flat(train_and_measure(stage(tmp_path / "rooms"), 2000, tmp_path / "store"), slack_mib=16)


class Leaking(Regression):
    """Keeps four MiB of each step, and a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[Tensor, socket.socket]] = []

    def loss(self, batch: tuple[int, Tensor]) -> tuple[Tensor, dict[str, float]]:
        self.kept.append((torch.ones(2**20), socket.socket()))
        return super().loss(batch)


def test_what_a_step_keeps_is_seen(tmp_path: Path) -> None:
    measured = train_and_measure(Leaking(), 24, tmp_path)
    assert growth(measured.open_files) == 16
    assert growth(measured.tensors) == 16
    assert growth(measured.resident_mib) > 32
