"""Wavefront OBJ and MTL: polygons, materials and textures into one triangle mesh, in the file's own units and axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image

from roomseg.errors import UserError
from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes.polygons import triangulated

INVISIBLE_ALPHA = 0.1  # faces of materials below it are dropped, all others are opaque
TEXTURE_PX = 256  # longest side that a texture is kept at
MAX_TEXTURE_PIXELS = 64_000_000
DEFAULT_COLOR = (200, 200, 200)

# Options of map_* lines and how many values follow each.
_MAP_OPTIONS = {
    b"-blendu": 1,
    b"-blendv": 1,
    b"-boost": 1,
    b"-bm": 1,
    b"-cc": 1,
    b"-clamp": 1,
    b"-imfchan": 1,
    b"-mm": 2,
    b"-texres": 1,
    b"-type": 1,
}
_MAP_VECTOR_OPTIONS = (b"-o", b"-s", b"-t")  # one to three numbers


@dataclass(frozen=True)
class Material:
    color: tuple[int, int, int] = DEFAULT_COLOR  # Kd, taken as sRGB
    alpha: float = 1.0
    texture: str | None = None  # the name that map_Kd gives


TextureLoader = Callable[[str], np.ndarray | None]  # name -> (h, w, 3) uint8, or None where there is no such image


def parse_mtl(data: bytes) -> dict[str, Material]:
    """Materials by name; what cannot be read is skipped, as every OBJ reader does."""
    fields: dict[str, dict[str, bytes]] = {}
    current: dict[str, bytes] = {}
    for line in data.splitlines():
        key, _, value = line.strip().partition(b" ")
        if key == b"newmtl":
            current = fields.setdefault(_text(value), {})
        else:
            current[_text(key)] = value.strip()
    return {name: _material(values) for name, values in fields.items()}


def _material(values: Mapping[str, bytes]) -> Material:
    color = _floats(values.get("Kd", b""))
    alpha = _floats(values.get("d", b"").removeprefix(b"-halo"))
    clear = _floats(values.get("Tr", b""))
    rgb = np.clip(np.round(np.array(color) * 255), 0, 255).astype(int) if len(color) == 3 else DEFAULT_COLOR
    return Material(
        color=(int(rgb[0]), int(rgb[1]), int(rgb[2])),
        alpha=alpha[0] if alpha else 1 - clear[0] if clear else 1.0,
        texture=_map_name(values["map_Kd"]) if values.get("map_Kd") else None,
    )


def _map_name(value: bytes) -> str | None:
    """The file of a ``map_Kd`` line after its options; names may hold spaces."""
    words = value.split(b" ")
    while words and (words[0] in _MAP_OPTIONS or words[0] in _MAP_VECTOR_OPTIONS or not words[0]):
        option = words.pop(0)
        if option in _MAP_OPTIONS:
            del words[: _MAP_OPTIONS[option]]
        elif option:
            for _ in range(3):
                if words and _floats(words[0]):
                    words.pop(0)
    return _text(b" ".join(words)).replace("\\", "/") or None


def decode_texture(
    data: bytes, longest_px: int = TEXTURE_PX, all_clear: bool = False
) -> np.ndarray | None:  # (h, w, 3) uint8
    """An image scaled down to ``longest_px``; clear parts get the mean colour of the rest.

    None if it is no image, has no pixels, or is clear everywhere. With ``all_clear`` such a one is as if it were
    opaque, but None if it is black too.
    """
    try:
        image: Image.Image = Image.open(BytesIO(data))
        if image.width * image.height > MAX_TEXTURE_PIXELS:
            return None
        if all_clear and not image.convert("RGBA").getchannel("A").getbbox():
            image = image.convert("RGB")  # before it is scaled, which drops the colours of clear pixels
            if not image.getbbox():
                return None
        image.thumbnail((longest_px, longest_px))
        if "A" not in image.getbands() and "transparency" not in image.info:
            return np.asarray(image.convert("RGB"))
        rgba = np.asarray(image.convert("RGBA"), np.float32)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    if not rgba[..., 3].any():
        return None
    weight = rgba[..., 3:] / 255
    mean = (rgba[..., :3] * weight).sum((0, 1)) / max(float(weight.sum()), 1e-6)
    return np.round(rgba[..., :3] * weight + mean * (1 - weight)).astype(np.uint8)


@dataclass(frozen=True)
class _Records:
    """The lines of an OBJ file by what they are."""

    vertices: list[bytes]
    uvs: list[bytes]
    polygons: list[bytes]  # what follows "f", for those of three corners or more
    corners: np.ndarray  # (P,) int64, of each polygon
    material: np.ndarray  # (P,) int64, index into names
    vertices_before: np.ndarray  # (P,) int64: what a negative index counts back from
    uvs_before: np.ndarray  # (P,) int64
    names: list[str]


def mtllib_names(data: bytes) -> list[str]:
    return [_text(line[7:]) for line in data.splitlines() if line.startswith(b"mtllib ")]


def parse_obj(data: bytes, materials: Mapping[str, Material], load_texture: TextureLoader) -> TriangleMesh:
    """The visible triangles of an OBJ file; its axes and units are kept, labels are 0.

    Polygons become triangles, lines and two-cornered faces are dropped, vertices that no polygon uses too. Vertices of
    invisible faces are kept, so that the bounds are those of the whole model. Raises ``UserError`` without a file name.
    """
    records = _read_records(data.replace(b"\\\r\n", b" ").replace(b"\\\n", b" "))
    if not len(records.corners):
        raise UserError("it has no polygons")
    vertices = _number_rows(records.vertices, 3, "vertex")
    uvs = _number_rows(records.uvs, 2, "texture coordinate", may_lack=1)
    vertex, uv = _corner_indices(records)
    vertex = _resolved(vertex, records.vertices_before, records.corners, len(vertices), "vertex")
    uv = _resolved(uv, records.uvs_before, records.corners, len(uvs), "texture coordinate", may_lack=True)
    corners, polygon = triangulated(records.corners, vertices[vertex])  # (F, 3) into the flat corner list
    used, vertex = np.unique(vertex, return_inverse=True)
    uv_rows = np.concatenate([uvs, np.zeros((1, 2))])  # -1, lacking: the row of zeros
    return _painted(
        vertices[used].astype(np.float32),
        vertex[corners].astype(np.int32),
        uv_rows[uv[corners]].astype(np.float32),
        [materials.get(name, Material()) for name in records.names],
        records.material[polygon],
        load_texture,
    )


def _read_records(data: bytes) -> _Records:
    vertices: list[bytes] = []
    uvs: list[bytes] = []
    polygons: list[bytes] = []
    counts: list[tuple[int, int, int, int]] = []
    names: dict[str, int] = {"": 0}
    material = 0
    for line in data.splitlines():
        start = line[:2]
        if start in (b"v ", b"v\t"):
            vertices.append(line[2:])
        elif start == b"vt":
            uvs.append(line[2:])
        elif start in (b"f ", b"f\t"):
            n_corners = len(line.split()) - 1
            if n_corners >= 3:
                polygons.append(line[2:])
                counts.append((n_corners, material, len(vertices), len(uvs)))
        elif line.startswith(b"usemtl"):
            material = names.setdefault(_text(line[6:]), len(names))
    columns = np.array(counts, np.int64).reshape(-1, 4).T
    return _Records(vertices, uvs, polygons, columns[0], columns[1], columns[2], columns[3], list(names))


def _number_rows(lines: list[bytes], width: int, what: str, may_lack: int = 0) -> np.ndarray:  # (N, width) float64
    """The first ``width`` numbers of each line, the last ``may_lack`` of them 0 where they are not written."""
    lengths = {len(line.split()) for line in lines}
    try:
        if len(lengths) == 1 and min(lengths) >= width:  # as good as always: all at once
            words = b" ".join(lines).split()
            rows = np.fromiter(map(float, words), np.float64, len(words)).reshape(len(lines), -1)[:, :width]
        else:
            padded = [[*line.split(), *[b"0"] * may_lack][:width] for line in lines]
            if any(len(row) < width for row in padded):
                raise ValueError
            rows = np.array([[float(word) for word in row] for row in padded], np.float64).reshape(-1, width)
    except ValueError:
        raise UserError(f"a {what} line is not {width} numbers") from None
    if not np.isfinite(rows).all():
        raise UserError(f"a {what} is not finite")
    return rows


def _corner_indices(records: _Records) -> tuple[np.ndarray, np.ndarray]:  # each (C,) int64, 0 = lacking
    """The v and vt numbers of every polygon's corner, as they are written."""
    text = b" ".join(records.polygons)
    corners = text.split()
    n = len(corners)
    slashes = {corner.count(b"/") for corner in corners}
    try:
        if len(slashes) == 1:  # all corners of one form, as good as always: all at once
            words = text.replace(b"//", b"/0/").replace(b"/", b" ").split()
            if len(words) == n * (slashes.pop() + 1):
                table = np.fromiter(map(int, words), np.int64, len(words)).reshape(n, -1)
                return table[:, 0], table[:, 1] if table.shape[1] > 1 else np.zeros(n, np.int64)
        pairs = [[*corner.split(b"/"), b""][:2] for corner in corners]
        return np.array([int(v) for v, _ in pairs]), np.array([int(t or 0) for _, t in pairs])
    except (ValueError, OverflowError):
        raise UserError("a face has an index that is no number") from None


def _resolved(
    index: np.ndarray,  # (C,), 1-based or negative
    before: np.ndarray,  # (P,)
    corners: np.ndarray,  # (P,)
    count: int,
    what: str,
    may_lack: bool = False,
) -> np.ndarray:  # (C,), 0-based, -1 = lacking
    resolved = index - 1
    if (index < 0).any():
        resolved = np.where(index < 0, np.repeat(before, corners) + index, resolved)
    lacking = index == 0
    if (resolved >= count).any() or (resolved[~lacking] < 0).any() or (lacking.any() and not may_lack):
        raise UserError(f"a face names a {what} that the file does not have")
    return resolved


def _painted(
    vertices: np.ndarray,  # (V, 3)
    faces: np.ndarray,  # (F, 3)
    uv: np.ndarray,  # (F, 3, 2)
    materials: list[Material],
    material: np.ndarray,  # (F,)
    load_texture: TextureLoader,
) -> TriangleMesh:
    visible = np.array([m.alpha >= INVISIBLE_ALPHA for m in materials])[material]
    faces, uv, material = faces[visible], uv[visible], material[visible]
    if not len(faces):
        raise UserError("it has no visible polygons")
    textures: dict[str, np.ndarray | None] = {}
    for i in np.unique(material):
        name = materials[i].texture
        if name is not None and name not in textures:
            textures[name] = load_texture(name)
    images = {name: image for name, image in textures.items() if image is not None}
    place = {name: i for i, name in enumerate(images)}
    texture_of = np.array([place.get(m.texture or "", -1) for m in materials], np.int32)
    return TriangleMesh(
        vertices=vertices,
        faces=faces,
        face_label=np.zeros(len(faces), np.uint8),
        face_color=np.array([m.color for m in materials], np.uint8)[material],
        face_texture=texture_of[material],
        uv=uv,
        textures=tuple(images.values()),
    )


def _text(value: bytes) -> str:
    return value.strip().decode("utf-8", errors="replace")


def _floats(value: bytes) -> list[float]:
    """Of its words; none where one is no finite number."""
    try:
        numbers = [float(word) for word in value.split()]
    except ValueError:
        return []
    return numbers if all(map(math.isfinite, numbers)) else []
