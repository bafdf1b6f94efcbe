"""Where memory really runs out outside training, one line says what to lower."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from roomseg.data.rooms import Panorama, Room
from roomseg.errors import UserError
from roomseg.models.memory import MEMORY_GB
from roomseg.stages.networks import card_of, predict_room
from roomseg.stages.predicting.inputs import open_room
from roomseg.stages.predicting.models import LoadedModel
from roomseg.stages.predicting.result import predict
from roomseg.stages.teacher import teacher_labels

# Its address space ends a few MB above what is in use once the network is there.
LABEL_IN_LITTLE_MEMORY = """
import resource
from pathlib import Path
import numpy as np
from roomseg.cli import run_command_line
from roomseg.data.rooms import Room
from roomseg.models.networks import build_network
from roomseg.stages.networks import predict_room

sizes = (100, 128, 128)
tsdf, none = np.zeros(sizes, np.int8), np.zeros(sizes, np.uint8)
room = Room("r1", "h1", "test", np.zeros(3), 0.04, tsdf, np.zeros((*sizes, 3), np.uint8), none)
network = build_network("{network}", 5).eval()
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + {mib} * 2**20, resource.RLIM_INFINITY))
run_command_line(lambda: {work})
"""
NETWORKS = {
    "T": "room r1: out of CPU memory as Student labelled 100 x 128 x 128 voxels; set ROOMSEG_MEMORY_GB below 64, so",
    "vtunet": "room r1: out of CPU memory as VTUNet labelled 100 x 128 x 128 voxels; it looks at parts of a fixed size",
}


def ended_with(code: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The one line of a process that fails."""
    monkeypatch.setenv(MEMORY_GB, "64")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # each thread's stack is address space
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("network", NETWORKS)
def test_labelling_a_room_says_what_to_lower(network: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code = LABEL_IN_LITTLE_MEMORY.format(network=network, mib=60, work="predict_room(network, room)")
    assert ended_with(code, monkeypatch).startswith(f"error: {NETWORKS[network]}")


def test_elsewhere_it_says_that_the_machine_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    code = LABEL_IN_LITTLE_MEMORY.format(network="T", mib=60, work="np.ones(2**30)")
    assert ended_with(code, monkeypatch).startswith("error: out of CPU memory; take a machine with more, in a cluster")


class FullCard(nn.Module):
    """As a network on a GPU that is full: there is none in the tests."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    predict = forward


def test_a_full_gpu_is_told_alike_of_rooms_and_of_persons_scans() -> None:
    shape = (16, 16, 16)
    tsdf = np.zeros(shape, np.int8)
    room = Room("r1", "h1", "test", np.zeros(3), 0.04, tsdf, np.zeros((*shape, 3), np.uint8), tsdf.astype(np.uint8))
    told = "r1: out of GPU memory as FullCard labelled 16 x 16 x 16 voxels; it looks at parts of a fixed size: take a"
    with pytest.raises(UserError, match=f"room {told}"):
        predict_room(FullCard(), room)
    model = LoadedModel(card_of("unet3d", True, replace(room, meta={"truncation_voxels": 5})), FullCard(), "here")
    with pytest.raises(UserError, match=f"^{told}"):
        predict(open_room(room), model)


def test_the_teacher_names_the_panoramas_size() -> None:
    view = Panorama(np.zeros(3), np.zeros((16, 32, 3), np.uint8), np.zeros((16, 32), np.uint8))
    told = "out of GPU memory as the teacher looked at a panorama of 16 x 32 pixels; lower render.panorama_height"
    with pytest.raises(UserError, match=told):
        teacher_labels(FullCard(), view)  # type: ignore[arg-type]
