from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.data.packing import PackedVoxels, pack_voxels, unpack_voxels

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 9))


def planes(shape: tuple[int, int, int], empty_share: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    tsdf = rng.integers(-127, 127, shape).astype(np.int8)
    tsdf[rng.random(shape) < empty_share] = 127
    full = tsdf < 127
    rgb = (rng.integers(0, 256, (*shape, 3)) * full[..., None]).astype(np.uint8)
    label = (rng.integers(0, 256, shape) * full).astype(np.uint8)
    return tsdf, rgb, label


def slow_differences(
    tsdf: np.ndarray, rgb: np.ndarray, label: np.ndarray
) -> tuple[list[int], list[list[int]], list[int]]:
    """What ``pack_voxels`` keeps, by its definition, voxel by voxel; neighbours go round the ends of a row."""
    values, colours, ids = tsdf.reshape(-1).astype(int), rgb.reshape(-1, 3).astype(int), label.reshape(-1).astype(int)
    steps = (tsdf.shape[1] * tsdf.shape[2], tsdf.shape[2], 1)
    last = 0
    out: tuple[list[int], list[list[int]], list[int]] = ([], [], [])
    for place in range(tsdf.size):
        if values[place] == 127:
            continue
        below = [values[place - step] if place >= step else 127 for step in steps]
        near = next((place - step for step, value in zip(steps, below, strict=True) if value != 127), last)
        known = near < place
        red, green, blue = colours[place] - known * colours[near]
        out[0].append((values[place] - sorted(below)[1]) % 256)
        out[1].append([(red - green) % 256, green % 256, (blue - green) % 256])
        out[2].append(ids[place] ^ known * ids[near])
        last = place
    return out


@given(SHAPES, st.sampled_from([0.0, 0.5, 0.95, 1.0]), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_voxels_come_back_as_they_were(shape: tuple[int, int, int], empty_share: float, seed: int) -> None:
    given_planes = planes(shape, empty_share, seed)
    got = unpack_voxels(pack_voxels(*given_planes), shape)
    for plane, expected in zip(got, given_planes, strict=True):
        assert plane.dtype == expected.dtype
        np.testing.assert_array_equal(plane, expected)


@pytest.mark.parametrize("empty_share", [0.0, 0.4, 0.9])
def test_what_is_kept_is_as_defined(empty_share: float) -> None:
    tsdf, rgb, label = planes((4, 5, 6), empty_share, 1)
    packed = pack_voxels(tsdf, rgb, label)
    n = int((tsdf < 127).sum())
    kept = [np.frombuffer(pa.Codec("zstd").decompress(data, size), np.uint8) for data, size in sizes(packed, n)]
    np.testing.assert_array_equal(kept[0], np.packbits(tsdf < 127))
    for got, expected in zip(kept[1:], slow_differences(tsdf, rgb, label), strict=True):
        np.testing.assert_array_equal(got, np.ravel(expected))


def sizes(packed: PackedVoxels, n: int) -> list[tuple[bytes, int]]:
    return [(packed.full, 15), (packed.tsdf, n), (packed.rgb, 3 * n), (packed.label, n)]


def test_a_smooth_room_takes_few_bytes() -> None:
    """A sphere with a colour that changes slowly: differences are small where values are not."""
    axis = np.arange(-32, 32)
    radius = np.sqrt(sum(np.meshgrid(axis**2, axis**2, axis**2, indexing="ij")))
    tsdf = np.rint(np.clip((24 - radius) / 5, -1, 1) * 127).astype(np.int8)
    full = tsdf < 127
    rgb = (np.stack(np.meshgrid(*[axis * 3 + 128] * 3, indexing="ij"), axis=-1) * full[..., None]).astype(np.uint8)
    packed = pack_voxels(tsdf, rgb, full.astype(np.uint8))
    plain = sum(len(pa.Codec("zstd").compress(plane.tobytes())) for plane in (tsdf, rgb, full))
    assert sum(len(data) for data in vars(packed).values()) < 0.75 * plain


@pytest.mark.parametrize(
    "damage",
    [
        {"full": b""},
        {"full": pa.Codec("zstd").compress(b"\xff" * 14, asbytes=True)},  # 120 voxels have 15 bytes
        {"rgb": b"no zstd at all"},
        {"label": pa.Codec("zstd").compress(b"\x01", asbytes=True)},
    ],
    ids=lambda damage: next(iter(damage)),
)
def test_damaged_bytes_are_refused(damage: dict[str, bytes]) -> None:
    packed = replace(pack_voxels(*planes((4, 5, 6), 0.5, 0)), **damage)
    with pytest.raises((ValueError, OSError)):
        unpack_voxels(packed, (4, 5, 6))


def test_bits_beyond_the_room_are_refused() -> None:
    packed = pack_voxels(*planes((3, 4, 1), 0.0, 0))
    with pytest.raises(ValueError, match="outside the room"):
        unpack_voxels(packed, (3, 3, 1))
