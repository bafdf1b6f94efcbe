from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roomseg.errors import UserError
from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.front3d.house import House, parse_house
from roomseg.scenes.front3d.library import open_library
from roomseg.scenes.front3d.structure import TextureStore, structure_mesh
from tests.scenes.front3d.houses import FLOOR_TEXTURE, WALL_TEXTURE, Json, house_json, write_front3d, write_texture


@pytest.fixture
def textures(tmp_path: Path) -> TextureStore:
    write_front3d(tmp_path, 1)
    write_texture(tmp_path, "dead", b"")
    (tmp_path / "3D-FRONT-texture" / "empty-folder").mkdir()
    return TextureStore(open_library(tmp_path))


def parsed(house: Json) -> House:
    return parse_house(Path("house.json"), json.dumps(house).encode())


def triangle(textures: TextureStore, material: Json | None = None, **mesh: Any) -> TriangleMesh | None:
    """A mesh of one triangle of a house."""
    house = house_json()
    house["mesh"] = [{"uid": "m/0", "type": "Floor", "material": "m", "xyz": [0, 0, 0, 1, 0, 0, 0, 0, -1], **mesh}]
    house["mesh"][0].setdefault("faces", [0, 1, 2])
    house["material"] = [{"uid": "m", **(material or {})}]
    read = parsed(house)
    return structure_mesh(read, read.meshes["m/0"], 20, textures)


def test_texts_are_numbers_too(textures: TextureStore) -> None:
    mesh = triangle(textures, xyz=["0.5", "0", "0", 1, "0.0", 0, "0", "2.5e-1", "-1"], faces=["0", 1, 2.0])
    assert mesh is not None
    np.testing.assert_array_equal(mesh.vertices, [[0.5, 0, 0], [1, 0, 0], [0, 0.25, -1]])
    assert mesh.faces.tolist() == [[0, 1, 2]]
    assert mesh.face_label.tolist() == [20]


def test_a_mesh_without_faces_is_nothing(textures: TextureStore) -> None:
    assert triangle(textures, faces=[]) is None


UV = [0, 0, 1, 0, 0, 3]


def test_uv_are_repeats_without_a_transform(textures: TextureStore) -> None:
    mesh = triangle(textures, {"jid": WALL_TEXTURE}, uv=UV)
    assert mesh is not None
    np.testing.assert_array_equal(mesh.uv, [[[0, 0], [1, 0], [0, 3]]])
    assert mesh.face_texture.tolist() == [0]


def test_uv_are_metres_with_one(textures: TextureStore) -> None:
    """u' = m0 u + m3 v + m6, v' = m1 u + m4 v + m7."""
    mesh = triangle(textures, {"jid": WALL_TEXTURE, "UVTransform": [2, 5, 0, 7, 3, 0, 10, 20, 1]}, uv=UV)
    assert mesh is not None
    np.testing.assert_array_equal(mesh.uv, [[[10, 20], [12, 25], [31, 29]]])


@pytest.mark.parametrize("uv", [[None] * 6, [], None, [0, 0, 1, 0], [0, 0, 1, 0, 0, None], "abc"])
def test_without_uv_the_textures_mean_is_the_colour(textures: TextureStore, uv: Any) -> None:
    mesh = triangle(textures, {"jid": FLOOR_TEXTURE}, uv=uv)
    assert mesh is not None
    assert mesh.face_texture.tolist() == [-1]
    assert mesh.face_color.tolist() == [[(170 + 85) // 2, (120 + 60) // 2, (70 + 35) // 2]]


@pytest.mark.parametrize(
    ("material", "texture"),
    [
        ({"jid": FLOOR_TEXTURE}, FLOOR_TEXTURE),
        ({"jid": FLOOR_TEXTURE, "texture": f"https://dead.example/x/{WALL_TEXTURE}/texture.png"}, WALL_TEXTURE),
        ({"jid": FLOOR_TEXTURE, "texture": "https://dead.example/x/gone/texture.png"}, None),
        ({"jid": FLOOR_TEXTURE, "texture": "https://dead.example/x/../texture.png"}, None),
        ({"jid": FLOOR_TEXTURE, "useColor": True}, None),
        ({"jid": "../3D-FRONT-texture/" + FLOOR_TEXTURE}, None),
        ({"jid": "local"}, None),
        ({"jid": "empty-folder"}, None),
        ({"texture": "https://dead.example/x/empty-folder/texture.png"}, None),
        ({}, None),
    ],
)
def test_where_a_texture_comes_from(textures: TextureStore, material: Json, texture: str | None) -> None:
    read = parsed(house_json() | {"material": [{"uid": "m", **material}]}).materials["m"]
    assert textures.jid(read) == texture


def test_a_plain_material_has_its_colour(textures: TextureStore) -> None:
    mesh = triangle(textures, {"jid": "local", "color": [1, 2, 3, 255]}, uv=UV)
    assert mesh is not None
    assert (mesh.face_texture.tolist(), mesh.face_color.tolist()) == ([-1], [[1, 2, 3]])


@pytest.mark.parametrize(
    ("mesh", "reason"),
    [
        ({"xyz": [0, 0, 0, 1, 0]}, "xyz is .*expected a flat list of 3 numbers a row"),
        ({"xyz": [0, 0, 0, 1, 0, "x", 0, 0, 1]}, "xyz is .*expected a flat list"),
        ({"xyz": {}}, "xyz is .*expected a flat list"),
        ({"xyz": [0, 0, 0, 1, 0, float("nan"), 0, 0, 1]}, "xyz has a number that is not finite"),
        ({"xyz": [0, 0, 0, 1, 0, None, 0, 0, 1]}, "xyz has a number that is not finite"),
        ({"faces": [0, 1, 3]}, r"faces has indices 0..3; expected 0..2"),
        ({"faces": [0, -1, 2]}, r"faces has indices -1..2; expected 0..2"),
        ({"faces": [0, 1]}, "faces is .*expected a flat list"),
    ],
)
def test_broken_numbers_are_told_with_file_mesh_and_field(textures: TextureStore, mesh: Json, reason: str) -> None:
    with pytest.raises(UserError, match=rf"house.json: mesh 'm/0': {reason}"):
        triangle(textures, **mesh)


def test_a_dead_texture_is_told(textures: TextureStore) -> None:
    with pytest.raises(UserError, match=r"dead texture: .*dead/texture.png"):
        triangle(textures, {"jid": "dead"}, uv=UV)
