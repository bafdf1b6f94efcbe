from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomseg.errors import UserError
from roomseg.scenes.front3d.house import House, Placement, parse_house, rotation_matrix
from tests.scenes.front3d.houses import Json, house_json, jid

PATH = Path("3D-FRONT/some-house.json")


def parsed(house: Json) -> House:
    return parse_house(PATH, json.dumps(house).encode())


def test_a_house() -> None:
    house = parsed(house_json())
    assert house.id == "some-house"
    assert [(room.index, room.type) for room in house.rooms] == [
        (0, "LivingDiningRoom"),
        (1, "MasterBedroom"),
        (2, "Kitchen"),
    ]
    assert [len(room.children) for room in house.rooms] == [10, 9, 0]  # the reference to nothing is left out
    bed = house.furniture["bed/model"]
    assert (bed.jid, bed.valid, bed.category, bed.title) == (jid("bed"), True, "King-size Bed", "")
    assert house.rooms[1].children[-2].placement.pos == (6.15, 0, 1.95)
    assert house.materials["floor"].uv_transform == (2, 0, 0, 0, 2, 0, 0, 0, 1)
    assert house.materials["plain"].color == (250, 240, 230)
    assert house.materials["wall"].uv_transform is None


def test_what_releases_do_differently_is_straightened() -> None:
    house = house_json()
    del house["material"], house["scene"]["pos"], house["scene"]["room"][0]["scale"]
    house["furniture"].append({"uid": "bed/model", "jid": "another"})  # the first counts
    house["furniture"][1] |= {"category": None, "title": None, "valid": None}
    house["mesh"][0] |= {"type": " Floor ", "uv": None}
    del house["mesh"][0]["material"], house["mesh"][1]["uv"]
    house["scene"]["room"][0]["children"][-1]["pos"] = ["2", "0.5", 1]
    read = parsed(house)
    assert read.furniture["bed/model"].jid == jid("bed")
    wardrobe = read.furniture["wardrobe/model"]
    assert (wardrobe.category, wardrobe.title, wardrobe.valid) == ("", "", False)
    assert (read.meshes["living/floor"].type, read.meshes["living/floor"].material) == ("Floor", "")
    assert read.rooms[0].children[-1].placement.pos == (2, 0.5, 1)
    assert read.rooms[0].placement == read.placement == Placement()


@pytest.mark.parametrize(
    ("material", "color"),
    [
        ({}, (255, 255, 255)),
        ({"color": None}, (255, 255, 255)),
        ({"color": ["9", 300, -4]}, (9, 255, 0)),
        ({"color": "x"}, (255, 255, 255)),
    ],
)
def test_a_material_has_a_colour_in_any_case(material: Json, color: tuple[int, int, int]) -> None:
    house = house_json()
    house["material"].append({"uid": "odd", **material})
    assert parsed(house).materials["odd"].color == color


def removed(*path: str | int) -> Json:
    house = house_json()
    value: Any = house
    for key in path[:-1]:
        value = value[key]
    del value[path[-1]]
    return house


def replaced(new: Any, *path: str | int) -> Json:
    house = house_json()
    value: Any = house
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new
    return house


BED = ("scene", "room", 1, "children", 8)


@pytest.mark.parametrize(
    ("house", "field"),
    [
        (removed("furniture"), "furniture is missing; expected a list"),
        (removed("scene"), "scene is missing; expected an object"),
        (removed("scene", "room"), "scene.room is missing; expected a list"),
        (removed("mesh", 2, "xyz"), r"mesh\[2\].xyz is missing; expected a list of numbers"),
        (removed("furniture", 1, "jid"), r"furniture\[1\].jid is missing; expected a text"),
        (removed("scene", "room", 0, "children"), r"scene.room\[0\].children is missing"),
        (removed(*BED, "rot"), r"scene.room\[1\].children\[8\].rot is missing; expected 4 numbers"),
        (replaced([1, 2], *BED, "pos"), r"children\[8\].pos is \[1, 2\]; expected 3 finite numbers"),
        (replaced([1, 2, math.nan], *BED, "pos"), r"children\[8\].pos is \[1, 2, nan\]; expected 3 finite numbers"),
        (replaced([1, 2, "x"], *BED, "scale"), r"children\[8\].scale is .*; expected 3 finite numbers"),
        (replaced([0, 0, 0, 0], *BED, "rot"), r"children\[8\].rot is .*; expected a quaternion"),
        (replaced({}, "mesh"), r"mesh is \{\}; expected a list"),
        (replaced(7, "mesh", 0), r"mesh\[0\] is 7; expected an object"),
        (replaced(5, "furniture", 0, "jid"), r"furniture\[0\].jid is 5; expected a text"),
        ([], r"the file is \[\]; expected an object"),
    ],
)
def test_what_is_missing_is_told_with_file_and_field(house: Json, field: str) -> None:
    with pytest.raises(UserError, match=f"some-house.json: .*{field}"):
        parsed(house)


@pytest.mark.parametrize(
    "data", [b"", json.dumps(house_json()).encode()[:-100], b"\xff\xfe{", b"[" * 100_000, b"9" * 9999]
)
def test_broken_json_is_told(data: bytes) -> None:
    with pytest.raises(UserError, match=r"some-house\.json"):
        parse_house(PATH, data)


def turned_by_definition(quaternion: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """v + 2 w (q x v) + 2 q x (q x v)."""
    q, w = quaternion[:3], quaternion[3]
    return vector + 2 * w * np.cross(q, vector) + 2 * np.cross(q, np.cross(q, vector))


NUMBER = st.floats(-3, 3)


@given(
    st.tuples(NUMBER, NUMBER, NUMBER, NUMBER).filter(lambda q: math.hypot(*q) > 0.1), st.tuples(NUMBER, NUMBER, NUMBER)
)
def test_quaternions_turn_as_defined(quaternion: tuple[float, ...], vector: tuple[float, ...]) -> None:
    unit = np.array(quaternion) / math.hypot(*quaternion)
    matrix = rotation_matrix(quaternion)
    np.testing.assert_allclose(matrix @ vector, turned_by_definition(unit, np.array(vector)), atol=1e-9)
    np.testing.assert_allclose(matrix, rotation_matrix(tuple(-number for number in quaternion)), atol=1e-9)
    assert np.linalg.det(matrix) == pytest.approx(1)


def test_a_placement_scales_then_turns_then_moves() -> None:
    quarter = math.sqrt(0.5)
    placement = Placement(pos=(10, 20, 30), rot=(0, quarter, 0, quarter), scale=(2, 3, -4))
    point = placement.matrix() @ (1, 1, 1, 1)
    # scaled: (2, 3, -4); a quarter about +Y takes x to -z and z to x: (-4, 3, -2)
    np.testing.assert_allclose(point, (6, 23, 28, 1), atol=1e-12)
