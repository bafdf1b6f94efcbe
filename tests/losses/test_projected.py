from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from roomseg.geometry.projection import HitMap, panorama_hits
from roomseg.losses import PixelMap, nearest_map, project, project_volume, trilinear_map

SHAPE, CLASSES, HEIGHT = (11, 9, 10), 5, 8
CAMERA = np.array([4.9, 4.3, 4.6])


@pytest.fixture(scope="module")
def hits() -> HitMap:
    """A ball of free space, cut by the volume's border so that some rays leave it."""
    points = np.stack(np.indices(SHAPE), axis=-1)
    distance = 4.4 - np.linalg.norm(points - [4.8, 4.2, 4.7], axis=-1)
    found = panorama_hits(np.clip(distance / 5, -1, 1).astype(np.float32), CAMERA, HEIGHT)
    assert 0.5 < found.hit_rate < 1
    return found


def maps(hits: HitMap) -> dict[str, PixelMap]:
    voxel = torch.from_numpy(hits.voxel)
    positions = torch.from_numpy(hits.positions(CAMERA)).double()
    return {"nearest": nearest_map(voxel), "trilinear": trilinear_map(voxel, positions, SHAPE)}


def dense_reference(volume: torch.Tensor, hits: HitMap, way: str) -> torch.Tensor:  # (K, X, Y, Z) -> (H, 2H, K)
    """Pixel by pixel and corner by corner."""
    image = [[volume.new_zeros(len(volume)) for _ in range(2 * HEIGHT)] for _ in range(HEIGHT)]
    positions = hits.positions(CAMERA).astype(np.float64)
    for row, col in np.argwhere(hits.voxel >= 0):
        if way == "nearest":
            i, j, k = np.unravel_index(hits.voxel[row, col], SHAPE)
            image[row][col] = volume[:, i, j, k]
            continue
        low = [math.floor(c) for c in positions[row, col]]
        shares = positions[row, col] - low
        for corner in np.ndindex(2, 2, 2):
            weight = math.prod(s if upper else 1 - s for s, upper in zip(shares, corner, strict=True))
            i, j, k = (c + upper for c, upper in zip(low, corner, strict=True))
            image[row][col] = image[row][col] + weight * volume[:, i, j, k]
    return torch.stack([torch.stack(line) for line in image])


@pytest.mark.parametrize("way", ["nearest", "trilinear"])
def test_equals_the_dense_reference(hits: HitMap, way: str) -> None:
    rng = torch.Generator().manual_seed(0)
    volume = torch.randn(CLASSES, *SHAPE, generator=rng, dtype=torch.float64, requires_grad=True)
    wanted = torch.randn(HEIGHT, 2 * HEIGHT, CLASSES, generator=rng, dtype=torch.float64)
    images = [project_volume(volume, maps(hits)[way]), dense_reference(volume, hits, way)]
    torch.testing.assert_close(*images)
    torch.testing.assert_close(*(torch.autograd.grad((image * wanted).sum(), volume)[0] for image in images))


def test_trilinear_equals_grid_sample(hits: HitMap) -> None:
    volume = torch.randn(CLASSES, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    grid = 2 * torch.from_numpy(hits.positions(CAMERA)).double() / (torch.tensor(SHAPE) - 1) - 1
    expected = F.grid_sample(volume[None], grid.flip(-1)[None, None], align_corners=True)[0, :, 0].permute(1, 2, 0)
    expected[torch.from_numpy(hits.voxel) < 0] = 0
    torch.testing.assert_close(project_volume(volume, maps(hits)["trilinear"]), expected)


@pytest.mark.parametrize("way", ["nearest", "trilinear"])
def test_gradcheck_and_where_gradients_arrive(hits: HitMap, way: str) -> None:
    pixel_map = maps(hits)[way]
    rng = torch.Generator().manual_seed(2)
    logits = torch.randn(len(pixel_map.voxels), 2, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: project(x, pixel_map), logits)

    volume = torch.randn(2, *SHAPE, generator=rng, requires_grad=True)
    project_volume(volume, pixel_map).square().sum().backward()
    assert volume.grad is not None
    touched = volume.grad.flatten(1).abs().sum(0).nonzero()[:, 0]
    assert set(touched.tolist()) <= set(pixel_map.voxels.tolist())
    assert len(touched) > 0.9 * len(pixel_map.voxels)
    if way == "nearest":
        assert pixel_map.voxels.tolist() == np.unique(hits.voxel[hits.voxel >= 0]).tolist()


def test_gradcheck_through_a_volume() -> None:
    voxel = torch.tensor([[0, 7, -1, 3]])
    positions = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [9.0, 9.0, 9.0], [0.3, 0.6, 0.9]]])
    pixel_map = trilinear_map(voxel, positions.double(), (2, 2, 2))
    volume = torch.randn(3, 2, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: project_volume(v, pixel_map), volume)
    image = project_volume(volume, pixel_map).detach()
    torch.testing.assert_close(image[0, 0], volume[:, 0, 0, 0].detach())
    torch.testing.assert_close(image[0, 1], volume[:, 1, 1, 1].detach())
    assert not image[0, 2].any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_a_linear_function_is_projected_exactly(seed: int) -> None:
    """A volume a x + b y + c z + d shows a x + b y + c z + d of the points."""
    rng = torch.Generator().manual_seed(seed)
    coefficients = torch.randn(4, generator=rng, dtype=torch.float64)
    index = torch.stack(torch.meshgrid(*(torch.arange(n).double() for n in SHAPE), indexing="ij"))
    volume = torch.einsum("a,axyz->xyz", coefficients[:3], index) + coefficients[3]
    points = torch.rand(3, 6, 3, generator=rng, dtype=torch.float64) * (torch.tensor(SHAPE) - 1)
    image = project_volume(volume[None], trilinear_map(torch.zeros(3, 6), points, SHAPE))
    torch.testing.assert_close(image[..., 0], points @ coefficients[:3] + coefficients[3])


def test_nothing_hit_is_an_empty_image() -> None:
    pixel_map = nearest_map(torch.full((2, 3), -1))
    image = project_volume(torch.ones(4, 2, 2, 2), pixel_map)
    assert image.shape == (2, 3, 4)
    assert not image.any()
