from __future__ import annotations

import numpy as np
import pytest

from roomseg.geometry.surface import Surface, volume_surface

RADIUS, MIDDLE, TRUNCATION = 11.3, np.array([16.0, 15.5, 16.2]), 5


def ball(shell_only: bool) -> np.ndarray:  # (32, 32, 32) int8; the inside is unseen beyond the truncation
    place = np.stack(np.meshgrid(*[np.arange(32)] * 3, indexing="ij"), axis=-1)
    distance = (np.linalg.norm(place - MIDDLE, axis=-1) - RADIUS) / TRUNCATION
    tsdf = np.rint(127 * np.clip(distance, -1, 1)).astype(np.int8)
    return np.where(distance < -1, 127, tsdf).astype(np.int8) if shell_only else tsdf


def surface_of(tsdf: np.ndarray) -> Surface:
    rgb = np.where((tsdf < 127)[..., None], np.array([200, 100, 50]), 0).astype(np.uint8)
    return volume_surface(tsdf, rgb, np.array([1.0, 2.0, 3.0]), 0.04)


@pytest.mark.parametrize("shell_only", [False, True])
def test_a_ball_has_its_radius_its_area_and_no_hole(shell_only: bool) -> None:
    surface = surface_of(ball(shell_only))
    away = surface.points - np.array([1.0, 2.0, 3.0]) - 0.04 * MIDDLE
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), 0.04 * RADIUS, atol=0.04 * 0.12)
    corner = surface.points[surface.faces]
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    assert np.linalg.norm(cross, axis=1).sum() / 2 == pytest.approx(4 * np.pi * (0.04 * RADIUS) ** 2, rel=0.02)
    facing = (cross * away[surface.faces[:, 0]]).sum(axis=1)
    assert (facing > 0).mean() > 0.99  # the free side; of a bent quad one half may turn
    assert facing.sum() / 6 == pytest.approx(4 / 3 * np.pi * (0.04 * RADIUS) ** 3, rel=0.02)
    edges = np.concatenate([surface.faces[:, [k, (k + 1) % 3]] for k in range(3)])
    assert sorted(map(tuple, edges.tolist())) == sorted(map(tuple, edges[:, ::-1].tolist()))  # closed
    assert (surface.color == [200, 100, 50]).all()


def test_the_edge_of_what_was_seen_is_no_surface() -> None:
    tsdf = np.full((8, 8, 8), 127, np.int8)
    tsdf[2:6, 2:6, 3] = 25
    tsdf[2:6, 2:6, 4] = -25
    surface = surface_of(tsdf)
    np.testing.assert_allclose(surface.points[:, 2], 3.0 + 0.04 * 3.5)
    assert len(surface.faces) == 2 * 4 * 4


def test_an_empty_volume_has_no_surface() -> None:
    surface = surface_of(np.full((4, 5, 6), 127, np.int8))
    assert surface.points.shape == (0, 3)
    assert surface.is_cloud
