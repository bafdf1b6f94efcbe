"""Coverage: which surface could be seen, what a frame has seen of it, and that aimed poses see more."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.geometry.cameras import Pinhole, look_at
from roomseg.geometry.mesh import join_meshes, plain_mesh
from roomseg.geometry.raster import pack_mesh, render_frame
from roomseg.scenes.boxes import Box
from roomseg.scenes.coverage import AGREES_M, AIM_EVERY, Coverage, open_coverage, surface_points
from roomseg.scenes.furniture import open_furniture
from roomseg.scenes.generator import generate_room
from roomseg.scenes.surfaces import Finish
from roomseg.scenes.textures import floor_textures, wall_textures
from roomseg.scenes.viewpoints import camera_poses, spread_positions
from tests.scenes.cuboids import cuboid

CAMERA = Pinhole.from_fov(80, 60, 75.0)
PROBES = np.array([(1.0, 1.0, 1.6), (3.0, 1.0, 1.6), (3.0, 2.0, 1.6)])


def box_mesh(low, high):
    center, size = np.add(low, high) / 2, np.subtract(high, low)
    box = Box((center[0], center[1]), (size[0], size[1]), low[2], high[2])
    return cuboid(box, 17, Finish((200, 200, 200)))


@pytest.fixture(scope="module")
def hidden_box():
    """A room of 4 x 3 x 2.5 m, and in it a closed cabinet with a box in it."""
    cabinet, inner = ((0.5, 2.2, 0.0), (1.5, 2.9, 2.0)), ((0.7, 2.4, 0.2), (1.3, 2.7, 1.8))
    return pack_mesh(join_meshes([box_mesh((0, 0, 0), (4, 3, 2.5)), box_mesh(*cabinet), box_mesh(*inner)]))


def coverage_of(mesh, seed=0):
    return open_coverage(mesh, PROBES, np.random.default_rng(seed))


def test_points_are_spread_by_area():
    vertices = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (5, 0, 0), (8, 0, 0), (5, 2, 0)]  # 0.5 and 3 square metres
    mesh = pack_mesh(plain_mesh(vertices, [(0, 1, 2), (3, 4, 5)], 17, (0, 0, 0)))
    points = surface_points(mesh, 700, np.random.default_rng(0))
    small = points[:, 0] < 2
    assert small.sum() == pytest.approx(100, abs=1)
    assert (points[:, 2] == 0).all()
    assert (points[small, :2].sum(axis=1) <= 1 + 1e-6).all()
    np.testing.assert_allclose(points[small].mean(axis=0), (1 / 3, 1 / 3, 0), atol=0.08)
    assert abs(small[::2].sum() - small[1::2].sum()) < 40  # neither half has one end of the mesh


def test_only_what_could_be_seen_counts(hidden_box):
    coverage = coverage_of(hidden_box)
    inner = ((coverage.points > (0.6, 2.3, 0.1)) & (coverage.points < (1.4, 2.8, 1.9))).all(axis=1)
    assert not inner.any()
    behind = (coverage.points[:, 1] > 2.95) & (np.abs(coverage.points[:, 0] - 1) < 0.3) & (coverage.points[:, 2] < 1)
    assert not behind.any()
    assert ((coverage.points[:, 2] > 2.49).sum() / len(coverage.points)) == pytest.approx(0.21, abs=0.05)  # the ceiling
    assert coverage.visible.any(axis=0).all()
    assert coverage.surface_seen == 0


@settings(max_examples=25, deadline=None)
@given(
    eye=st.tuples(st.floats(0.3, 3.7), st.floats(0.3, 1.9), st.floats(0.5, 2.2)),
    yaw=st.floats(0, 6.3),
    pitch=st.floats(-1.2, 1.2),
)
def test_a_frame_has_seen_what_its_depth_agrees_with(hidden_box, eye, yaw, pitch):
    coverage = coverage_of(hidden_box)
    ahead = (math.cos(yaw) * math.cos(pitch), math.sin(yaw) * math.cos(pitch), math.sin(pitch))
    pose = look_at(np.array(eye), np.add(eye, ahead))
    depth = render_frame(hidden_box, CAMERA, pose).depth
    coverage.mark(depth, CAMERA, pose)
    np.testing.assert_array_equal(coverage.seen, seen_slowly(coverage.points, depth, pose))


def seen_slowly(points, depth, pose):
    """Reference: one point after the other."""
    seen = []
    for point in points:
        x, y, z, _ = np.linalg.inv(pose) @ (*point, 1.0)
        col, row = math.floor(CAMERA.fx * x / z + CAMERA.cx), math.floor(CAMERA.fy * y / z + CAMERA.cy)
        inside = z > 0.02 and 0 <= col < CAMERA.width and 0 <= row < CAMERA.height
        seen.append(inside and abs(depth[row, col] - z) < AGREES_M)
    return seen


def test_the_others_keep_their_pose_and_aimed_ones_stand_at_probes(hidden_box):
    coverage = coverage_of(hidden_box)
    given_pose = look_at(np.array([2.0, 1.0, 1.5]), np.array([2.0, 3.0, 1.5]))
    for k in range(4 * AIM_EVERY):
        pose = coverage.choose(k, given_pose, CAMERA)
        before = coverage.seen[::2].sum()
        coverage.mark(render_frame(hidden_box, CAMERA, pose).depth, CAMERA, pose)
        if k % AIM_EVERY != AIM_EVERY - 1:
            np.testing.assert_array_equal(pose, given_pose)
        else:
            assert (np.linalg.norm(PROBES - pose[:3, 3], axis=1) < 1e-9).any()
            assert abs(math.degrees(math.asin(pose[2, 2]))) <= 60 + 1e-6
            assert coverage.seen[::2].sum() > before


def test_what_cannot_be_seen_is_given_up(hidden_box):
    coverage = coverage_of(hidden_box)
    nothing = np.zeros((CAMERA.height, CAMERA.width), np.float32)
    given_pose = look_at(np.array([2.0, 1.0, 1.5]), np.array([2.0, 3.0, 1.5]))
    aimed = 0
    while (pose := coverage.choose(AIM_EVERY - 1, given_pose, CAMERA)) is not given_pose:
        coverage.mark(nothing, CAMERA, pose)
        aimed += 1
    assert 3 < aimed < 300
    assert coverage.given_up[::2].all()
    assert coverage.surface_seen == 0


def test_a_surface_that_no_probe_sees_is_no_loss(hidden_box):
    inside = np.array([(1.0, 2.3, 0.1)])
    none = Coverage(np.zeros((0, 3)), inside, np.zeros((1, 0), bool))
    assert none.surface_seen == 1
    pose = look_at(inside[0], inside[0] + (1, 0, 0))
    assert none.choose(AIM_EVERY - 1, pose, CAMERA) is pose


def test_aimed_poses_see_more_of_generated_rooms():
    """As measured on points that poses were not chosen by, of another sample."""
    furniture, textures = open_furniture(None), (floor_textures(None), wall_textures(None))
    seen = {"spread": [], "aimed": []}
    for number in range(4):
        room = generate_room((7, number), f"h{number}", 0, "living_room", (3.0, 5.0), furniture, textures)
        mesh = pack_mesh(room.mesh)
        probes = spread_positions(room, 32, (1.4, 1.8), np.random.default_rng(1))
        for way, rates in seen.items():
            coverage, judge = (open_coverage(mesh, probes, np.random.default_rng(seed)) for seed in (2, 3))
            for k, spread in enumerate(camera_poses(room, 40, (1.4, 1.8), np.random.default_rng(4))):
                pose = coverage.choose(k, spread, CAMERA) if way == "aimed" else spread
                depth = render_frame(mesh, CAMERA, pose).depth
                coverage.mark(depth, CAMERA, pose)
                judge.mark(depth, CAMERA, pose)
            rates.append(judge.seen.mean())
            assert coverage.surface_seen == pytest.approx(judge.seen.mean(), abs=0.03)
    assert np.mean(seen["aimed"]) > np.mean(seen["spread"]) + 0.01
    assert min(seen["aimed"]) > 0.9
