from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from roomseg.geometry.mesh import plain_mesh
from roomseg.scenes.front3d.finishes import CREDIT, Finishes, Look, repainted
from roomseg.scenes.front3d.house import House, parse_house
from roomseg.scenes.front3d.library import open_library
from roomseg.scenes.front3d.structure import TextureStore
from roomseg.scenes.textures import Texture
from tests.scenes.front3d.houses import FLOOR_TEXTURE, WALL_TEXTURE, house_json, write_front3d, write_texture

OWN = tuple(Texture(f"own-{n}", np.full((1, 1, 3), n, np.uint8), (0.5, 0.25), f"credit {n}") for n in range(5))


def house() -> House:
    return parse_house(Path("house.json"), json.dumps(house_json()).encode())


def test_what_houses_use_is_drawn_at_its_size(tmp_path: Path) -> None:
    write_front3d(tmp_path, 1)
    look = Finishes([house()], TextureStore(open_library(tmp_path)), (OWN, OWN), seed=0).look("a room")
    assert look.floor is not None
    assert look.wall is not None
    assert look.floor.name == f"3d-front/{FLOOR_TEXTURE}"
    assert look.floor.tile_m == pytest.approx((0.5, 0.5))  # two repeats a metre
    assert look.wall.name == f"3d-front/{WALL_TEXTURE}"
    assert look.wall.tile_m == pytest.approx((np.sqrt(4 * 2.6 / 6),) * 2)  # the first wall: 3 x 2 repeats
    assert look.credits == (CREDIT, CREDIT)


def test_the_callers_textures_are_drawn_where_houses_use_none(tmp_path: Path) -> None:
    write_front3d(tmp_path, 1)
    textures = TextureStore(open_library(tmp_path))
    finishes = Finishes([], textures, (OWN, OWN[:2]), seed=0)
    looks = [finishes.look(f"room {n}") for n in range(40)]
    assert {look.floor.name for look in looks if look.floor} == {texture.name for texture in OWN}
    assert {look.wall.name for look in looks if look.wall} == {"own-0", "own-1"}
    assert Finishes([], textures, (OWN, OWN[:2]), seed=0).look("room 7") == looks[7]
    assert [Finishes([], textures, (OWN, OWN[:2]), seed=1).look(f"room {n}") for n in range(40)] != looks
    assert Finishes([], textures, ((), ()), seed=0).look("room 7") == Look()


def test_dead_textures_are_not_drawn(tmp_path: Path) -> None:
    write_front3d(tmp_path, 1)
    (tmp_path / "3D-FRONT-texture" / FLOOR_TEXTURE / "texture.png").write_bytes(b"")
    write_texture(tmp_path, "other", b"")
    finishes = Finishes([house()], TextureStore(open_library(tmp_path)), (OWN, OWN), seed=0)
    assert finishes.look("a room").floor in OWN


def test_textures_are_laid_out_in_metres() -> None:
    look = Look(floor=OWN[1], wall=OWN[2])
    floor = plain_mesh(np.array([[0, 0, 0], [1, 0, 0], [1, 2, 0]]), np.array([[0, 1, 2]]), 20, (0, 0, 0))
    np.testing.assert_allclose(repainted(floor, "floor", look).uv, [[[0, 0], [2, 0], [2, 8]]])
    # A wall at y = 3, seen from lower y: its right is +X, and -X for the wall opposite.
    wall = plain_mesh(np.array([[1, 3, 0], [2, 3, 0], [2, 3, 1]]), np.array([[0, 1, 2]]), 17, (0, 0, 0))
    painted = repainted(wall, "wallinner", look)
    np.testing.assert_allclose(painted.uv, [[[2, 0], [4, 0], [4, 4]]], atol=1e-6)
    assert painted.textures[0] is OWN[2].image
    opposite = plain_mesh(np.array([[2, 0, 0], [1, 0, 0], [1, 0, 1]]), np.array([[0, 1, 2]]), 17, (0, 0, 0))
    np.testing.assert_allclose(repainted(opposite, "wallinner", look).uv, [[[-4, 0], [-2, 0], [-2, 4]]], atol=1e-6)
    assert repainted(wall, "ceiling", look) is wall
    assert repainted(wall, "wallinner", Look(floor=OWN[1])) is wall
