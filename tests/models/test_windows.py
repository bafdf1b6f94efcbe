"""Rooms in overlapping windows."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from roomseg.models import memory
from roomseg.models.student import build_student
from roomseg.models.windows import MULTIPLE, OVERLAP, SMALLEST, blended_coarse, window_sizes, window_starts
from tests.models.volumes import randomise, room_like

SIDES = st.integers(1, 20).map(lambda n: n * MULTIPLE)
T_REACH = 192  # voxels: two 32-voxel windows, then two 64-voxel ones


@given(st.tuples(SIDES, SIDES, SIDES), st.integers(1, 10**9))
def test_windows_fit_and_only_as_small_as_needed(sizes: tuple[int, int, int], most: int) -> None:
    window = window_sizes(sizes, most)
    assert all(side % MULTIPLE == 0 and side <= n for side, n in zip(window, sizes, strict=True))
    voxels = window[0] * window[1] * window[2]
    assert voxels <= most or max(window) <= SMALLEST
    if sizes[0] * sizes[1] * sizes[2] <= most:
        assert window == sizes


@given(SIDES, SIDES)
def test_starts_cover_the_axis_with_overlap(length: int, side: int) -> None:
    side = min(side, length)
    starts = window_starts(length, side)
    assert starts[0] == 0
    assert starts[-1] == length - side
    steps = [b - a for a, b in itertools.pairwise(starts)]
    assert all(0 < step <= max(side - OVERLAP, MULTIPLE) and step % MULTIPLE == 0 for step in steps)


def test_a_constant_stays_a_constant() -> None:
    x = torch.zeros(1, 4, 128, 192, 320)

    def coarse_of(part: torch.Tensor) -> torch.Tensor:
        return torch.full((1, 2, *(n // 8 for n in part.shape[2:])), 3.5)

    blended = blended_coarse(coarse_of, x, (128, 128, 128))
    assert blended.shape == (1, 2, 16, 24, 40)
    torch.testing.assert_close(blended, torch.full_like(blended, 3.5))


def test_equals_the_whole_room_away_from_the_seams() -> None:
    student = build_student("T", seed=1).eval()
    randomise(student, seed=2, spread=0.1)
    x, _ = room_like((64, 64, 704), seed=3)
    with torch.no_grad():
        whole = student.room_coarse(x, max_voxels=x[0, 0].numel())
        split = student.room_coarse(x, max_voxels=64 * 64 * 400)  # windows of 384 from 0 and 320
    same = ((whole - split).abs().amax(dim=(0, 1, 2, 3)) < 1e-4).nonzero().flatten().tolist()
    far = [*range((384 - T_REACH) // 8), *range((320 + T_REACH) // 8, 704 // 8)]
    assert set(far) <= set(same)
    assert len(same) < 704 // 8  # at the seam they do differ
    torch.testing.assert_close(student.predict(x, 10**9)[..., :128], student.predict(x, 64 * 64 * 400)[..., :128])


def test_window_size_follows_from_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    student = build_student("T").eval()
    calls = []
    monkeypatch.setattr(student, "coarse", lambda part: calls.append(part.shape) or part.new_zeros(1, 30, 16, 16, 16))
    monkeypatch.setattr("roomseg.models.student.free_bytes", lambda device: 2 * 128**3 * 70)
    student.room_coarse(torch.zeros(1, 4, 128, 128, 190))
    assert [tuple(shape[2:]) for shape in calls] == [(128, 128, 128)] * 2


def test_free_memory_obeys_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = memory.free_bytes(torch.device("cpu"))
    assert 2**20 < free < 2**50
    (tmp_path / "memory.max").write_text("1048576\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.free_bytes(torch.device("cpu")) == 48_576
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes(torch.device("cpu")) > 2**20
