"""Small 3D-FRONT houses, with models and textures, for the tests: a living room and a bedroom of 4 x 3 and 3 x 3 m.

The file's frame: +Y up. The living room has x 0..4 and z 0..3, the bedroom x 4.2..7.2; both are 2.6 m high. A doorway
0.9 m wide and 2.1 m high, with a lining of type Hole that belongs to the living room, is in the wall between them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.scenes.libraries import png

Json = dict[str, Any]
HEIGHT_M = 2.6
DOOR = (1.0, 1.9, 2.1)  # z from, z to, height
SIZES = {  # width (x), height (y), depth (z) of the models, metres; their front is +Z
    "bed": (1.6, 0.5, 2.0),
    "wardrobe": (1.5, 2.0, 0.6),
    "sofa": (2.0, 0.8, 0.9),
    "table": (1.2, 0.45, 0.6),
}
CATEGORIES = {"bed": "King-size Bed", "wardrobe": "Wardrobe", "sofa": "Loveseat Sofa", "table": "Coffee Table"}
COLORS = {"bed": (200, 60, 60), "wardrobe": (120, 80, 40), "sofa": (40, 90, 160), "table": (220, 200, 150)}
FLOOR_TEXTURE, WALL_TEXTURE = "f1000000-0000-4000-8000-000000000000", "f2000000-0000-4000-8000-000000000000"
IDENTITY: Json = {"pos": [0, 0, 0], "rot": [0, 0, 0, 1], "scale": [1, 1, 1]}
BACK_TO_HIGH_X = [0, -0.70711, 0, 0.70711]  # turns the front from +Z to -X


def house_id(number: int) -> str:
    return f"{number:08x}-0000-4000-8000-000000000000"


def jid(name: str) -> str:
    return f"{list(SIZES).index(name) + 1:08x}-1111-4111-8111-111111111111"


def write_front3d(root: Path, houses: int) -> None:
    """A folder as the archives unpack: ``houses`` houses of two rooms each, four models, two textures."""
    for number in range(houses):
        write_house(root, house_json(), house_id(number))
    for name in SIZES:
        write_model(root, jid(name), box_obj(*SIZES[name]), texture_png(COLORS[name]))
    write_texture(root, FLOOR_TEXTURE, texture_png((170, 120, 70)))
    write_texture(root, WALL_TEXTURE, texture_png((210, 215, 205)))


def write_house(root: Path, house: Json, name: str) -> Path:
    path = root / "3D-FRONT" / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(house), "utf-8")
    return path


def write_model(root: Path, name: str, obj: str, texture: bytes) -> None:
    folder = root / "3D-FUTURE-model" / name
    folder.mkdir(parents=True)
    (folder / "raw_model.obj").write_text(obj)
    (folder / "texture.png").write_bytes(texture)


def write_texture(root: Path, name: str, picture: bytes) -> None:
    folder = root / "3D-FRONT-texture" / name
    folder.mkdir(parents=True)
    (folder / "texture.png").write_bytes(picture)


def texture_png(color: tuple[int, int, int]) -> bytes:
    """8 x 8 pixels, the upper half darker."""
    image = np.tile(np.array(color, np.uint8), (8, 8, 1))
    image[:4] //= 2
    return png(image)


def box_obj(width: float, height: float, depth: float) -> str:
    """As 3ds Max writes it: 1-based, two spaces after v, quads; base at y = 0, centred on x and z."""
    corners = [
        (x * width / 2, y * height, z * depth / 2) for z in (-1, 1) for x, y in ((-1, 0), (1, 0), (1, 1), (-1, 1))
    ]
    lines = ["mtllib model.mtl", *(f"v  {x} {y} {z}" for x, y, z in corners)]
    lines += ["vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1"]
    quads = ((4, 3, 2, 1), (5, 6, 7, 8), (1, 2, 6, 5), (4, 8, 7, 3), (1, 5, 8, 4), (2, 3, 7, 6))
    lines += ["f " + " ".join(f"{corner}/{k}" for k, corner in enumerate(quad, 1)) for quad in quads]
    return "\n".join(lines)


def house_json() -> Json:
    living = _shell("living", 0.0, 4.0, door_at_high_x=True)
    living.append(_lining("living/hole", 4.0, 4.2))
    bedroom = _shell("bedroom", 4.2, 7.2, door_at_high_x=False)
    return {
        "uid": "any",
        "north_vector": [0, 1, 0],
        "furniture": [furniture(name) for name in SIZES],
        "mesh": [*living, *bedroom],
        "material": [
            {"uid": "floor", "jid": FLOOR_TEXTURE, "texture": "", "color": [255, 255, 255, 255], "UVTransform": UV_2},
            {"uid": "wall", "jid": WALL_TEXTURE, "texture": "", "color": [255, 255, 255, 255]},
            {"uid": "plain", "jid": "local", "texture": "", "color": [250, 240, 230, 255]},
        ],
        "scene": {
            "ref": "-1",
            **IDENTITY,
            "room": [
                room("LivingDiningRoom", living, [child("sofa", [2, 0, 0.5]), child("table", [2, 0, 1.7])]),
                room(
                    "MasterBedroom",
                    bedroom,
                    [child("bed", [6.15, 0, 1.95], BACK_TO_HIGH_X), child("wardrobe", [5.2, 0, 0.35])],
                ),
                {"type": "Kitchen", "instanceid": "Kitchen-1", **IDENTITY, "children": []},
            ],
        },
    }


UV_2 = [2, 0, 0, 0, 2, 0, 0, 0, 1]  # two repeats a metre


def furniture(name: str, **more: Any) -> Json:
    return {"uid": f"{name}/model", "jid": jid(name), "valid": True, "category": CATEGORIES[name], **more}


def child(name: str, pos: Sequence[float], rot: Sequence[float] = (0, 0, 0, 1), **more: Any) -> Json:
    return {"ref": f"{name}/model", "pos": list(pos), "rot": list(rot), "scale": [1, 1, 1], **more}


def room(kind: str, meshes: list[Json], children: list[Json]) -> Json:
    """With a reference to nothing, as real files have."""
    refs = [{"ref": mesh["uid"], **IDENTITY} for mesh in meshes] + [{"ref": "gone/model"}]
    return {"type": kind, "instanceid": f"{kind}-1", **IDENTITY, "children": refs + children}


def mesh(uid: str, kind: str, material: str, corners: Sequence[Sequence[float]], uv: Sequence[float]) -> Json:
    """Quadrilaterals of four corners each, counter-clockwise from the visible side."""
    faces = [4 * q + k for q in range(len(corners) // 4) for k in (0, 1, 2, 0, 2, 3)]
    xyz = [number for corner in corners for number in corner]
    return {"uid": uid, "type": kind, "material": material, "xyz": xyz, "normal": [], "uv": list(uv), "faces": faces}


def _shell(name: str, x0: float, x1: float, door_at_high_x: bool) -> list[Json]:
    """Floor, ceiling and walls; z 0..3; the doorway is in one of the walls along z."""
    floor = [(x0, 0, 0), (x0, 0, 3), (x1, 0, 3), (x1, 0, 0)]
    ceiling = [(x, HEIGHT_M, z) for x, _, z in reversed(floor)]
    walls = {
        "low-z": _wall((x0, 0), (x1, 0)),
        "high-z": _wall((x1, 3), (x0, 3)),
        "low-x": _wall((x0, 3), (x0, 0)) if door_at_high_x else _wall_with_door((x0, 3), (x0, 0)),
        "high-x": _wall_with_door((x1, 0), (x1, 3)) if door_at_high_x else _wall((x1, 0), (x1, 3)),
    }
    meshes = [
        mesh(f"{name}/floor", "Floor", "floor", floor, [value for x, _, z in floor for value in (x, z)]),
        mesh(f"{name}/ceiling", "Ceiling", "plain", ceiling, []),
        mesh(f"{name}/outer", "WallOuter", "plain", [(-9, 0, -9), (9, 0, -9), (9, 3, -9), (-9, 3, -9)], []),
    ]
    for side, corners in walls.items():
        uv = [value for quad in range(len(corners) // 4) for value in (0, 0, 3, 0, 3, 2, 0, 2)]
        meshes.append(mesh(f"{name}/{side}", "WallInner", "wall", corners, uv))
    return meshes


def _wall(start: tuple[float, float], end: tuple[float, float], low: float = 0, high: float = HEIGHT_M) -> list[Any]:
    """From left to right for one who sees it; (x, z)."""
    return [(start[0], low, start[1]), (end[0], low, end[1]), (end[0], high, end[1]), (start[0], high, start[1])]


def _wall_with_door(start: tuple[float, float], end: tuple[float, float]) -> list[Any]:
    x, rising = start[0], end[1] > start[1]
    left, right, high = DOOR if rising else (DOOR[1], DOOR[0], DOOR[2])
    return [*_wall(start, (x, left)), *_wall((x, right), end), *_wall((x, left), (x, right), low=high)]


def _lining(uid: str, x0: float, x1: float) -> Json:
    """Both sides and the top of the doorway."""
    z0, z1, high = DOOR
    top = [(x0, high, z0), (x1, high, z0), (x1, high, z1), (x0, high, z1)]
    sides = [*_wall((x0, z0), (x1, z0), high=high), *_wall((x1, z1), (x0, z1), high=high)]
    return mesh(uid, "Hole", "plain", [*sides, *top], [])
