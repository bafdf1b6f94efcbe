from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from roomseg.errors import UserError
from roomseg.scenes.user_scan.read import read_user_scan

SQUARE = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], float)
FACES = np.array([[0, 1, 2], [0, 2, 3]])
RGB = np.array([[250, 10, 20], [30, 240, 40], [50, 60, 230], [9, 8, 7]], np.uint8)


@pytest.mark.parametrize("suffix", ["ply", "obj", "glb"])
def test_a_mesh_keeps_points_order_faces_and_colours(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"scan.{suffix}"
    trimesh.Trimesh(SQUARE, FACES, vertex_colors=RGB, process=False).export(path)
    scan = read_user_scan(path)
    np.testing.assert_allclose(scan.surface.points, SQUARE)
    np.testing.assert_array_equal(scan.surface.faces, FACES)
    np.testing.assert_array_equal(scan.surface.color, RGB)
    assert scan.mesh is not None
    np.testing.assert_allclose(scan.mesh.vertices + scan.middle, SQUARE)
    np.testing.assert_array_equal(scan.mesh.face_color[0], np.rint(RGB[:3].mean(axis=0)))


@pytest.mark.parametrize("suffix", ["ply", "glb"])
def test_a_cloud_has_no_faces(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"scan.{suffix}"
    trimesh.PointCloud(SQUARE, colors=RGB).export(path)
    scan = read_user_scan(path)
    assert scan.surface.is_cloud
    assert scan.mesh is None
    np.testing.assert_allclose(scan.surface.points, SQUARE)
    np.testing.assert_array_equal(scan.surface.color, RGB)


def test_colours_of_a_texture(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]], np.uint8))
    uv = np.array([[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]])
    visual = trimesh.visual.TextureVisuals(uv=uv, image=image)
    trimesh.Trimesh(SQUARE, FACES, visual=visual, process=False).export(tmp_path / "scan.glb")
    scan = read_user_scan(tmp_path / "scan.glb")
    np.testing.assert_array_equal(scan.surface.color, [[0, 0, 255], [9, 9, 9], [0, 255, 0], [255, 0, 0]])
    assert scan.mesh is not None
    assert scan.mesh.textures[0].shape == (2, 2, 3)
    np.testing.assert_allclose(scan.mesh.uv[0], uv[[0, 1, 2]])


def test_an_obj_whose_corners_are_split_keeps_the_points_of_the_file(tmp_path: Path) -> None:
    Image.new("RGB", (2, 2), (10, 200, 30)).save(tmp_path / "t.png")
    (tmp_path / "m.mtl").write_text("newmtl a\nmap_Kd t.png\n")
    lines = [f"v {x} {y} {z}" for x, y, z in SQUARE] + ["v 5 5 5", "vt 0 0", "vt 1 0", "vt 0.5 1"]
    lines += ["usemtl a", "f 1/1 2/2 3/3", "f 1/3 3/1 4/2"]
    (tmp_path / "scan.obj").write_text("mtllib m.mtl\n" + "\n".join(lines) + "\n")
    surface = read_user_scan(tmp_path / "scan.obj").surface
    np.testing.assert_allclose(surface.points, [*SQUARE, [5, 5, 5]])
    np.testing.assert_array_equal(surface.faces, FACES)
    np.testing.assert_array_equal(surface.color[:4], np.tile([10, 200, 30], (4, 1)))


def test_points_far_from_the_origin_stay_exact_to_be_drawn(tmp_path: Path) -> None:
    far = SQUARE + np.array([4.5e5, 5.6e6, 100])
    header = "ply\nformat ascii 1.0\nelement vertex 4\n" + "".join(f"property double {a}\n" for a in "xyz")
    header += "".join(f"property uchar {c}\n" for c in ("red", "green", "blue"))
    rows = [" ".join(map(repr, [*map(float, p), *map(int, c)])) for p, c in zip(far, RGB, strict=True)]
    faces = "element face 2\nproperty list uchar int vertex_indices\nend_header\n"
    (tmp_path / "far.ply").write_text(header + faces + "\n".join([*rows, "3 0 1 2", "3 0 2 3"]) + "\n")
    scan = read_user_scan(tmp_path / "far.ply")
    assert scan.mesh is not None
    np.testing.assert_allclose(scan.surface.points, far, atol=1e-6)
    np.testing.assert_allclose(scan.mesh.vertices.astype(float) + scan.middle, far, atol=1e-6)


def test_points_without_a_number_are_kept_and_their_faces_dropped(tmp_path: Path) -> None:
    points = SQUARE.copy()
    points[3] = np.nan
    trimesh.Trimesh(points, FACES, vertex_colors=RGB, process=False).export(tmp_path / "scan.ply")
    surface = read_user_scan(tmp_path / "scan.ply").surface
    assert len(surface.points) == 4
    np.testing.assert_array_equal(surface.faces, FACES[:1])


@pytest.mark.parametrize("faces", ["f 1 2 3\nf 1 3 4\n", ""])
def test_an_obj_whose_colours_go_to_255(faces: str, tmp_path: Path) -> None:
    rows = (" ".join(map(str, ["v", *point, *color])) for point, color in zip(SQUARE, RGB, strict=True))
    (tmp_path / "scan.obj").write_text("\n".join(rows) + "\n" + faces)
    surface = read_user_scan(tmp_path / "scan.obj").surface
    np.testing.assert_array_equal(surface.color, RGB)
    np.testing.assert_array_equal(surface.points, SQUARE)
    assert surface.is_cloud == (not faces)


@pytest.mark.parametrize("suffix", [".ply", ".obj"])
def test_coordinates_that_are_no_place_are_as_those_that_are_no_number(suffix: str, tmp_path: Path) -> None:
    points = SQUARE.astype(float)
    points[3] = 1e30
    trimesh.Trimesh(points, FACES, vertex_colors=RGB, process=False).export(tmp_path / f"scan{suffix}")
    surface = read_user_scan(tmp_path / f"scan{suffix}").surface
    np.testing.assert_array_equal(np.isnan(surface.points).all(axis=1), [False, False, False, True])
    np.testing.assert_array_equal(surface.faces, FACES[:1])


def glb(described: dict[str, Any]) -> bytes:
    text = json.dumps({"asset": {"version": "2.0"}, **described}).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text), len(text), b"JSON") + text


EMPTY_PLY = (
    b"ply\nformat ascii 1.0\nelement vertex 0\n"
    + b"".join(b"property float %c\n" % a for a in b"xyz")
    + b"end_header\n"
)
NO_COLOUR = (
    "has no colours; expected a colour at each vertex or point, or a texture, for the networks see colour as well"
)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("gone.ply", None, "is not there; expected a scan: a PLY, OBJ or GLB file, or a folder of RGB-D frames"),
        ("scan.usdz", b"x", "is not one of .ply, .obj, .glb, .gltf: export it as PLY, OBJ or GLB with colours"),
        ("scan.ply", b"hello", "cannot be read as PLY (Not a ply file!): export it as"),
        ("scan.glb", b"glTF\x02\0\0\0\x99", "cannot be read as GLB ("),
        ("scan.glb", b"", "has no points; expected a mesh or a point cloud: export it as"),
        ("scan.ply", EMPTY_PLY, "has no points; expected a mesh or a point cloud: export it as"),
        (
            "scan.glb",
            glb({"extensionsRequired": ["KHR_draco_mesh_compression"]}),
            "cannot be read as GLB (it is compressed by KHR_draco_mesh_compression: save it without compression)",
        ),
        ("scan.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", NO_COLOUR),
    ],
)  # fmt: skip
def test_a_bad_file_is_one_line_that_helps(name: str, content: bytes | None, says: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=re.escape(says)) as error:
        read_user_scan(tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_values_that_no_file_holds_take_no_memory(tmp_path: Path) -> None:
    accessor = {"componentType": 5126, "type": "VEC3", "count": 10**10, "min": [0, 0, 0], "max": [1, 1, 1]}
    mesh = {"primitives": [{"attributes": {"POSITION": 0}, "mode": 4}]}
    scene = {"scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}]}
    (tmp_path / "scan.glb").write_bytes(glb({**scene, "meshes": [mesh], "accessors": [accessor]}))
    with pytest.raises(UserError, match=r"cannot be read as GLB \(10000000000 values in no buffer"):
        read_user_scan(tmp_path / "scan.glb")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "scan.ply").open("wb") as file:
        file.truncate(4_100_000_000)  # takes no space on the disk
    with pytest.raises(UserError, match=r"scan\.ply is 4\.1 GB; expected at most 4 GB: simplify it, or cut it"):
        read_user_scan(tmp_path / "scan.ply")
