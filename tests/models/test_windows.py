"""Rooms in overlapping windows."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from roomseg.errors import UsageError
from roomseg.models import memory
from roomseg.models.student import TRAINED_VOXEL_BYTES, VARIANTS, Student, build_student, pad_with_empty
from roomseg.models.windows import MULTIPLE, OVERLAP, SMALLEST, blended_coarse, window_sizes, window_starts
from roomseg.processes import given_memory
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


def windows_of(student: Student, method: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Of a room of 128 x 128 x 190 voxels, padded to 192."""
    seen: list[tuple[int, ...]] = []

    def note(part: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(part.shape[2:]))
        return part.new_zeros(1, 96, *(n // 8 for n in part.shape[2:]))

    with monkeypatch.context() as patch:
        patch.setattr(student, "features", note)
        getattr(student, method)(torch.zeros(1, 4, 128, 128, 190))
    return seen


@pytest.mark.parametrize(("method", "voxel_bytes"), [("room_coarse", 1.3 * 48), ("room_features", 3.0 * 120)])
def test_window_size_follows_from_the_memory_that_there_is(
    method: str, voxel_bytes: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = build_student("T").eval()
    monkeypatch.setenv(memory.MEMORY_GB, f"{2 * 128 * 128 * 192 * voxel_bytes * 1.01 / 1e9}")  # half of it is taken
    assert windows_of(student, method, monkeypatch) == [(128, 128, 192)]
    monkeypatch.setenv(memory.MEMORY_GB, f"{2 * 128 * 128 * 192 * voxel_bytes * 0.99 / 1e9}")
    assert windows_of(student, method, monkeypatch) == [(128, 128, 128)] * 2


@pytest.mark.parametrize("method", ["room_coarse", "room_features"])
def test_what_was_read_before_does_not_change_the_windows(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pod's ``memory.current`` has the page cache of all files that it read."""
    monkeypatch.setattr(memory, "given_memory", lambda: given_memory(tmp_path))
    (tmp_path / "memory.max").write_text(f"{16 * 2**30}\n")
    student = build_student("T").eval()
    for used in (0, 15 * 2**30, 16 * 2**30):
        (tmp_path / "memory.current").write_text(f"{used}\n")
        assert windows_of(student, method, monkeypatch) == [(128, 128, 192)]


def test_memory_counts_in_whole_gib_and_half_of_it_is_planned_with(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for mib, planned in ((16 * 1024, 8 * 2**30), (16 * 1024 - 300, 15 * 2**29), (16 * 1024 - 290, 15 * 2**29)):
        monkeypatch.setattr(memory, "given_memory", lambda mib=mib: mib * 2**20)
        assert memory.planned_bytes(cpu) == planned


def test_of_a_card_its_whole_memory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(total_memory=24 * 2**30 - 2**28)  # there is none in the tests
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: card)
    assert memory.planned_bytes(torch.device("cuda", 0)) == 23 * 2**29


@pytest.mark.parametrize("given", ["much", "-1", "0", "nan", "inf"])
def test_a_planned_memory_that_is_none(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(memory.MEMORY_GB, given)
    with pytest.raises(UsageError, match=f"ROOMSEG_MEMORY_GB is '{given}': expected the memory to plan with in GB"):
        memory.planned_bytes(torch.device("cpu"))


def test_training_through_windows_has_the_gradients_of_windows_held_whole() -> None:
    student = build_student("T", drop_path=0.0, seed=1)
    x, labels = room_like((190, 60, 60), seed=2)
    index = torch.randint(0, labels.numel(), (500,), generator=torch.Generator().manual_seed(0))

    def gradients(features: torch.Tensor) -> list[torch.Tensor]:
        coarse = student.class_logits(features)
        loss = student.cross_entropy(coarse, x, labels) + student.logits_at(coarse, x, index).logsumexp(1).mean()
        return list(torch.autograd.grad(loss, list(student.parameters())))

    padded = pad_with_empty(x)
    held = gradients(blended_coarse(student.features, padded, (128, 64, 64)))
    for ours, theirs in zip(gradients(student.room_features(x, max_voxels=600_000)), held, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-4)


def test_a_room_that_fits_is_trained_whole_and_predicted_alike() -> None:
    student = build_student("T", seed=1).eval()
    x, _ = room_like((100, 64, 64), seed=2)
    whole = student.class_logits(student.room_features(x))
    torch.testing.assert_close(whole, student.coarse(pad_with_empty(x)))
    large, _ = room_like((190, 60, 60), seed=3)
    with torch.no_grad():
        windowed = student.class_logits(student.room_features(large, max_voxels=600_000))
        torch.testing.assert_close(windowed, student.room_coarse(large, max_voxels=600_000), atol=1e-5, rtol=1e-4)


def test_windows_keep_less_for_the_backward_pass() -> None:
    student = build_student("T", seed=1)
    x, _ = room_like((384, 64, 64), seed=2)
    whole, windowed = (kept_bytes(lambda n=n: student.room_features(x, max_voxels=n)) for n in (10**9, 600_000))
    assert windowed < whole / 4
    assert whole / x[0, 0].numel() < TRAINED_VOXEL_BYTES * VARIANTS["T"].activations


def kept_bytes(forward: Callable[[], torch.Tensor]) -> int:
    """Of the storages that a forward pass leaves for the backward pass."""
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(kept.values())
