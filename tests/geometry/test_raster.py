"""The rasteriser against a slow ray-triangle reference (Moeller and Trumbore 1997), and hand-computed pictures."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from roomseg.errors import UserError
from roomseg.geometry.cameras import Pinhole, look_at
from roomseg.geometry.mesh import TriangleMesh, join_meshes, plain_mesh
from roomseg.geometry.raster import NEAR_M, PackedMesh, pack_mesh, render_frame
from roomseg.geometry.texture import MAX_LEVELS, surface_color
from tests.geometry.projected import world_points

CAMERA = Pinhole.from_fov(48, 36, 80)


def reference_hits(mesh: TriangleMesh, rays: np.ndarray, pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nearest face, -1 = none, and depth for camera-frame rays (N, 3) of z = 1."""
    eye, world = pose[:3, 3], rays @ pose[:3, :3].T  # t along such a ray is the depth
    best, depth = np.full(len(rays), -1), np.full(len(rays), np.inf)
    for face, (a, b, c) in enumerate(mesh.vertices[mesh.faces].astype(np.float64)):
        p = np.cross(world, c - a)
        det = p @ (b - a)
        with np.errstate(divide="ignore", invalid="ignore"):
            u = (p @ (eye - a)) / det
            q = np.cross(eye - a, b - a)
            v, t = (world @ q) / det, ((c - a) @ q) / det
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (t >= NEAR_M) & (t < depth)
        best[hit], depth[hit] = face, t[hit]
    return best, np.where(best >= 0, depth, 0)


def random_triangles(rng: np.random.Generator, n: int) -> TriangleMesh:
    """Each in its own class; all around the camera at the origin, so that many cross the near plane."""
    centre = rng.uniform(-2, 2, (n, 1, 3))
    vertices = (centre + rng.normal(0, 1.0, (n, 3, 3))).reshape(-1, 3)
    mesh = plain_mesh(vertices, np.arange(3 * n).reshape(n, 3), 0, (100, 100, 100))
    return replace(mesh, face_label=np.arange(1, n + 1).astype(np.uint8))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
@example(510509)
def test_random_triangles_as_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mesh, pose = random_triangles(rng, 25), look_at(np.zeros(3), rng.normal(size=3))
    frame = render_frame(pack_mesh(mesh), CAMERA, pose)
    rays = CAMERA.rays().reshape(-1, 3)
    face, depth = reference_hits(mesh, rays, pose)
    shift = 0.02 / CAMERA.fx
    offsets = [np.array([dx, dy, 0]) for dx in (-shift, shift) for dy in (-shift, shift)]
    around = [reference_hits(mesh, rays + offset, pose) for offset in offsets]
    inside = np.all([other == face for other, _ in around], axis=0).reshape(frame.label.shape)
    assert inside.mean() > 0.9
    np.testing.assert_array_equal(frame.label[inside], (face + 1).reshape(inside.shape)[inside])
    nearest, farthest = (bound([depth, *(d for _, d in around)], axis=0)[inside.ravel()] for bound in (np.min, np.max))
    assert (frame.depth[inside] > nearest - 1e-4).all()  # of a face seen edge-on 0.02 pixel are a long way
    assert (frame.depth[inside] < farthest + 1e-4).all()


def cluttered_room(rng: np.random.Generator, n: int) -> TriangleMesh:
    """Small triangles in front of and behind four large ones, so that whole clusters of them are hidden."""
    centre = rng.uniform(-3, 3, (n, 1, 3))
    small = (centre + rng.normal(0, 0.15, (n, 3, 3))).reshape(-1, 3)
    large = np.array([[[x, -1, z], [x + 1, 1, z], [x - 1, 1, z]] for x in (-1, 1) for z in (-1, 1)]).reshape(-1, 3)
    vertices = np.concatenate([small, large])
    mesh = plain_mesh(vertices, np.arange(len(vertices)).reshape(-1, 3), 0, (100, 100, 100))
    return replace(mesh, face_label=(np.arange(len(mesh)) % 251 + 1).astype(np.uint8))


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 10**6))
def test_hidden_clusters_are_skipped_and_nothing_else(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mesh, pose = cluttered_room(rng, 700), look_at(rng.uniform(-1, 1, 3), rng.uniform(-3, 3, 3))
    packed = pack_mesh(mesh)
    assert len(packed.corners) > 8
    frame = render_frame(packed, CAMERA, pose)
    face, depth = reference_hits(mesh, CAMERA.rays().reshape(-1, 3), pose)
    same = frame.label.ravel() == np.where(face >= 0, mesh.face_label[face], 0)
    assert same.mean() > 0.99  # pixels on an edge may be of either side
    np.testing.assert_allclose(frame.depth.ravel()[same], depth[same], rtol=1e-4, atol=1e-3)


def test_neither_threads_nor_the_order_of_faces_change_a_frame() -> None:
    rng = np.random.default_rng(5)
    plain, camera = cluttered_room(rng, 500), Pinhole.from_fov(300, 40, 80)
    mesh = replace(
        plain,
        uv=plain.vertices[plain.faces][..., :2],
        face_texture=np.zeros(len(plain), np.int32),
        textures=(rng.integers(0, 256, (32, 32, 3), np.uint8),),
    )
    order = rng.permutation(len(mesh))
    shuffled = replace(mesh, faces=mesh.faces[order], uv=mesh.uv[order], face_label=mesh.face_label[order])
    pose = look_at(np.array([3.5, 0.2, 0.3]), np.zeros(3))
    first = render_frame(pack_mesh(mesh), camera, pose)
    assert len(np.unique(first.label)) > 60
    for other in (
        render_frame(pack_mesh(mesh), camera, pose, threads=3),
        render_frame(pack_mesh(shuffled), camera, pose),
    ):
        for plane, again in zip(first, other, strict=True):
            np.testing.assert_array_equal(plane, again)


def test_triangles_around_the_camera_are_clipped_not_dropped() -> None:
    floor = plain_mesh(np.array([[-9, -9, 0], [9, -9, 0], [0, 9, 0.0]]), np.array([[0, 1, 2]]), 20, (90, 90, 90))
    pose = look_at(np.array([0, 0, 1.0]), np.array([1.0, 0, 1.0]))
    frame = render_frame(pack_mesh(floor), Pinhole.from_fov(64, 64, 90), pose)
    assert (frame.label[:32] == 0).all()
    assert (frame.label[40:, 24:40] == 20).all()
    np.testing.assert_allclose(frame.depth[63, 32], 1 / (31.5 / 32), rtol=1e-5)  # 45 degrees down, nearly


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9))
def test_no_hole_between_faces_with_a_common_edge(seed: int, cells: int) -> None:
    rng = np.random.default_rng(seed)
    line = np.linspace(-30, 30, cells + 1)
    x, y = np.meshgrid(line, line, indexing="ij")
    at = np.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    a, b, c, d = at[:-1, :-1].ravel(), at[1:, :-1].ravel(), at[1:, 1:].ravel(), at[:-1, 1:].ravel()
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    floor = plain_mesh(np.stack([x, y, np.zeros_like(x)], -1).reshape(-1, 3), faces, 20, (90, 90, 90))
    height = rng.uniform(0.3, 2)
    pose = look_at(np.array([0, 0, height]), np.array([*rng.uniform(-0.4, 0.4, 2) * height, 0]))  # no horizon in view
    frame = render_frame(pack_mesh(floor), CAMERA, pose)
    assert (frame.label == 20).all()
    np.testing.assert_allclose(world_points(frame.depth, CAMERA, pose)[..., 2], 0, atol=1e-4)


def test_a_wall_whose_edges_run_through_pixel_centres_has_no_hole() -> None:
    camera = Pinhole(8, 8, 8.0, 8.0, 4.0, 4.0)
    square = np.array([[-1, -1, 2], [1, -1, 2], [1, 1, 2], [-1, 1, 2.0]]) * [0.875, 0.875, 1]  # 7 pixels wide, centred
    wall = plain_mesh(square, np.array([[0, 1, 2], [2, 3, 0]]), 17, (80, 80, 80))
    frame = render_frame(pack_mesh(wall), camera, np.eye(4))
    np.testing.assert_array_equal(frame.label, np.full((8, 8), 17))  # edges count as inside


def ramp_quad(corners: np.ndarray) -> TriangleMesh:
    """A quad (4, 3) whose red grows with u from corner 0 to corner 1, whose green grows with v to corner 3."""
    ramp = np.arange(256, dtype=np.uint8)
    texture = np.stack(
        [np.tile(ramp, (256, 1)), np.tile(ramp[::-1, None], (1, 256)), np.zeros((256, 256), np.uint8)], -1
    )
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    mesh = plain_mesh(corners, faces, 17, (0, 0, 0))
    return replace(mesh, uv=uv[faces], face_texture=np.zeros(2, np.int32), textures=(texture,))


def test_textures_are_perspective_correct() -> None:
    near, far = np.array([-1.0, 0, 1.2]), np.array([2.0, 0, 5.0])  # slanted: depth 1.2 m at the left, 5 m at the right
    up = np.array([0, -1.5, 0])
    packed = pack_mesh(ramp_quad(np.stack([near - up, far - up, far + up, near + up])))
    camera = Pinhole.from_fov(200, 150, 80)
    frame = render_frame(packed, camera, np.eye(4))
    seen = frame.label == 17
    assert seen.mean() > 0.3
    point = world_points(frame.depth, camera, np.eye(4))[seen]
    u = (point - near) @ (far - near) / np.sum((far - near) ** 2)
    v = (-point[:, 1] + 1.5) / 3
    inner = (np.minimum(u, v) > 0.02) & (np.maximum(u, v) < 0.98)
    expected = np.stack([u * 256 - 0.5, v * 256 - 0.5], axis=1) * packed.surfaces["shade"][0]
    np.testing.assert_allclose(frame.rgb[seen][inner][:, :2], expected[inner], atol=1.5)


def textured_triangle(texture: np.ndarray) -> TriangleMesh:
    """A right-angled triangle of 1 m whose uv are its x and y."""
    corner = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0.0]])
    mesh = plain_mesh(corner, np.array([[0, 1, 2]]), 1, (7, 8, 9))
    uv = corner[None, :, :2].astype(np.float32)
    return replace(mesh, uv=uv, face_texture=np.zeros(1, np.int32), textures=(texture,))


def unlit(packed: PackedMesh, x: float, y: float, footprint_m: float) -> tuple[float, ...]:
    point = np.array([x, y, 0], np.float32)
    return surface_color(packed.texels, packed.levels, packed.surfaces[0], point, np.float32(footprint_m))


@pytest.mark.parametrize(
    ("u", "v", "expected"),
    [
        (0.25, 0.75, 10),  # top left texel
        (0.75, 0.75, 20),
        (0.25, 0.25, 30),
        (0.75, 0.25, 40),
        (0.5, 0.5, 25),  # the middle of all four
        (0.5, 0.75, 15),
        (0.0, 0.75, 15),  # wraps: between top right and top left
        (1.25, 0.75, 10),
        (-0.75, -0.25, 10),
        (0.25, 1.0, 20),  # between top left and, wrapped, bottom left
    ],
)
def test_texture_lookup(u: float, v: float, expected: float) -> None:
    texture = np.array([[10, 20], [30, 40]], np.uint8)[..., None].repeat(3, axis=2)
    np.testing.assert_allclose(unlit(pack_mesh(textured_triangle(texture)), u, v, 0), expected, atol=1e-4)


def test_a_far_texture_is_averaged() -> None:
    checker = (np.indices((64, 64)).sum(axis=0) % 2 * 200).astype(np.uint8)[..., None].repeat(3, axis=2)
    packed = pack_mesh(textured_triangle(checker))
    assert packed.surfaces["texels_per_m"][0] == pytest.approx(64)
    np.testing.assert_allclose(unlit(packed, 0.3, 0.2, 0.1), 100)  # a pixel 6 texels wide
    assert packed.levels[0, :, 1].tolist() == [64, 32, 16, 8, 4, 2, 1, 1]
    assert packed.levels.shape == (1, MAX_LEVELS, 3)


def test_both_sides_are_drawn_and_the_nearer_wins() -> None:
    square = np.array([[-1, -1, 2], [1, -1, 2], [1, 1, 2], [-1, 1, 2.0]])
    front, back = np.array([[0, 1, 2], [0, 2, 3]]), np.array([[2, 1, 0], [3, 2, 0]])
    far, near = (
        plain_mesh(square + np.array([0, 0, 1]), front, 5, (50, 50, 50)),
        plain_mesh(square, back, 6, (60, 60, 60)),
    )
    for order in ([far, near], [near, far]):
        frame = render_frame(pack_mesh(join_meshes(order)), Pinhole.from_fov(20, 20, 40), np.eye(4))
        assert (frame.label == 6).all()
        np.testing.assert_allclose(frame.depth, 2, rtol=1e-6)


def test_nothing_in_view_is_zero(box_room: TriangleMesh) -> None:
    frame = render_frame(pack_mesh(box_room), CAMERA, look_at(np.array([9.0, 9, 9]), np.array([20.0, 20, 20])))
    assert not frame.depth.any()
    assert not frame.label.any()
    assert not frame.rgb.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"faces": np.zeros((0, 3), np.int32)}, "without faces"),
        ({"vertices": np.full((8, 3), np.nan, np.float32)}, "NaN"),
        ({"faces": np.array([[0, 1, 99]], np.int32)}, r"faces 0\.\.99; expected 0\.\."),
        ({"face_texture": np.zeros(24, np.int32)}, "face_texture"),
    ],
)
def test_bad_meshes_are_refused(box_room: TriangleMesh, change: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pack_mesh(replace(box_room, **change))
