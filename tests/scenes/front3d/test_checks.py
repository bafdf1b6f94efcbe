from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomseg.scenes.boxes import Box
from roomseg.scenes.front3d.checks import faults_before_loading, faults_of_room, overlap_share
from roomseg.scenes.front3d.finishes import Look
from roomseg.scenes.front3d.house import parse_house
from roomseg.scenes.front3d.library import open_library
from roomseg.scenes.front3d.models import ModelStore
from roomseg.scenes.front3d.room import assemble_room
from roomseg.scenes.front3d.structure import TextureStore
from tests.scenes.front3d.houses import (
    IDENTITY,
    Json,
    box_obj,
    house_json,
    jid,
    texture_png,
    write_front3d,
    write_house,
    write_model,
)


def faults(root: Path, house: Json) -> list[str]:
    """Of the living room: before it is loaded or, where there are none, of the assembled room."""
    path = write_house(root, house, "tested")
    library = open_library(root)
    read = parse_house(path, path.read_bytes())
    models = ModelStore(library)
    before = faults_before_loading(read, read.rooms[0], models)
    if before:
        return before
    return faults_of_room(assemble_room(read, read.rooms[0], "living_room", models, TextureStore(library), Look()))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_front3d(tmp_path, 1)
    return tmp_path


def living(house: Json) -> list[Any]:
    return house["scene"]["room"][0]["children"]


def with_model(root: Path, category: str, size: tuple[float, float, float], pos: list[float], **piece: Any) -> Json:
    """A house with one more model in its living room."""
    write_model(root, "new", box_obj(*size), texture_png((1, 2, 3)))
    house = house_json()
    house["furniture"].append({"uid": "new/model", "jid": "new", "valid": True, "category": category, **piece})
    living(house).append({"ref": "new/model", **IDENTITY, "pos": pos})
    return house


def test_good_rooms_have_no_faults(root: Path) -> None:
    assert faults(root, house_json()) == []


def test_unlabelled_furniture(root: Path) -> None:
    house = house_json()
    sofa = house["furniture"][2]
    sofa["category"] = ""
    assert faults(root, house) == [f"unlabelled furniture: {sofa['jid']}: it has neither category nor title"]
    sofa["category"] = "Spaceship"
    assert faults(root, house) == [
        f"unlabelled furniture: {sofa['jid']}: category 'Spaceship' and title '' are none of the 99 names of 3D-FRONT"
    ]
    sofa["valid"], sofa["jid"] = False, "unreleased"
    assert faults(root, house) == ["too little furniture: 1; expected 2 at least"]


def test_missing_and_hostile_models(root: Path) -> None:
    house = house_json()
    house["furniture"][2]["jid"] = "not-unpacked"
    house["furniture"][3]["jid"] = "../../../etc"
    assert faults(root, house) == [
        "broken model: not-unpacked was released, but is not in 3D-FUTURE-model",
        "broken model: '../../../etc' is no plain name; expected letters, digits, '_', '.' and '-'",
    ]


def test_absurd_scale(root: Path) -> None:
    house = house_json()
    living(house)[-1]["scale"] = [1, 1e-6, -1]
    assert faults(root, house) == [
        f"absurd scale: {jid('table')} is scaled by [1.0, 1e-06, -1.0]; expected 1e-05 to 20"
    ]
    living(house)[-1]["scale"] = [1, 1, 19]
    assert faults(root, house) == [f"absurd scale: a tea table ({jid('table')}) is 11.4 m long"]
    living(house)[-1]["scale"] = [-1, 1, 1]
    assert faults(root, house) == []


def test_no_floor_and_no_ceiling(root: Path) -> None:
    house = house_json()
    house["mesh"][0]["type"] = "Pocket"
    assert faults(root, house) == ["no floor: none of the room's meshes is one"]
    house = house_json()
    house["mesh"][1]["type"] = "WallOuter"
    assert faults(root, house) == ["no ceiling: none of the room's meshes is one"]
    house["mesh"][1]["type"] = "Roof"
    assert faults(root, house)[0] == "mesh type 'Roof' is none of the 99 names of 3D-FRONT"


def test_a_ceiling_over_a_part_of_the_floor(root: Path) -> None:
    house = house_json()
    xyz = house["mesh"][1]["xyz"]
    house["mesh"][1]["xyz"] = [x / 4 if k % 3 == 0 else x for k, x in enumerate(xyz)]  # over x 0..1 of 0..4
    (fault,) = faults(root, house)
    assert fault.startswith("no ceiling over 7")
    assert fault.endswith("% of the floor; expected 50% at most")


def test_a_floor_of_next_to_nothing(root: Path) -> None:
    house = house_json()
    xyz = house["mesh"][0]["xyz"]
    house["mesh"][0]["xyz"] = [1.9 + x / 10 if k % 3 == 0 else x for k, x in enumerate(xyz)]
    assert faults(root, house) == ["no floor: it has 1.2 m2; expected 2 m2 at least"]


def test_a_floor_that_stands_upright_has_no_area(root: Path) -> None:
    house = house_json()
    xyz = house["mesh"][0]["xyz"]
    house["mesh"][0]["xyz"] = [number for x, y, z in zip(*[iter(xyz)] * 3, strict=True) for number in (x, z, y)]
    assert faults(root, house)[0] == "no floor: it has 0.0 m2; expected 2 m2 at least"


def test_furniture_that_lies_elsewhere_does_not_count(root: Path) -> None:
    house = house_json()
    living(house)[-1]["pos"] = [20, 0, 1]
    assert faults(root, house) == ["too little furniture: 1 in the room; expected 2 at least"]


def test_interpenetration(root: Path) -> None:
    # 0.4 of the cabinet's 1 m stands in the sofa, x 1..3; of its 1 m of height 0.8 m are beside the sofa's
    house = with_model(root, "Shelf", (1, 1, 0.5), [3.1, 0, 0.5])
    (fault,) = faults(root, house)
    assert fault == (
        f"interpenetration: 32% of a two-seat sofa ({jid('sofa')}) or a shelf (new) is in the other; "
        "expected 30% at most"
    )
    living(house)[-1]["pos"] = [3.2, 0, 0.5]
    assert faults(root, house) == []


@pytest.mark.parametrize(
    ("category", "size", "pos"),
    [
        ("Dining Chair", (0.5, 0.9, 0.5), [2, 0, 1.7]),  # under the table
        ("Footstool / Sofastool / Bed End Stool / Stool", (0.4, 0.4, 0.4), [2, 0, 1.7]),
        ("Pendant Lamp", (0.3, 2.0, 0.3), [2, 0.46, 1.7]),  # above it
        ("Floor Lamp", (0.3, 2.0, 0.3), [2, 0, 0.5]),  # an arc over the sofa
        ("TV Stand", (1.0, 0.2, 0.4), [2, 0.4, 1.7]),  # on the table
        ("Others", (3.0, 0.02, 2.0), [2, 0, 1]),  # a rug
        ("Plants", (0.5, 0.8, 0.5), [2, 0, 0.5]),
        ("L-shaped Sofa", (2.0, 0.8, 2.0), [2, 0, 1.2]),  # the table is in its nook
    ],
)
def test_what_may_be_in_one_another(
    root: Path, category: str, size: tuple[float, float, float], pos: list[float]
) -> None:
    assert faults(root, with_model(root, category, size, pos)) == []


def test_overlap_of_upright_boxes() -> None:
    a = Box((0, 0), (2, 2), 0, 1)
    assert overlap_share(a, Box((1, 0), (2, 2), 0, 1)) == pytest.approx(0.5)
    assert overlap_share(a, Box((1, 1), (2, 2), 0.5, 1.5)) == pytest.approx(0.125)
    assert overlap_share(a, Box((0, 0), (1, 1), 0, 1, yaw_rad=0.3)) == pytest.approx(1)
    assert overlap_share(a, Box((0, 0), (2, 2), 0, 1, yaw_rad=math.pi / 4)) == pytest.approx(2 * (math.sqrt(2) - 1))
    assert overlap_share(a, Box((3, 0), (2, 2), 0, 1)) == 0
    assert overlap_share(a, Box((0, 0), (2, 2), 1, 2)) == 0
    assert overlap_share(a, Box((0, 0), (0, 2), 0, 1)) == 0


BOX = st.builds(
    Box,
    st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
    st.tuples(st.floats(0.5, 2), st.floats(0.5, 2)),
    st.just(0.0),
    st.just(1.0),
    st.floats(-4, 4),
)


@settings(max_examples=40, deadline=None)
@given(BOX, BOX)
def test_overlap_agrees_with_counted_points(a: Box, b: Box) -> None:
    smaller, other = sorted((a, b), key=lambda box: box.size_m[0] * box.size_m[1])
    steps = (np.arange(60) + 0.5) / 60 - 0.5
    points = np.array([(*smaller.at(x * smaller.size_m[0], y * smaller.size_m[1]), 0.5) for x in steps for y in steps])
    assert overlap_share(a, b) == pytest.approx((other.distance(points) == 0).mean(), abs=0.02)
