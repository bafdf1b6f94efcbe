"""Meshes and point clouds with colours from files, as phones and scanners write them: PLY, OBJ, GLB and glTF.

trimesh reads the formats. What must stay as it is in the file: the points and their order.
"""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from PIL import Image
from scipy.spatial import cKDTree
from trimesh.resolvers import FilePathResolver

from roomseg.errors import UserError
from roomseg.geometry.mesh import TriangleMesh, join_meshes
from roomseg.geometry.surface import Surface

SUFFIXES = (".ply", ".obj", ".glb", ".gltf")
EXPORT_HINT = "export it as PLY, OBJ or GLB with colours"
GREY = (160, 160, 160)  # of a part without a colour, where others have one
LONGEST_TEXTURE_PX = 4096
FARTHEST = 1e12  # units; a coordinate beyond is damage, and sums of its squares overflow
NOT_READ = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_texture_basisu")  # extensions of glTF
MAX_GB = 4.0  # of a file: it is read whole, and what it holds takes several times as much memory


@dataclass(frozen=True)
class UserScan:
    surface: Surface  # in the file's units and axes, its points in the file's order
    mesh: TriangleMesh | None  # the same with its textures, relative to ``middle``, to be drawn; None for a cloud
    middle: np.ndarray  # (3,) float64: single precision would not do for coordinates far from the origin
    suffix: str


@dataclass(frozen=True)
class _Part:
    points: np.ndarray  # (N, 3) float64
    faces: np.ndarray  # (F, 3) int64
    color: np.ndarray | None  # (N, 3) uint8
    uv: np.ndarray | None = None  # (N, 2)
    texture: np.ndarray | None = None  # (h, w, 3) uint8


def read_user_scan(path: Path) -> UserScan:
    """Raises ``UserError`` for a file that is not there, none of the formats, damaged, empty or without colours."""
    parts = [part for part in map(_part, _geometries(path)) if len(part.points)]
    if not parts:
        raise UserError(f"{path} has no points; expected a mesh or a point cloud: {EXPORT_HINT}")
    if all(part.color is None for part in parts):
        raise UserError(
            f"{path} has no colours; expected a colour at each vertex or point, or a texture, for the networks see "
            f"colour as well as shape: {EXPORT_HINT}"
        )
    surface = _joined(parts, path)
    if path.suffix.lower() == ".obj" and not surface.is_cloud:
        surface = _in_order_of(_obj_vertices(path), surface, path)
    middle = np.nanmedian(np.where(np.isfinite(surface.points), surface.points, np.nan), axis=0)
    mesh = None if surface.is_cloud else join_meshes([_triangles(part, middle) for part in parts if len(part.faces)])
    return UserScan(surface, mesh, middle, path.suffix.lower())


def _geometries(path: Path) -> list[Any]:
    suffix = path.suffix.lower()
    if not path.is_file():
        raise UserError(f"{path} is not there; expected a scan: a PLY, OBJ or GLB file, or a folder of RGB-D frames")
    if suffix not in SUFFIXES:
        raise UserError(f"{path} is not one of {', '.join(SUFFIXES)}: {EXPORT_HINT}")
    gb = path.stat().st_size / 1e9
    if gb > MAX_GB:
        raise UserError(f"{path} is {gb:.1f} GB; expected at most {MAX_GB:g} GB: simplify it, or cut it into parts")
    logging.getLogger("trimesh").setLevel(logging.CRITICAL)  # what it says is said below
    try:
        content = path.read_bytes()
        if not content:
            return []
        if suffix in (".glb", ".gltf"):
            _check_gltf(content, suffix)
        if suffix == ".obj":
            content = _colours_to_one(content)
        # A file's points must stay as they are: none merged, none dropped, none sorted.
        # From memory: a length in a damaged file cannot make the reader ask for more than the file has.
        options: dict[str, Any] = {"process": False, "maintain_order": True, "resolver": FilePathResolver(str(path))}
        return trimesh.load_scene(io.BytesIO(content), suffix[1:], **options).dump(concatenate=False)
    except Exception as error:  # a parser of a dozen formats fails in every way
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise UserError(f"{path} cannot be read as {suffix[1:].upper()} ({reason}): {EXPORT_HINT}") from None


def _check_gltf(content: bytes, suffix: str) -> None:
    """Raises ``ValueError`` for what the reader cannot decode, and for values that no file holds.

    It makes zeros of those that have no buffer.
    """
    size = int.from_bytes(content[12:16], "little")
    described = json.loads(content[20 : 20 + size] if suffix == ".glb" else content)
    needed = sorted(set(described.get("extensionsRequired", ())).intersection(NOT_READ))
    if needed:
        raise ValueError(f"it is compressed by {needed[0]}: save it without compression")
    for accessor in described.get("accessors", ()):
        if "bufferView" not in accessor and accessor["count"] > len(content):
            raise ValueError(f"{accessor['count']} values in no buffer, in a file of {len(content)} bytes")


def _colours_to_one(content: bytes) -> bytes:
    """An OBJ file whose colours go to 255, as some programs write them; the reader takes what is above 1 for white."""
    vertex = re.compile(rb"^v[ \t]+(\S+)[ \t]+(\S+)[ \t]+(\S+)[ \t]+(\S+)[ \t]+(\S+)[ \t]+(\S+)", re.MULTILINE)
    if not any(float(value) > 1 for found in vertex.finditer(content) for value in found.groups()[3:]):
        return content

    def scaled(found: re.Match[bytes]) -> bytes:
        fields = found.groups()
        return b" ".join([b"v", *fields[:3], *(b"%.6f" % (float(value) / 255) for value in fields[3:])])

    return vertex.sub(scaled, content)


def _part(geometry: Any) -> _Part:
    points = _places(np.asarray(getattr(geometry, "vertices", np.zeros((0, 3))), np.float64).reshape(-1, 3))
    faces = np.asarray(getattr(geometry, "faces", ()), np.int64).reshape(-1, 3)
    visual: Any = getattr(geometry, "visual", None)
    if visual is None or visual.kind is None:
        return _Part(points, faces, None)
    if visual.kind != "texture":
        color = np.asarray(visual.vertex_colors, np.uint8)
        return _Part(points, faces, color[:, :3].copy() if color.shape == (len(points), 4) else None)
    return _textured(points, faces, visual)


def _places(points: np.ndarray) -> np.ndarray:
    return np.where(np.abs(points) < FARTHEST, points, np.nan)


def _textured(points: np.ndarray, faces: np.ndarray, visual: Any) -> _Part:
    material = visual.material
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if image is None or visual.uv is None or len(visual.uv) != len(points):
        plain = getattr(material, "baseColorFactor", None)
        plain = getattr(material, "diffuse", None) if plain is None else plain
        color = None if plain is None else np.tile(np.asarray(material.main_color, np.uint8)[:3], (len(points), 1))
        return _Part(points, faces, color)
    image = image.convert("RGB")
    image.thumbnail((LONGEST_TEXTURE_PX, LONGEST_TEXTURE_PX), Image.Resampling.BOX)
    texture = np.asarray(image)
    uv = np.nan_to_num(np.asarray(visual.uv, np.float64))
    return _Part(points, faces, _looked_up(texture, uv), uv, texture)


def _looked_up(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:  # (N, 3) uint8
    height, width = texture.shape[:2]
    column = ((uv[:, 0] % 1) * width).astype(int) % width
    row = ((1 - uv[:, 1] % 1) * height).astype(int) % height
    return texture[row, column]


def _joined(parts: Sequence[_Part], path: Path) -> Surface:
    first = np.cumsum([0, *(len(part.points) for part in parts)])
    points = np.concatenate([part.points for part in parts])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, first, strict=False)])
    if len(faces) and not 0 <= faces.min() <= faces.max() < len(points):
        raise UserError(f"{path} has faces of points that are not there: it is damaged; {EXPORT_HINT}")
    finite = np.isfinite(points).all(axis=1)
    if not finite.any():
        raise UserError(f"{path} has no finite points: it is damaged; {EXPORT_HINT}")
    color = np.concatenate([_plain(part) if part.color is None else part.color for part in parts])
    return Surface(points, faces[finite[faces].all(axis=1)].astype(np.int32), color)


def _plain(part: _Part) -> np.ndarray:
    return np.tile(np.array(GREY, np.uint8), (len(part.points), 1))


def _triangles(part: _Part, middle: np.ndarray) -> TriangleMesh:
    faces = part.faces[np.isfinite(part.points).all(axis=1)[part.faces].all(axis=1)]
    n = len(faces)
    color = _plain(part) if part.color is None else part.color
    textured = part.texture is not None and part.uv is not None
    return TriangleMesh(
        vertices=np.nan_to_num(part.points - middle, posinf=0, neginf=0).astype(np.float32),
        faces=faces.astype(np.int32),
        face_label=np.zeros(n, np.uint8),
        face_color=np.rint(color[faces].mean(axis=1)).astype(np.uint8).reshape(n, 3),
        face_texture=np.full(n, 0 if textured else -1, np.int32),
        uv=(part.uv[faces] if part.uv is not None and textured else np.zeros((n, 3, 2))).astype(np.float32),
        textures=(part.texture,) if part.texture is not None and textured else (),
    )


def _obj_vertices(path: Path) -> np.ndarray:  # (N, 3) float64
    with path.open("rb") as file:
        lines = [line[2:] for line in file if line[:2] in (b"v ", b"v\t")]
    return _places(np.loadtxt(lines, np.float64, usecols=(0, 1, 2), ndmin=2))


def _in_order_of(points: np.ndarray, surface: Surface, path: Path) -> Surface:
    """The surface on the points of the file: a reader splits those that have several texture coordinates."""
    if points.shape == surface.points.shape and np.allclose(points, surface.points, equal_nan=True):
        return surface
    if not (np.isfinite(points).all() and np.isfinite(surface.points).all()):
        raise UserError(
            f"{path} has points that are no numbers beside points with several texture coordinates: {EXPORT_HINT}"
        )
    place = cKDTree(points).query(surface.points)[1]
    like = cKDTree(surface.points).query(points)[1]
    return Surface(points, place[surface.faces].astype(np.int32), surface.color[like])
