"""The parts of benchmarks/distill.py at a small size: ours and the peers give the same."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from tests.benchmarks.loading import load_benchmark

VOXEL_M, HEIGHT, CLASSES = 0.16, 32, 30


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return load_benchmark("distill")


@pytest.fixture(scope="module")
def case(benchmark: ModuleType) -> Any:
    return benchmark.make_case(HEIGHT, CLASSES, VOXEL_M)


def test_the_march_stops_behind_our_hits(benchmark: ModuleType, case: Any) -> None:
    field = torch.from_numpy(case.room.tsdf).float() / 127
    rays, step = torch.from_numpy(benchmark.directions(HEIGHT)), 0.4
    depth = benchmark.torch_march(field, case.camera_voxel, rays, step)
    benchmark.check_march(case.hits, depth, step)
    with pytest.raises(AssertionError, match="agree on"):
        benchmark.check_march(case.hits, depth + 2, step)


def test_both_ways_to_the_divergence_agree(benchmark: ModuleType, case: Any) -> None:
    hit = torch.from_numpy(case.hits.voxel)
    collapsed = benchmark.collapse_teacher(case.coarse, hit, benchmark.TAU, case.weights)
    ours = benchmark.our_kl(case.student, collapsed)
    theirs = benchmark.pixel_kl(case.student, benchmark.cache_pixels(case))
    benchmark.check_kl(ours, theirs, collapsed.voxels)
    with pytest.raises(AssertionError):
        benchmark.check_kl((ours[0], 1.1 * ours[1]), theirs, collapsed.voxels)
    assert len(ours[1]) == len(collapsed.voxels) < len(case.student) / 10


def test_the_composite_shows_what_the_map_shows(
    benchmark: ModuleType, case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "FACE", 16)
    volume = benchmark.label_logits(case).requires_grad_()
    field = torch.from_numpy(case.room.tsdf).float() / 127
    for face in ("+x", "-z"):
        image, (loss, gradient) = benchmark.emission_absorption_kl(case, volume, field, face, slice(0, 16))
        benchmark.check_composite(case, image, volume.detach().flatten(1).T, face, slice(0, 16))
        assert loss > 0
        assert gradient.abs().sum() > 0


def test_a_composite_of_equal_logits_is_these_logits(benchmark: ModuleType, case: Any) -> None:
    field = torch.from_numpy(case.room.tsdf).float() / 127
    volume = torch.tensor([2.0, -3.0]).view(2, 1, 1, 1).expand(2, *case.room.shape)
    rays = torch.from_numpy(benchmark.face_directions("+y", 8))
    image = benchmark.composite(volume, field, case.camera_voxel, rays, 100, VOXEL_M)
    np.testing.assert_allclose(image.numpy(), np.broadcast_to([2.0, -3.0], (8, 8, 2)), atol=0.01)


def test_iterations_start_from_the_same_cross_entropy(benchmark: ModuleType) -> None:
    small = benchmark.make_case(16, 30, 0.24)
    both, alone = benchmark.Iteration(small, distil=True), benchmark.Iteration(small, distil=False)
    first = [both(), alone()]
    assert first[0][0] == pytest.approx(first[1][0], rel=1e-6)
    assert first[0][1] > 0 == first[1][1]
    assert both()[0] < first[0][0]
