"""The shell: closed, facing in, with holes where the openings are."""

import numpy as np
import pytest

from roomseg.labels import PANOROOMS3D
from roomseg.scenes.boxes import Box
from roomseg.scenes.floorplan import FloorPlan, draw_plan
from roomseg.scenes.shell import Opening, ShellStyle, build_shell, wall_surface
from roomseg.scenes.surfaces import Finish, quads
from roomseg.scenes.textures import Texture
from tests.scenes.cuboids import cuboid

HEIGHT_M = 2.5
PLAN = FloorPlan(np.array([(0, 0), (5, 0), (5, 3), (3, 3), (3, 4), (0, 4)], np.float64))
OPENINGS = [
    Opening("door", 0, 0.5, 1.4, 0.0, 2.0, 0.2),
    Opening("window", 0, 2.0, 3.2, 0.9, 2.1, 0.2),
    Opening("window", 5, 1.0, 2.0, 0.9, 2.1, 0.2),
]
WHITE = Finish((240, 240, 240))
STYLE = ShellStyle(WHITE, WHITE, WHITE, WHITE, WHITE, wainscot_high_m=1.0, has_cornice=True)


def areas_and_normals(mesh):
    corner = mesh.vertices[mesh.faces].astype(np.float64)
    cross = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    area = np.linalg.norm(cross, axis=1) / 2
    return area, cross / (2 * area[:, None])


def label_area(mesh, name):
    return areas_and_normals(mesh)[0][mesh.face_label == PANOROOMS3D.id(name)].sum()


@pytest.mark.parametrize("shape", ["rectangle", "L", "alcoves"])
def test_walls_and_openings_together_are_the_perimeter_times_the_height(shape):
    plan = draw_plan(shape, 6.0, 5.0, np.random.default_rng(3))
    longest = max(range(len(plan.walls)), key=lambda k: plan.walls[k].length_m)
    openings = [
        Opening("door", longest, 0.3, 1.1, 0.0, 2.0, 0.2),
        Opening("window", longest, 1.5, 2.5, 0.9, 2.1, 0.2),
    ]
    walls = wall_surface(plan, openings, 0.0, HEIGHT_M, PANOROOMS3D.id("wall"), WHITE)
    perimeter = sum(wall.length_m for wall in plan.walls)
    holes = sum(opening.area_m2 for opening in openings)
    assert areas_and_normals(walls)[0].sum() + holes == pytest.approx(perimeter * HEIGHT_M, rel=1e-5)


def test_every_surface_faces_the_room():
    plan = draw_plan("alcoves", 6.0, 5.0, np.random.default_rng(5))
    mesh = build_shell(plan, HEIGHT_M, [], ShellStyle(WHITE, WHITE, WHITE, WHITE, WHITE))
    _, normal = areas_and_normals(mesh)
    center = mesh.vertices[mesh.faces].mean(axis=1)
    ahead = center + 0.05 * normal
    walls = mesh.face_label == PANOROOMS3D.id("wall")
    assert plan.contains(ahead[walls, :2]).all()
    assert (normal[mesh.face_label == PANOROOMS3D.id("floor"), 2] > 0.99).all()
    assert (normal[mesh.face_label == PANOROOMS3D.id("ceiling"), 2] < -0.99).all()


def test_areas_of_floor_and_ceiling_and_of_what_fills_the_holes():
    mesh = build_shell(PLAN, HEIGHT_M, OPENINGS, ShellStyle(WHITE, WHITE, WHITE, WHITE, WHITE))
    assert label_area(mesh, "floor") == pytest.approx(18, rel=1e-5)
    assert label_area(mesh, "ceiling") == pytest.approx(18, rel=1e-5)
    assert label_area(mesh, "door/window") == pytest.approx(sum(o.area_m2 for o in OPENINGS), rel=1e-5)


def test_the_shell_is_watertight_but_for_strips():
    """From inside, a ray in any direction meets a surface: the solid angle of all faces is the whole sphere."""
    mesh = build_shell(PLAN, HEIGHT_M, OPENINGS, ShellStyle(WHITE, WHITE, WHITE, WHITE, WHITE))
    strips = np.isin(mesh.face_label, [PANOROOMS3D.id("baseboard")])
    corner = mesh.vertices[mesh.faces[~strips]].astype(np.float64) - (1.3, 1.7, 1.4)
    a, b, c = corner[:, 0], corner[:, 1], corner[:, 2]
    la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
    triple = (a * np.cross(b, c)).sum(axis=1)
    below = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
    solid_angle = 2 * np.arctan2(triple, below)  # signed: negative for faces that look at the point
    assert solid_angle.sum() == pytest.approx(-4 * np.pi, abs=1e-4)


def test_baseboards_stop_at_doors_and_wainscots_at_windows():
    mesh = build_shell(PLAN, HEIGHT_M, OPENINGS, STYLE)
    for name in ("baseboard", "wainscot"):
        of_name = mesh.face_label == PANOROOMS3D.id(name)
        center = mesh.vertices[mesh.faces[of_name]].mean(axis=1)
        in_door = (center[:, 1] < 0.1) & (center[:, 0] > 0.5) & (center[:, 0] < 1.4)
        assert not in_door.any()
    wainscot = mesh.vertices[mesh.faces[mesh.face_label == PANOROOMS3D.id("wainscot")]]
    at_window = (wainscot[..., 1].max(1) < 0.1) & (wainscot[..., 0].min(1) > 1.99) & (wainscot[..., 0].max(1) < 3.21)
    assert at_window.any()
    assert wainscot[at_window][..., 2].max() == pytest.approx(0.9)
    assert wainscot[..., 2].max() == pytest.approx(1.0)


def test_strips_meet_round_a_corner_that_points_into_the_room():
    mesh = build_shell(PLAN, HEIGHT_M, [], STYLE)
    strip = mesh.vertices[np.unique(mesh.faces[mesh.face_label == PANOROOMS3D.id("baseboard")])]
    assert np.isclose(strip[:, :2], (3 - 0.015, 3 - 0.015)).all(axis=1).any()


def test_a_texture_repeats_by_its_size_in_metres():
    texture = Texture("t", np.zeros((4, 4, 3), np.uint8), (0.5, 0.25))
    floor = np.array([[(0, 0, 0), (2, 0, 0), (2, 1, 0), (0, 1, 0)]], np.float64)
    mesh = quads(floor, 20, Finish((0, 0, 0), texture))
    assert mesh.uv.reshape(-1, 2).max(axis=0).tolist() == [4.0, 4.0]
    assert (mesh.face_texture == 0).all()
    assert mesh.textures[0] is texture.image


def test_a_wall_texture_goes_on_past_a_window():
    texture = Texture("t", np.zeros((4, 4, 3), np.uint8), (1.0, 1.0))
    mesh = wall_surface(PLAN, OPENINGS, 0.0, HEIGHT_M, 17, Finish((0, 0, 0), texture))
    first_wall = (mesh.vertices[mesh.faces][..., 1] == 0).all(axis=1)
    points, uv = mesh.vertices[mesh.faces[first_wall]], mesh.uv[first_wall]
    np.testing.assert_allclose(uv[..., 0], 5 - points[..., 0], atol=1e-5)
    np.testing.assert_allclose(uv[..., 1], points[..., 2], atol=1e-5)


def test_a_cuboid_has_its_boxs_volume_and_faces_out():
    mesh = cuboid(Box((1.0, 2.0), (0.4, 0.6), 0.1, 1.1, 0.7), 2, WHITE)
    corner = mesh.vertices[mesh.faces].astype(np.float64)
    volume = (corner[:, 0] * np.cross(corner[:, 1], corner[:, 2])).sum() / 6
    assert volume == pytest.approx(0.4 * 0.6 * 1.0, rel=1e-5)  # positive: counter-clockwise from outside
