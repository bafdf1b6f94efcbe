"""A 3D-FRONT house file as typed records: what is optional in some release may be missing, what is odd is straightened.

Only the structure is read here; the numbers of a mesh stay as they are written until a room needs them
(``structure.py``). Frame of the file: metres, right-handed, +Y up.
"""

from __future__ import annotations

import contextlib
import json
import math
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np

from roomseg.errors import UserError

Vector = tuple[float, ...]
Record = TypeVar("Record")
_MISSING = object()


@dataclass(frozen=True)
class Placement:
    """Where something stands: scaled, turned, then moved."""

    pos: Vector = (0.0, 0.0, 0.0)
    rot: Vector = (0.0, 0.0, 0.0, 1.0)  # x, y, z, w
    scale: Vector = (1.0, 1.0, 1.0)  # negative: mirrored

    def matrix(self) -> np.ndarray:  # (4, 4) for column vectors
        matrix = np.eye(4)
        matrix[:3, :3] = rotation_matrix(self.rot) * np.array(self.scale)
        matrix[:3, 3] = self.pos
        return matrix


@dataclass(frozen=True)
class Furniture:
    jid: str
    valid: bool  # its model was released
    category: str  # "" where there is none
    title: str  # "" where there is none


@dataclass(frozen=True)
class StructureMesh:
    uid: str
    type: str
    material: str  # uid of a material, "" = none
    xyz: Any  # as written: flat, 3 a vertex, numbers or strings
    uv: Any  # flat, 2 a vertex; may hold null, or be empty
    faces: Any  # flat, 3 vertex indices a triangle; may be empty


@dataclass(frozen=True)
class Material:
    jid: str
    texture_url: str
    color: tuple[int, int, int]  # sRGB
    use_color: bool
    uv_transform: Vector | None  # 9 numbers, column-major; with it, uv are metres


@dataclass(frozen=True)
class Child:
    ref: str  # uid of a mesh or of a piece of furniture
    placement: Placement


@dataclass(frozen=True)
class HouseRoom:
    index: int  # place in scene.room, which the published ids count by
    type: str
    placement: Placement
    children: tuple[Child, ...]  # of which each refers to something; refs to nothing are left out


@dataclass(frozen=True)
class House:
    path: Path
    id: str
    furniture: dict[str, Furniture]
    meshes: dict[str, StructureMesh]
    materials: dict[str, Material]
    placement: Placement
    rooms: tuple[HouseRoom, ...]


def parse_house(path: Path, data: bytes) -> House:
    """Raises ``UserError``, with file and field, for broken JSON and for what no room can do without."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no complete JSON ({error}); get the file again") from None
    top = _Entry(path, "", value)
    scene = top.entry("scene")
    furniture = _by_uid(top.entries("furniture"), _furniture)
    meshes = _by_uid(top.entries("mesh"), _mesh)
    materials = _by_uid(top.entries("material", optional=True), _material)
    return House(
        path=path,
        id=path.stem,
        furniture=furniture,
        meshes=meshes,
        materials=materials,
        placement=_placement(scene),
        rooms=tuple(_room(index, entry, furniture, meshes) for index, entry in enumerate(scene.entries("room"))),
    )


def rotation_matrix(quaternion: Vector) -> np.ndarray:  # (x, y, z, w) -> (3, 3)
    x, y, z, w = np.array(quaternion) / math.hypot(*quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@dataclass(frozen=True)
class _Entry:
    """A JSON object and where it stands."""

    path: Path
    where: str
    value: Any

    def __post_init__(self) -> None:
        if not isinstance(self.value, dict):
            self.fail("", f"is {reprlib.repr(self.value)}", "an object")

    def fail(self, key: str, got: str, expected: str) -> NoReturn:
        field = ".".join(part for part in (self.where, key) if part) or "the file"
        raise UserError(f"{self.path}: {field} {got}; expected {expected}: get the file again")

    def get(self, key: str, expected: str, default: Any = _MISSING) -> Any:
        found = self.value.get(key, default)
        if found is _MISSING:
            self.fail(key, "is missing", expected)
        return found

    def text(self, key: str, default: Any = _MISSING) -> str:
        found = self.get(key, "a text", default)
        if found is None and default is not _MISSING:
            found = default
        if not isinstance(found, str):
            self.fail(key, f"is {reprlib.repr(found)}", "a text")
        return found

    def vector(self, key: str, count: int, default: Any = _MISSING) -> Any:
        """``count`` finite numbers, written as numbers or as texts; the default where there are none."""
        found = self.get(key, f"{count} numbers", default)
        if not found and default is not _MISSING:
            return default
        numbers: Vector = ()
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            numbers = tuple(float(number) for number in found)
        if len(numbers) != count or not all(map(math.isfinite, numbers)):
            self.fail(key, f"is {reprlib.repr(found)}", f"{count} finite numbers")
        return numbers

    def entry(self, key: str) -> _Entry:
        return _Entry(self.path, self._at(key), self.get(key, "an object"))

    def entries(self, key: str, optional: bool = False) -> list[_Entry]:
        found = self.get(key, "a list", [] if optional else _MISSING)
        if not isinstance(found, list):
            self.fail(key, f"is {reprlib.repr(found)}", "a list")
        return [_Entry(self.path, f"{self._at(key)}[{n}]", value) for n, value in enumerate(found)]

    def _at(self, key: str) -> str:
        return f"{self.where}.{key}" if self.where else key


def _by_uid(entries: list[_Entry], read: Callable[[_Entry], Record]) -> dict[str, Record]:
    """Of entries with the same uid, the first counts."""
    records: dict[str, Record] = {}
    for entry in entries:
        records.setdefault(entry.text("uid"), read(entry))
    return records


def _furniture(entry: _Entry) -> Furniture:
    return Furniture(
        jid=entry.text("jid"),
        valid=entry.get("valid", "true or false", False) is True,
        category=entry.text("category", "").strip(),
        title=entry.text("title", "").strip(),
    )


def _mesh(entry: _Entry) -> StructureMesh:
    return StructureMesh(
        uid=entry.text("uid"),
        type=entry.text("type").strip(),
        material=entry.text("material", ""),
        xyz=entry.get("xyz", "a list of numbers"),
        uv=entry.get("uv", "a list of numbers", ()),
        faces=entry.get("faces", "a list of indices"),
    )


def _material(entry: _Entry) -> Material:
    color = entry.get("color", "a colour", None)
    return Material(
        jid=entry.text("jid", ""),
        texture_url=entry.text("texture", ""),
        color=_color(color) if color else (255, 255, 255),
        use_color=entry.get("useColor", "true or false", False) is True,
        uv_transform=entry.vector("UVTransform", 9, None),
    )


def _color(value: Any) -> tuple[int, int, int]:
    """White where the file has no colour in it."""
    try:
        red, green, blue = (min(max(int(float(number)), 0), 255) for number in value[:3])
    except (TypeError, ValueError, OverflowError):
        return 255, 255, 255
    return red, green, blue


def _placement(entry: _Entry, required: bool = False) -> Placement:
    whole = Placement()
    defaults = (_MISSING,) * 3 if required else (whole.pos, whole.rot, whole.scale)
    placement = Placement(
        pos=entry.vector("pos", 3, defaults[0]),
        rot=entry.vector("rot", 4, defaults[1]),
        scale=entry.vector("scale", 3, defaults[2]),
    )
    if math.hypot(*placement.rot) < 1e-6:
        entry.fail("rot", f"is {list(placement.rot)}", "a quaternion [x, y, z, w] of length 1")
    return placement


def _room(index: int, entry: _Entry, furniture: dict[str, Furniture], meshes: dict[str, StructureMesh]) -> HouseRoom:
    children = []
    for child in entry.entries("children"):
        ref = child.text("ref")
        if ref in furniture or ref in meshes:
            children.append(Child(ref, _placement(child, required=ref in furniture)))
    return HouseRoom(index, entry.text("type").strip(), _placement(entry), tuple(children))
