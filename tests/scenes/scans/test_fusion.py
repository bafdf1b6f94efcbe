"""Scans of the box room all the way into a volume: bounds, surface, labels, and what is up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomseg.errors import UserError
from roomseg.geometry.bricks import dense
from roomseg.geometry.raster import Frame
from roomseg.geometry.tsdf import TsdfVolume, empty_volume, finish, integrate
from roomseg.labels import SCANNET20
from roomseg.scenes.scans import bounds
from roomseg.scenes.scans.bounds import scan_bounds
from roomseg.scenes.scans.gravity import rotation_to_z
from roomseg.scenes.scans.rgbd import RgbdSource
from roomseg.scenes.scans.scannet import ScannetSource
from roomseg.scenes.source import PosedFrame, Scan
from tests.scenes.scans.box_room import (
    DEPTH_LENS,
    DEPTH_SIZE,
    ROOM_M,
    TABLE_M,
    Take,
    one_camera_rig,
    takes,
    two_camera_rig,
)
from tests.scenes.scans.recordings import TABLE, matrix_text, save, write_open3d, write_scan

VOXEL_M = 0.04
N_FRAMES = 36


def distance_to_box(points: np.ndarray, box: np.ndarray) -> np.ndarray:  # (n, 3) -> (n,)
    q = np.maximum(box[0] - points, points - box[1])
    return np.linalg.norm(np.maximum(q, 0), axis=1) + np.abs(np.minimum(q.max(axis=1), 0))


def zero_crossings(volume: TsdfVolume, tsdf: np.ndarray) -> np.ndarray:  # (n, 3) metres
    points = []
    for axis in range(3):
        a, b = np.delete(tsdf, -1, axis).astype(float), np.delete(tsdf, 0, axis).astype(float)
        crosses = ((a >= 0) != (b >= 0)) & (np.maximum(a, b) < 127)
        voxel = np.stack(np.nonzero(crosses), axis=1).astype(float)
        voxel[:, axis] += a[crosses] / (a - b)[crosses]
        points.append(volume.origin_m + VOXEL_M * voxel)
    return np.concatenate(points)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Scan:
    root = tmp_path_factory.mktemp("scannet")
    save(root / "scannetv2-labels.combined.tsv", TABLE)
    rig = two_camera_rig()
    write_scan(root, "scene0000_00", rig, takes(rig, N_FRAMES), lost=[5])
    source = ScannetSource(root, "random")
    return source.load(source.plan()[0][0])


@pytest.fixture(scope="module")
def fused(scan: Scan) -> TsdfVolume:
    lower, upper = scan_bounds(scan, 4.5)
    volume = empty_volume(lower, upper, VOXEL_M, 5, 5, len(SCANNET20))
    for posed in scan.frames():
        integrate(volume, posed.frame, posed.camera, posed.pose)
    return volume


def test_the_bounds_hold_the_room_and_little_more(scan: Scan) -> None:
    found = scan_bounds(scan, 4.5)
    assert (found[0] < ROOM_M[0]).all()
    assert (found[1] > ROOM_M[1]).all()
    np.testing.assert_allclose(found, ROOM_M, atol=0.6)


def test_the_zero_surface_lies_within_half_a_voxel(fused: TsdfVolume) -> None:
    surface = zero_crossings(fused, finish(fused)[0])
    error = np.minimum(distance_to_box(surface, ROOM_M), distance_to_box(surface, TABLE_M)) / VOXEL_M
    assert len(surface) > 10_000
    assert (error < 0.5).mean() > 0.95


def test_labels_and_colours_at_the_surface(fused: TsdfVolume) -> None:
    tsdf, rgb, label = finish(fused)
    index = np.argwhere((np.abs(tsdf) < 64) & (dense(fused.weight, fused.shape) >= 3))
    points = fused.origin_m + VOXEL_M * index
    to_table = distance_to_box(points, TABLE_M)
    sides = np.abs(np.concatenate([points - ROOM_M[0], points - ROOM_M[1]], axis=1))  # (n, 6)
    clear = np.sort(np.column_stack([sides, to_table]), axis=1)[:, 1] > 0.15  # one surface only is near
    names = ["wall", "wall", "floor", "wall", "wall", "void", "table"]
    colors = np.array([(200, 60, 60), (60, 200, 60), (120, 100, 80)])
    nearest = np.column_stack([sides, to_table]).argmin(axis=1)
    expected = np.array([SCANNET20.id(names[side]) for side in nearest])
    got = label[tuple(index.T)]
    assert clear.sum() > 5000
    assert (got[clear] == expected[clear]).mean() > 0.99
    for name in ("wall", "floor", "table", "void"):
        assert (got[clear & (expected == SCANNET20.id(name))] == SCANNET20.id(name)).mean() > 0.95
    floor = clear & (nearest == 2)
    assert np.abs(rgb[tuple(index.T)][floor] / 0.96 - colors[2]).mean() < 8  # drawn with the light from the ceiling


# Bounds.


def plain_scan(frames: list[PosedFrame]) -> Scan:
    def again() -> Iterator[PosedFrame]:
        return iter(frames)

    return Scan("a", "a", "scannet20", again)


def looking_down(x: float, depth: np.ndarray) -> PosedFrame:
    """A camera at (x, 0, 2) that looks straight down."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = np.diag([1.0, -1.0, -1.0]), (x, 0, 2)
    camera = one_camera_rig(DEPTH_LENS, DEPTH_SIZE).depth
    return PosedFrame(
        Frame(np.zeros((*depth.shape, 3), np.uint8), depth, np.zeros(depth.shape, np.uint8)), camera, pose
    )


def test_bounds_of_any_scan_are_deaf_to_strays() -> None:
    depth = np.full(DEPTH_SIZE[::-1], 2.0, np.float32)
    frames = [looking_down(x, depth) for x in np.linspace(0, 6, 13)]
    clean = scan_bounds(plain_scan(frames), 4.5)
    half_across = 2.0 * DEPTH_SIZE[0] / 2 / DEPTH_LENS[0, 0]
    np.testing.assert_allclose(clean[:, 0], [-half_across, 6 + half_across], atol=0.6)
    np.testing.assert_allclose(clean[:, 2], [0, 0], atol=0.41)
    noisy = depth.copy()
    noisy[::7, ::7] = np.linspace(0.3, 4.4, noisy[::7, ::7].size).reshape(noisy[::7, ::7].shape)
    np.testing.assert_allclose(scan_bounds(plain_scan([*frames, looking_down(3, noisy)]), 4.5), clean, atol=0.21)
    far = [looking_down(3, np.full_like(depth, 5.0))] * 3
    np.testing.assert_array_equal(scan_bounds(plain_scan(frames + far), 4.5), clean)


def test_bounds_hold_few_points_of_long_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    depth = np.full(DEPTH_SIZE[::-1], 2.0, np.float32)
    frames = [looking_down(x, depth) for x in np.linspace(0, 6, 60)]
    whole = scan_bounds(plain_scan(frames), 4.5)
    monkeypatch.setattr(bounds, "MAX_POINTS", 50_000)
    assert len(bounds._thinned(bounds._points(plain_scan(frames), 4.5))) < 55_000
    np.testing.assert_allclose(scan_bounds(plain_scan(frames), 4.5), whole, atol=0.21)


def test_bounds_that_cannot_be() -> None:
    with pytest.raises(UserError, match=r"a: the frames have no depth within 4\.5 m"):
        scan_bounds(plain_scan([looking_down(0, np.zeros(DEPTH_SIZE[::-1], np.float32))]), 4.5)
    with pytest.raises(UserError, match=r"a: the frames have no depth"):
        scan_bounds(plain_scan([]), 4.5)
    runaway = [looking_down(x, np.full(DEPTH_SIZE[::-1], 2.0, np.float32)) for x in np.linspace(0, 90, 40)]
    with pytest.raises(UserError, match=r"spread over 9\d x 2 x 1 m; expected at most 60"):
        scan_bounds(plain_scan(runaway), 4.5)


# Up.


def tilted(frames: list[Take], turn: np.ndarray) -> list[Take]:
    """The recording in another world: ``turn`` (3, 3) of the upright one."""
    world = np.eye(4)
    world[:3, :3] = turn
    return [Take(world @ take.pose, take.depth_mm, take.rgb, take.ids) for take in frames]


def random_rotation(seed: int) -> np.ndarray:  # (3, 3)
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    return q * np.linalg.det(q)


@given(seed=st.integers(0, 2**32 - 1))
def test_the_least_turn_to_z(seed: int) -> None:
    direction = random_rotation(seed)[0]
    turn = rotation_to_z(direction * 3)
    np.testing.assert_allclose(turn @ direction, [0, 0, 1], atol=1e-9)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(turn) > 0
    cos = np.clip((np.trace(turn) - 1) / 2, -1, 1)
    np.testing.assert_allclose(cos, direction[2], atol=1e-9)


def test_the_least_turn_from_straight_up_and_down() -> None:
    np.testing.assert_array_equal(rotation_to_z(np.array([0, 0, 2.0])), np.eye(3))
    np.testing.assert_allclose(rotation_to_z(np.array([0, 0, -1.0])) @ [0, 0, -1], [0, 0, 1])


@pytest.mark.parametrize("up", ["+z", "+y", "-y"])
def test_a_world_whose_up_is_said(tmp_path: Path, single_frames: list[Take], up: str) -> None:
    """The turn keeps X, and it takes the said axis up."""
    axis = {"+z": [0, 0, 1], "+y": [0, 1, 0], "-y": [0, -1, 0]}[up]
    save(write_open3d(tmp_path / "a", single_frames) / "intrinsics.txt", matrix_text(DEPTH_LENS))
    source = RgbdSource(tmp_path, up=up)  # type: ignore[arg-type]
    for got, take in zip(source.load(source.plan()[0][0]).frames(), single_frames, strict=True):
        turn = got.pose @ np.linalg.inv(take.pose)
        np.testing.assert_allclose(turn[:3, :3] @ axis, [0, 0, 1], atol=1e-5)
        np.testing.assert_allclose(turn[:3, :3] @ [1, 0, 0], [1, 0, 0], atol=1e-5)
        np.testing.assert_allclose(turn[:3, 3], 0, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kept", [slice(None), slice(0, 7), slice(0, None, 3)])  # all, a quarter, those that look down
def test_up_is_found_in_any_world(tmp_path: Path, seed: int, kept: slice) -> None:
    frames = tilted(takes(one_camera_rig(DEPTH_LENS, DEPTH_SIZE), 24)[kept], random_rotation(seed))
    save(write_open3d(tmp_path / "a", frames) / "intrinsics.txt", matrix_text(DEPTH_LENS))
    source = RgbdSource(tmp_path, up="auto")
    scan = source.load(source.plan()[0][0])
    turn = next(scan.frames()).pose[:3, :3] @ np.linalg.inv(frames[0].pose[:3, :3])
    up = turn @ random_rotation(seed) @ [0, 0, 1]
    assert up[2] > 0
    assert np.linalg.norm(up[:2]) < np.sin(np.radians(1))
    assert scan.meta["up"] == "auto"
