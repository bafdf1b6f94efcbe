from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.errors import UserError
from roomseg.scenes.obj import Material, decode_texture, mtllib_names, parse_mtl, parse_obj
from roomseg.scenes.polygons import triangulated
from tests.scenes.libraries import BLOCK_MTL, BLOCK_OBJ, png

CORNERS = b"v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nv 0 2 0\n"


def no_texture(name: str) -> None:
    return None


def triangles(data: bytes) -> np.ndarray:  # (F, 3, 3)
    mesh = parse_obj(data, {}, no_texture)
    return mesh.vertices[mesh.faces]


def test_quads_become_two_triangles_of_their_material() -> None:
    mesh = parse_obj(BLOCK_OBJ.encode(), parse_mtl(BLOCK_MTL.encode()), no_texture)
    assert len(mesh) == 12
    assert mesh.face_color.tolist() == [[255, 0, 0]] * 10 + [[0, 255, 0]] * 2
    np.testing.assert_array_equal(mesh.bounds, [[0, 0, 0], [2, 4, 6]])
    np.testing.assert_array_equal(mesh.uv[:10], 0)
    np.testing.assert_array_equal(mesh.uv[10:], [[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]])


def test_faces_look_outward() -> None:
    mesh = parse_obj(BLOCK_OBJ.encode(), {}, no_texture)
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    outward = (a + b + c) / 3 - np.array([1, 2, 3])
    assert (np.einsum("ij,ij->i", np.cross(b - a, c - a), outward) > 0).all()


def test_polygon_becomes_a_fan() -> None:
    expected = [[[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[0, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 0, 0], [0, 1, 0], [0, 2, 0]]]
    np.testing.assert_array_equal(triangles(CORNERS + b"f 1 2 3 4 5\n"), expected)


def test_negative_indices_count_back_from_where_they_stand() -> None:
    data = b"v 0 0 0\nv 1 0 0\nv 1 1 0\nf -3 -2 -1\nv 9 9 9\nf -1 -2 -3\n"
    np.testing.assert_array_equal(
        triangles(data), [[[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[9, 9, 9], [1, 1, 0], [1, 0, 0]]]
    )


def test_lines_and_two_cornered_faces_and_unused_vertices_are_dropped() -> None:
    mesh = parse_obj(CORNERS + b"f 1 5\nl 1 2 5\nf 1 2 3\n", {}, no_texture)
    assert len(mesh) == 1
    assert len(mesh.vertices) == 3


def test_windows_ends_continued_lines_colours_and_odd_blanks() -> None:
    data = b"v  0 0 0 1 0 0\r\nv 1 0\t0 1 0 0\r\nv 1 1 0 1 0 0\r\nf 1 \\\r\n 2 3\r\n"
    np.testing.assert_array_equal(triangles(data), [[[0, 0, 0], [1, 0, 0], [1, 1, 0]]])


@pytest.mark.parametrize(
    "face",
    [
        b"1//7 2//8 3//9",
        b"1/1 2/2 3/3",
        b"1/1/7 2/2/8 3/3/9",
        b"1/1 2 3//4",
        b"1 2/2/1 3",
        b"1/ 2/2 3/",
        b"1/1/ 2// 3/3/",
    ],
)
def test_index_forms(face: bytes) -> None:
    data = CORNERS + b"vt 0 0\nvt 0.5 0\nvt 0.25 1 0\n" + b"f " + face + b"\n"
    np.testing.assert_array_equal(triangles(data), [[[0, 0, 0], [1, 0, 0], [1, 1, 0]]])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no polygons"),
        (CORNERS + b"f 1 2 6\n", "does not have"),
        (CORNERS + b"f 1 2 0\n", "does not have"),
        (CORNERS + b"f 1 2 -6\n", "does not have"),
        (CORNERS + b"f 1/1 2/1 3/1\n", "does not have"),
        (CORNERS + b"f 1 2 x\n", "no number"),
        (CORNERS + b"f 1 2 " + b"9" * 30 + b"\n", "no number"),
        (b"v 0 0\nv 1 0\nv 1 1\nf 1 2 3\n", "vertex"),
        (b"v 0 0 nan\nv 1 0 0\nv 1 1 0\nf 1 2 3\n", "not finite"),
        (b"v 0 0 a\nv 1 0 0\nv 1 1 0\nf 1 2 3\n", "vertex line"),
    ],
)
def test_broken_files_are_told(data: bytes, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        parse_obj(data, {}, no_texture)


def test_textures_are_asked_once_and_missing_ones_leave_the_colour() -> None:
    image = np.full((2, 2, 3), 7, np.uint8)
    asked = []

    def load(name: str) -> np.ndarray | None:
        asked.append(name)
        return image if name == "there.png" else None

    materials = {
        "a": Material((1, 2, 3), texture="there.png"),
        "b": Material((4, 5, 6), texture="missing.png"),
        "c": Material((7, 8, 9), texture="there.png"),
    }
    data = CORNERS + b"usemtl a\nf 1 2 3\nusemtl b\nf 1 3 4\nusemtl c\nf 1 4 5\nusemtl unknown\nf 1 2 4\n"
    mesh = parse_obj(data, materials, load)
    assert sorted(asked) == ["missing.png", "there.png"]
    assert mesh.face_texture.tolist() == [0, -1, 0, -1]
    assert mesh.face_color.tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [200, 200, 200]]
    assert len(mesh.textures) == 1


def test_clear_faces_are_dropped_but_count_for_the_bounds() -> None:
    materials = {"clear": Material(alpha=0.05), "glass": Material(alpha=0.1)}
    mesh = parse_obj(CORNERS + b"usemtl glass\nf 1 2 3\nusemtl clear\nf 1 4 5\n", materials, no_texture)
    assert len(mesh) == 1
    assert mesh.bounds[1].tolist() == [1, 2, 0]
    with pytest.raises(UserError, match="no visible"):
        parse_obj(CORNERS + b"usemtl clear\nf 1 4 5\n", materials, no_texture)


def test_mtl() -> None:
    data = b"""
# a comment
newmtl red paint
  Kd 1.0 0.5 0
  d 0.25
newmtl cloth
Kd 2 -1 x
map_Kd -bm 0.03 -o 0.5 0.5 -mm 0 1 my nice cloth.jpg
newmtl veil
Tr 0.75
map_Kd textures\\veil.png
map_Bump bump.png
newmtl bare
map_Kd
"""
    assert parse_mtl(data) == {
        "red paint": Material((255, 128, 0), 0.25),
        "cloth": Material(texture="my nice cloth.jpg"),
        "veil": Material(alpha=0.25, texture="textures/veil.png"),
        "bare": Material(),
    }
    assert mtllib_names(b"mtllib my file.mtl\r\nv 0 0 0\n") == ["my file.mtl"]


def test_a_material_whose_numbers_are_none_looks_as_if_it_had_not_said_them() -> None:
    (material,) = parse_mtl(b"newmtl a\nKd nan 0 1\nd nan\nTr inf\n").values()
    mesh = parse_obj(CORNERS + b"usemtl a\nf 1 2 3\n", {"a": material}, no_texture)
    assert mesh.face_color.tolist() == [list(Material().color)]


def test_texture_is_scaled_down_and_clear_parts_take_the_mean() -> None:
    big = decode_texture(png(np.full((600, 300, 3), 90, np.uint8)))
    assert big is not None
    assert big.shape == (256, 128, 3)
    rgba = np.zeros((1, 2, 4), np.uint8)
    rgba[0, 0] = (200, 100, 50, 255)
    clear = decode_texture(png(rgba))
    assert clear is not None
    assert clear.tolist() == [[[200, 100, 50], [200, 100, 50]]]
    assert decode_texture(b"no picture") is None
    assert decode_texture(png(np.zeros((2, 2, 4), np.uint8))) is None
    assert decode_texture(b"") is None


def slow_triangles(text: str) -> list[list[tuple[float, ...]]]:
    """One line at a time, as the format's description reads."""
    vertices: list[tuple[float, ...]] = []
    found = []
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["v"]:
            vertices.append(tuple(float(word) for word in words[1:4]))
        elif words[:1] == ["f"]:
            index = [int(word.split("/")[0]) for word in words[1:]]
            corner = [vertices[i - 1 if i > 0 else i] for i in index]
            if len(corner) > 2:  # how one polygon is cut is test_polygons.py's
                cut, _ = triangulated(np.array([len(corner)]), np.array(corner))
                found += [[corner[place] for place in triangle] for triangle in cut]
    return found


@st.composite
def obj_texts(draw: st.DrawFn) -> str:
    lines, count = [], 0
    for _ in range(draw(st.integers(1, 6))):
        for _ in range(draw(st.integers(3, 6))):
            x, y, z = (draw(st.integers(-9, 9)) for _ in range(3))
            lines.append(f"v {x} {y}.5 {z}e-1")
            count += 1
        for _ in range(draw(st.integers(0, 3))):
            indices = draw(st.lists(st.integers(1, count), min_size=2, max_size=7))
            sign = draw(st.sampled_from([0, count + 1]))
            form = draw(st.sampled_from(["{}", "{}//4"]))
            lines.append("f " + " ".join(form.format(i - sign) for i in indices))
    return "\n".join([*lines, f"f 1 2 {count}", ""])


@settings(max_examples=60, deadline=None)
@given(obj_texts())
def test_agrees_with_the_slow_reader(text: str) -> None:
    np.testing.assert_allclose(triangles(text.encode()), np.array(slow_triangles(text)), atol=1e-6)
