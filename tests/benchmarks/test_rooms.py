"""The benchmark of rooms at a tiny size: what it compares is compared, and its figures follow from what it measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from roomseg.geometry.raster import Frame


@pytest.fixture(scope="module")
def rooms() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        import rooms

        patch.setattr(rooms, "VOXEL_M", 0.2)
        yield rooms


def test_fusion_is_compared_with_numpy_and_timed(rooms: ModuleType) -> None:
    views = rooms.synthetic_views(2, 64, (6, 3))
    (row,) = rooms.fusion_rows(None, views, repeats=1, numpy_frames=2)
    assert (row.name, row.unit, row.peer) == ("fusion_vs_numpy", "ms", "numpy, whole volume")
    assert row.ratio > 0


def test_sums_that_differ_are_found(rooms: ModuleType) -> None:
    views = rooms.synthetic_views(2, 64, (6, 3))
    volume, plain = rooms.volume_of(views), rooms.NumpyVolume(rooms.volume_of(views))
    rooms.integrate(volume, views.frames[0], views.camera, views.poses[0])
    plain.integrate(views.frames[1], views.camera, views.poses[1])
    with pytest.raises(AssertionError):
        rooms.assert_equal_sums(volume, plain)


def test_pixels_at_edges_are_not_compared(rooms: ModuleType) -> None:
    label, depth = np.full((5, 8), 3, np.uint8), np.full((5, 8), 2, np.float32)
    label[:, 5:], depth[2, 0] = 4, 2.2
    inner = rooms.inner_pixels(Frame(np.zeros((5, 8, 3), np.uint8), depth, label))
    expected = np.zeros((5, 8), bool)
    expected[1:4, 2:4] = True  # beside the step in depth is column 1; the label changes between columns 4 and 5
    expected[1:4, 6] = True
    np.testing.assert_array_equal(inner, expected)


def test_agreement_counts_labels_and_depths_apart(rooms: ModuleType) -> None:
    label, depth = np.full((12, 12), 3, np.uint8), np.full((12, 12), 2, np.float32)
    rgb = np.zeros((12, 12, 3), np.uint8)
    other = Frame(rgb, depth + np.float32(0.002) * (np.arange(12) < 6), np.where(np.arange(12)[:, None] < 3, 4, label))
    share = rooms.agreement([other], [Frame(rgb, depth, label)])
    assert share == pytest.approx((100 / 144, 0.8, 0.5))


def test_open3d_makes_the_same_frames(rooms: ModuleType) -> None:
    o3d = pytest.importorskip("open3d")
    views = rooms.synthetic_views(2, 64, (6, 3))
    rows = {row.name: row for row in rooms.frame_rows(o3d, views, repeats=1)}
    assert rows["frame_same_label"].value > 99.99
    assert rows["frame_depth_within_1mm"].value > 99.9
    assert rows["frame_vs_open3d"].ratio > 0


def test_a_room_is_made_in_worker_processes_and_its_cost_is_extrapolated(rooms: ModuleType, tmp_path: Path) -> None:
    small = ("render.frames_per_room=3", "render.frame_width=64", "render.frame_height=48", "render.panorama_height=32")
    config = rooms.paper_config(2, *small, "render.voxel_m=0.2", f"render.furniture_dir={tmp_path}")
    cost = rooms.room_cost(config, 1, tmp_path)
    assert (tmp_path / "rooms.parquet").stat().st_size > 1000
    assert cost.voxels > 34**2 * 20
    assert cost.wall_s > 0
    assert cost.cpu_s > 0
    rows = {row.name: row for row in rooms.cost_rows(rooms.RoomCost(3.6, 1.8, 2e6), 2)}
    assert rows["room_seconds"].value == 3.6
    assert rows["paper_rooms_hours"].value == pytest.approx(5.917)
    assert rows["paper_rooms_core_hours"].value == pytest.approx(2.9585)
    assert rows["paper_rooms_core_hours"].ratio == pytest.approx(5760 / 2.9585)
