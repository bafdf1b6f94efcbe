from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from roomseg.models.tiles import axis_tiles, predict_tiled
from tests.models.volumes import room_like

CPU = torch.device("cpu")
REACH = 3  # voxels to each side that a logit of ``smoothed`` depends on


def smoothed(x: Tensor) -> Tensor:  # (1, 4, X, Y, Z) -> (1, 3, X, Y, Z)
    """The same everywhere: mixes of channels, averaged over 7^3 voxels, with zeros outside the volume."""
    mix = torch.tensor([[1.0, 0, 2, 0], [-1, 1, 0, 1], [0, 0.5, -1, 3]])
    mixed = torch.einsum("kc,bcxyz->bkxyz", mix, x)
    return F.avg_pool3d(mixed, 2 * REACH + 1, stride=1, padding=REACH)


def test_a_single_tile_gives_the_identical_logits() -> None:
    x, _ = room_like((20, 17, 9), seed=0, batch=2)
    labels = predict_tiled(smoothed, x, (20, 17, 9), overlap=8, classes=3)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, smoothed(x).argmax(1).to(torch.uint8))


@pytest.mark.parametrize("sizes", [(37, 21, 16), (16, 50, 19), (33, 16, 35)])
def test_tiles_equal_the_whole_room_away_from_seams(sizes: tuple[int, int, int]) -> None:
    x, _ = room_like(sizes, seed=1)
    seen: list[tuple[int, ...]] = []

    def logits_of(tile: Tensor) -> Tensor:
        seen.append(tuple(tile.shape))
        return smoothed(tile)

    labels = predict_tiled(logits_of, x, (16, 16, 16), overlap=10, classes=3)[0]
    assert set(seen) == {(1, 4, 16, 16, 16)}
    whole = smoothed(x)[0].argmax(0).to(torch.uint8)
    inside = torch.ones(sizes, dtype=torch.bool)
    for axis, length in enumerate(sizes):
        along = torch.ones(length, dtype=torch.bool)
        for voxels, share in axis_tiles(length, 16, 10, 1, CPU):
            near_low = torch.arange(16) < (REACH if voxels.start > 0 else 0)
            near_high = torch.arange(16) >= (16 - REACH if voxels.stop < length else 16)
            along[voxels] &= ~((near_low | near_high) & (share > 0))
        inside &= along.view(*(-1 if axis == other else 1 for other in range(3)))
    assert 0.02 < inside.float().mean() < 1
    assert torch.equal(labels[inside], whole[inside])


def test_seams_are_smooth() -> None:
    """Tiles that disagree: the class changes where the second tile's share passes the first one's, half-way."""
    x = torch.zeros(1, 4, 24, 16, 16)
    answers = iter([torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])])
    labels = predict_tiled(
        lambda tile: next(answers).view(1, 2, 1, 1, 1).expand(1, 2, 16, 16, 16), x, (16,) * 3, overlap=8, classes=2
    )
    assert labels[0, :, 3, 5].tolist() == [0] * 12 + [1] * 12


def test_small_rooms_are_padded_with_empty_and_cropped() -> None:
    x, _ = room_like((5, 20, 3), seed=2)
    tiles: list[Tensor] = []

    def logits_of(tile: Tensor) -> Tensor:
        tiles.append(tile)
        return smoothed(tile)

    labels = predict_tiled(logits_of, x, (8, 12, 8), overlap=4, classes=3)
    assert labels.shape == (1, 5, 20, 3)
    assert [tile.shape for tile in tiles] == [(1, 4, 8, 12, 8)] * 2
    assert torch.equal(tiles[0][..., :5, :, :3], x[:, :, :, :12])
    assert tiles[0][0, :, 5:].flatten(1).unique(dim=1)[:, 0].tolist() == [-3, -1, -1, -1]
    assert tiles[1][0, :, :, :, 3:].flatten(1).unique(dim=1).shape == (4, 1)


def test_aligned_tiles_start_at_multiples_and_end_with_the_room() -> None:
    x, _ = room_like((45, 24, 24), seed=3)
    strided = torch.nn.AvgPool3d(8, ceil_mode=True)  # cells are the same only if tiles start at multiples of 8
    grid: list[int] = []

    def logits_of(tile: Tensor) -> Tensor:
        grid.append(tile.shape[2])
        coarse = torch.einsum("kc,bcxyz->bkxyz", torch.eye(4)[:3], strided(tile))
        return F.interpolate(coarse, scale_factor=8)[..., : tile.shape[2], : tile.shape[3], : tile.shape[4]]

    labels = predict_tiled(logits_of, x, (24, 24, 24), overlap=9, classes=3, align=8)
    assert grid == [24, 24, 24, 21]
    assert torch.equal(labels, logits_of(x).argmax(1).to(torch.uint8))


@settings(max_examples=200, deadline=None)
@given(tile=st.integers(1, 60), overlap=st.integers(0, 59), extra=st.integers(0, 200), align=st.sampled_from([1, 2, 8]))
def test_axis_tiles_cover_and_share(tile: int, overlap: int, extra: int, align: int) -> None:
    overlap = min(overlap, max(0, tile - align))
    length = tile + (extra if tile - overlap >= align else 0)
    tiles = axis_tiles(length, tile, overlap, align, CPU)
    total, count = torch.zeros(length), torch.zeros(length)
    for voxels, share in tiles:
        assert voxels.start % align == 0
        assert tile - align < voxels.stop - voxels.start == len(share) <= tile
        assert share.min() > 0
        total[voxels] += share
        count[voxels] += 1
    assert tiles[-1][0].stop == length
    torch.testing.assert_close(total, torch.ones(length), atol=1e-6, rtol=0)
    assert (total[count == 1] == 1).all()
    for (first, _), (second, _) in itertools.pairwise(tiles):
        assert overlap <= first.stop - second.start < tile
