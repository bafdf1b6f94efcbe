from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from roomseg.errors import UserError
from roomseg.labels import PANOROOMS3D
from roomseg.scenes.front3d.finishes import Look
from roomseg.scenes.front3d.furniture import PlacedModel
from roomseg.scenes.front3d.house import parse_house
from roomseg.scenes.front3d.library import open_library
from roomseg.scenes.front3d.models import ModelStore
from roomseg.scenes.front3d.room import CREDITS, Front3dRoom, assemble_room
from roomseg.scenes.front3d.structure import TextureStore
from roomseg.scenes.textures import Texture
from tests.scenes.front3d.houses import (
    HEIGHT_M,
    IDENTITY,
    Json,
    box_obj,
    child,
    house_json,
    jid,
    mesh,
    texture_png,
    write_front3d,
    write_house,
    write_model,
)

LIVING, BEDROOM = 0, 1
LABEL = PANOROOMS3D.id

# A right-angled wedge: its corner at (0.1, 0, 0.2), edges of 1, 2 and 3 along x, y and z.
WEDGE = """
v 0.1 0 0.2
v 1.1 0 0.2
v 0.1 2 0.2
v 0.1 0 3.2
f 1 3 2
f 1 2 4
f 1 4 3
f 2 3 4
"""


def assembled(root: Path, house: Json, index: int, look: Look | None = None) -> Front3dRoom:
    path = write_house(root, house, "tested")
    library = open_library(root)
    read = parse_house(path, path.read_bytes())
    models, textures = ModelStore(library), TextureStore(library)
    return assemble_room(read, read.rooms[index], "bedroom", models, textures, look or Look())


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_front3d(tmp_path, 1)
    return tmp_path


def placed(root: Path, **placement: list[float]) -> PlacedModel:
    """A wedge in the living room."""
    write_model(root, "wedge", WEDGE, texture_png((1, 2, 3)))
    house = house_json()
    house["furniture"].append({"uid": "wedge/model", "jid": "wedge", "valid": True, "category": "Shelf"})
    house["scene"]["room"][LIVING]["children"].append({"ref": "wedge/model", **IDENTITY, **placement})
    return assembled(root, house, LIVING).furniture[-1]


def outward_volume(model: PlacedModel) -> float:
    """Positive where all faces look outward."""
    a, b, c = (model.mesh.vertices[model.mesh.faces[:, k]].astype(np.float64) for k in range(3))
    return float(np.einsum("fi,fi->f", a, np.cross(b, c)).sum() / 6)


def test_the_building_of_a_room(root: Path) -> None:
    room = assembled(root, house_json(), LIVING)
    assert room.id == "tested_0"
    assert room.house_id == "tested"
    assert room.height_m == pytest.approx(HEIGHT_M)
    assert room.floor.area_m2 == pytest.approx(12)
    assert room.credits == CREDITS
    assert room.object_names == (f"3d-future/{jid('sofa')}", f"3d-future/{jid('table')}")
    np.testing.assert_allclose(room.floor_bounds, [[0, -3], [4, 0]])
    # (x, y, z) -> (x, -z, y); WallOuter, 9 m away, is left out; the doorway's lining reaches x = 4.2
    np.testing.assert_allclose(room.mesh.bounds, [[0, -3, 0], [4.2, 0, HEIGHT_M]], atol=1e-6)
    counts = {PANOROOMS3D.names[k]: int((room.mesh.face_label == k).sum()) for k in np.unique(room.mesh.face_label)}
    assert counts == {"ceiling": 2, "table": 12, "door/window": 6, "sofa": 12, "wall": 12, "floor": 2}


def test_surfaces_look_into_the_room(root: Path) -> None:
    room = assembled(root, house_json(), LIVING)
    corners = room.mesh.vertices[room.mesh.faces].astype(np.float64)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    shell = np.isin(room.mesh.face_label, [LABEL("wall"), LABEL("floor"), LABEL("ceiling")])
    inward = np.einsum("fi,fi->f", normal, np.array([2, -1.5, 1.3]) - corners.mean(axis=1))
    assert (inward[shell] > 0).all()


def test_the_bedroom_has_the_lining_that_belongs_to_the_living_room(root: Path) -> None:
    room = assembled(root, house_json(), BEDROOM)
    lining = room.mesh.faces[room.mesh.face_label == LABEL("door/window")]
    assert len(lining) == 6
    np.testing.assert_allclose(room.mesh.vertices[lining].reshape(-1, 3).min(axis=0), [4, -1.9, 0], atol=1e-6)
    np.testing.assert_allclose(room.mesh.vertices[lining].reshape(-1, 3).max(axis=0), [4.2, -1, 2.1], atol=1e-6)


def test_the_floor_lies_at_zero(root: Path) -> None:
    house = house_json()
    house["scene"]["pos"] = [0, 3.5, 0]
    house["scene"]["room"][BEDROOM]["pos"] = [1, 0, 0]
    room = assembled(root, house, BEDROOM)
    np.testing.assert_allclose(room.floor_bounds, [[5.2, -3], [8.2, 0]], atol=1e-6)
    assert room.mesh.bounds[:, 2].tolist() == pytest.approx([0, HEIGHT_M])
    bed = room.furniture[0].box
    assert (*bed.center_m, bed.low_m, bed.high_m) == pytest.approx((7.15, -1.95, 0, 0.5))


def test_a_bed_has_its_back_to_the_wall(root: Path) -> None:
    bed, wardrobe = assembled(root, house_json(), BEDROOM).furniture
    assert (bed.name, PANOROOMS3D.names[bed.label]) == ("double bed", "bed")
    assert bed.box.front == pytest.approx((-1, 0), abs=1e-5)  # away from the wall at x = 7.2
    assert bed.box.center_m == pytest.approx((6.15, -1.95))
    assert bed.box.size_m == pytest.approx((1.6, 2.0), abs=1e-4)
    assert wardrobe.box.front == pytest.approx((0, -1))
    np.testing.assert_allclose(bed.mesh.bounds, [[5.15, -2.75, 0], [7.15, -1.15, 0.5]], atol=1e-4)


def test_vertices_are_scaled_turned_moved_and_stood_up(root: Path) -> None:
    """p = R (s * v) + t, then (x, -z, y)."""
    quarter = math.sqrt(0.5)
    model = placed(root, pos=[1, 0.5, 2], rot=[0, quarter, 0, quarter], scale=[1, 0.5, 0.25])
    # scaled corner (0.1, 0, 0.05); a quarter about +Y: (z, y, -x) = (0.05, 0, -0.1); moved: (1.05, 0.5, 1.9)
    expected = [[1.05, -1.9, 0.5], [1.05, -0.9, 0.5], [1.05, -1.9, 1.5], [1.8, -1.9, 0.5]]
    np.testing.assert_allclose(model.mesh.vertices, expected, atol=1e-6)
    assert model.box.yaw_rad == pytest.approx(math.pi / 2)
    assert outward_volume(model) == pytest.approx(1 * 2 * 3 / 6 * 0.125)


@pytest.mark.parametrize("scale", [[-1, 1, 1], [1, 1, -1], [-1, 1, -1], [1, 1, 1]])
def test_mirrored_models_keep_their_faces_outward(root: Path, scale: list[float]) -> None:
    model = placed(root, pos=[2, 0, 1.5], scale=scale)
    assert outward_volume(model) == pytest.approx(1)
    x, z = 0.1 * scale[0], 0.2 * scale[2]
    np.testing.assert_allclose(model.mesh.vertices[0], [2 + x, -(1.5 + z), 0], atol=1e-6)
    assert model.box.yaw_rad == 0


def test_both_signs_of_a_quaternion_are_one_turn(tmp_path: Path) -> None:
    found = []
    for name, rot in (("a", [0, 0.28596, 0, 0.95824]), ("b", [0, -0.28596, 0, -0.95824])):
        write_front3d(tmp_path / name, 1)
        found.append(placed(tmp_path / name, pos=[2, 0, 1.5], rot=rot))
    np.testing.assert_allclose(found[0].mesh.vertices, found[1].mesh.vertices, atol=1e-6)
    assert found[0].box == found[1].box
    assert found[0].box.yaw_rad == pytest.approx(2 * math.atan2(0.28596, 0.95824))
    assert sorted(found[0].box.size_m) == pytest.approx([1, 3], abs=1e-4)


def test_furniture_in_another_room_or_without_a_model_is_left_out(root: Path) -> None:
    house = house_json()
    house["furniture"].append({"uid": "lamp/model", "jid": "unreleased", "valid": False, "category": "Pendant Lamp"})
    house["scene"]["room"][LIVING]["children"] += [
        child("wardrobe", [4.5, 0, 1.5]),  # 0.5 m beyond the wall
        child("wardrobe", [4.2, 0, 2.5]),  # in the wall
        {"ref": "lamp/model", **IDENTITY},
    ]
    names = [model.name for model in assembled(root, house, LIVING).furniture]
    assert names == ["two-seat sofa", "tea table", "wardrobe"]


def test_faces_above_the_ceiling_are_cut_away(root: Path) -> None:
    write_model(root, "lamp", box_obj(0.2, 1.0, 0.2), texture_png((9, 9, 9)))
    house = house_json()
    house["furniture"].append({"uid": "lamp/model", "jid": "lamp", "valid": True, "title": "lighting/pendant light"})
    house["scene"]["room"][LIVING]["children"].append(child("lamp", [2, 2.0, 1]))
    lamp = assembled(root, house, LIVING).furniture[-1]
    assert PANOROOMS3D.names[lamp.label] == "lamp"
    assert len(lamp.mesh) == 10  # all but the top
    house["scene"]["room"][LIVING]["children"][-1]["pos"][1] = 2.7
    assert len(assembled(root, house, LIVING).furniture) == 2


def test_where_cameras_may_stand(root: Path) -> None:
    house = house_json()
    cupboard = [(0, 0, 2.4), (2, 0, 2.4), (2, 2.4, 2.4), (0, 2.4, 2.4)]
    house["mesh"].append(mesh("living/cupboard", "Cabinet", "plain", cupboard, []))
    house["scene"]["room"][LIVING]["children"].append({"ref": "living/cupboard", **IDENTITY})
    room = assembled(root, house, LIVING)
    free = {
        (3.5, -2.5, 1.6): True,
        (3.9, -2.5, 1.6): False,  # beside a wall
        (2, -0.5, 0.9): False,  # 10 cm above the sofa
        (2, -0.5, 1.6): True,
        (1, -2.3, 1.6): False,  # beside the cupboard
        (4.1, -1.5, 1.6): False,  # in the doorway
        (3.5, -2.5, 2.5): False,
    }
    assert room.is_free(np.array(list(free)), 0.2).tolist() == list(free.values())
    assert room.ahead_m((1, -1), (1, 0)) == pytest.approx(3, abs=0.06)
    assert room.ahead_m((1, -1), (0, -1)) == pytest.approx(1.4, abs=0.06)


def test_a_look_dresses_floor_and_walls_alone(root: Path) -> None:
    plain = assembled(root, house_json(), LIVING)
    own = plain.mesh.face_texture[plain.mesh.face_label == LABEL("floor")]
    uv = plain.mesh.uv[plain.mesh.face_label == LABEL("floor")]
    assert plain.mesh.textures[own[0]].shape == (8, 8, 3)
    np.testing.assert_allclose(uv[0], 2 * np.array([[0, 0], [0, 3], [4, 3]]))  # the file's metres, two repeats each
    image = np.full((2, 2, 3), 77, np.uint8)
    dressed = assembled(root, house_json(), LIVING, Look(floor=Texture("t", image, (0.5, 0.5), "someone")))
    ids = dressed.mesh.face_texture[dressed.mesh.face_label == LABEL("floor")]
    assert dressed.mesh.textures[ids[0]] is image
    assert dressed.credits == tuple(sorted([*CREDITS, "someone"]))
    wall = dressed.mesh.face_label == LABEL("wall")
    np.testing.assert_array_equal(dressed.mesh.uv[wall], plain.mesh.uv[wall])


def test_a_room_without_floor_is_told(root: Path) -> None:
    house = house_json()
    house["mesh"][0]["type"] = "Ceiling"
    with pytest.raises(UserError, match="no floor: the room has no mesh of type Floor"):
        assembled(root, house, LIVING)
