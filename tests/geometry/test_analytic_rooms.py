"""Where rays hit rooms that are a formula, and the other ways to the same hits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from roomseg.errors import UserError
from roomseg.geometry.cube import FACES, cube_face_hits, face_directions, panorama_faces, stitched_hits
from roomseg.geometry.equirect import directions
from roomseg.geometry.projection import HitMap, cast_on_cpu, panorama_hits
from roomseg.geometry.raycast_torch import cast_rays, caster_on, torch_caster
from tests.geometry.analytic_rooms import (
    CAMERA_M,
    CAMERA_VOXEL,
    MARGIN,
    ROOMS,
    VOXEL_M,
    Distance,
    box,
    sampled,
    true_depth_m,
)

HEIGHT = 128


@pytest.fixture(scope="module", params=list(ROOMS))
def room(request: pytest.FixtureRequest) -> tuple[Distance, np.ndarray, HitMap]:
    distance = ROOMS[request.param]
    tsdf = sampled(distance)
    return distance, tsdf, panorama_hits(tsdf, CAMERA_VOXEL, HEIGHT)


def test_every_ray_hits_where_the_surface_is(room: tuple[Distance, np.ndarray, HitMap]) -> None:
    distance, _, hits = room
    assert hits.hit_rate > 0.99
    error = np.abs(hits.depth_voxels - true_depth_m(distance, directions(HEIGHT).astype(np.float64)) / VOXEL_M)
    assert np.median(error) < 0.01
    assert (error < 0.5).mean() > 0.995  # the rest pass an edge closely: a TSDF rounds edges
    points_m = (hits.positions(CAMERA_VOXEL) - MARGIN) * VOXEL_M
    assert np.abs(distance(points_m)).max() < 0.4 * VOXEL_M


@pytest.mark.parametrize("precision", [torch.float64, torch.float32])
def test_torch_finds_the_same_hits(room: tuple[Distance, np.ndarray, HitMap], precision: torch.dtype) -> None:
    _, tsdf, hits = room
    volume = torch.from_numpy(tsdf) if precision == torch.float64 else torch.from_numpy(tsdf).float() / 127
    rays = torch.from_numpy(directions(HEIGHT)).flatten(0, 1).to(precision)
    voxel, depth = cast_rays(volume, tuple(CAMERA_VOXEL.tolist()), rays)
    same = voxel.numpy() == hits.voxel.ravel()
    error = np.abs(depth.numpy() - hits.depth_voxels.ravel())
    if precision == torch.float64:
        assert same.all()
        assert error.max() < 1e-5
    else:
        assert same.mean() > 0.99  # the table's top lies half-way between two voxels
        assert (error < 1e-3).mean() > 0.999


NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=NO_GPU)])
def test_a_map_made_with_torch_is_that_of_the_kernels(room: tuple[Distance, np.ndarray, HitMap], device: str) -> None:
    _, tsdf, hits = room
    theirs = panorama_hits(tsdf, CAMERA_VOXEL, HEIGHT, torch_caster(torch.device(device)))
    np.testing.assert_array_equal(theirs.voxel, hits.voxel)
    assert (theirs.voxel.dtype, theirs.depth_voxels.dtype) == (hits.voxel.dtype, hits.depth_voxels.dtype)
    np.testing.assert_allclose(theirs.depth_voxels, hits.depth_voxels, atol=1e-5)


def test_the_kernels_cast_on_the_cpu_and_torch_elsewhere() -> None:
    assert caster_on(torch.device("cpu")) is cast_on_cpu
    assert caster_on(torch.device("cuda")) is not cast_on_cpu


@pytest.mark.parametrize("at", [(-7.0, 30.0, 35.0), (2.0, 2.0, 2.0), (40.0, 40.0, 7.0)])
def test_torch_finds_the_same_from_anywhere(at: tuple[float, float, float]) -> None:
    tsdf, camera = sampled(ROOMS["furnished"]), np.array(at)
    hits = panorama_hits(tsdf, camera, 40)
    voxel, depth = cast_rays(torch.from_numpy(tsdf), at, torch.from_numpy(directions(40)).flatten(0, 1).double())
    np.testing.assert_array_equal(voxel.numpy(), hits.voxel.ravel())
    np.testing.assert_allclose(depth.numpy(), hits.depth_voxels.ravel(), atol=1e-5)


@pytest.mark.parametrize("face", list(FACES))
def test_faces_of_a_box_by_hand(face: str) -> None:
    """In the middle of each face of the panorama's cube there is a wall, at a distance that can be told."""
    size = 16
    hits = cube_face_hits(sampled(box), CAMERA_VOXEL, face, size)
    rays = face_directions(face, size)
    np.testing.assert_allclose(hits.depth_voxels * VOXEL_M, true_depth_m(box, rays.astype(np.float64)), atol=0.002)
    axis = np.array(FACES[face])
    assert (rays @ axis).min() >= 1 / np.sqrt(3)
    np.testing.assert_allclose((rays @ axis)[size // 2, size // 2], 1, atol=0.01)
    points_m = (hits.positions(CAMERA_VOXEL, rays) - MARGIN) * VOXEL_M
    wall = np.array([3.2, 2.8, 2.4])[axis != 0].item() if axis.sum() > 0 else 0.0
    ahead = points_m[size // 2, size // 2] @ np.abs(axis)
    np.testing.assert_allclose(ahead, wall, atol=0.002)
    assert points_m[0, size // 2] @ np.array([0, 0, 1]) > CAMERA_M[2] or face in ("+z", "-z")  # upright


def test_an_unknown_face_is_refused() -> None:
    with pytest.raises(UserError, match=r"cube face 'up'; expected one of \+x, -x"):
        cube_face_hits(sampled(box), CAMERA_VOXEL, "up", 8)


def test_panorama_faces_lead_back_to_the_directions() -> None:
    height, size = 24, 64
    face, row, col = panorama_faces(height, size)
    assert np.bincount(face.ravel()).min() > 0
    assert min(row.min(), col.min()) > -0.5
    assert max(row.max(), col.max()) < size - 0.5
    at = face, np.rint(row).astype(int), np.rint(col).astype(int)
    rays = np.stack([face_directions(name, size) for name in FACES])[at]
    assert np.arccos(np.clip((rays * directions(height)).sum(-1), -1, 1)).max() < np.sqrt(2) / size  # half a pixel


def test_the_stitched_panorama_is_the_direct_one_but_for_half_a_pixel(
    room: tuple[Distance, np.ndarray, HitMap],
) -> None:
    _, tsdf, hits = room
    stitched = stitched_hits(tsdf, CAMERA_VOXEL, HEIGHT, 2 * HEIGHT)
    assert stitched.hit_rate > 0.99
    same = stitched.voxel == hits.voxel
    offset = np.stack(np.unravel_index(stitched.voxel, tsdf.shape)) - np.stack(np.unravel_index(hits.voxel, tsdf.shape))
    assert same.mean() > 0.7
    assert (np.abs(offset).max(0) <= 1).mean() > 0.98
    assert np.median(np.abs(stitched.depth_voxels - hits.depth_voxels)) < 0.1
