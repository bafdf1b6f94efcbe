from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roomseg.errors import UserError
from roomseg.geometry.mesh import TriangleMesh
from roomseg.scenes import sh3f
from roomseg.scenes.sh3f import load_model, parse_properties, read_catalogue
from tests.scenes.libraries import BLOCK_MTL, BLOCK_OBJ, catalogue, item, png, write_library

MODEL = "/lib/block/block.obj"
BLOCK = {"lib/block/block.obj": "mtllib block.mtl\n" + BLOCK_OBJ, "lib/block/block.mtl": BLOCK_MTL}


def block(tmp_path: Path, members: dict[str, str | bytes] | None = None, **more: str) -> TriangleMesh:
    """The one model of a library, 100 cm wide, 50 cm deep and 80 cm high."""
    path = write_library(
        tmp_path / "a.sh3f", catalogue([item(MODEL, 100, 50, 80, **more)]), {**BLOCK, **(members or {})}
    )
    return load_model(path, read_catalogue(path).entries[0], 3)


def test_properties_escapes_separators_comments_and_continued_lines() -> None:
    data = (
        b"# comment\n! comment\n  a = 1\nb:2\nc 3\nd=x=y:z\nempty=\nalone\nkey\\ with\\=signs=v\n"
        b"name#1=H\\u00f4i An caf\xe9\nlong=one \\\n    two\ntab=a\\tb\\\\\r\nlast=1"
    )
    assert parse_properties(data) == {
        "a": "1",
        "b": "2",
        "c": "3",
        "d": "x=y:z",
        "empty": "",
        "alone": "",
        "key with=signs": "v",
        "name#1": "Hôi An café",
        "long": "one two",
        "tab": "a\tb\\",
        "last": "1",
    }


def test_catalogue(tmp_path: Path) -> None:
    items = [
        item(MODEL, 100, 50, 80, elevation="145", creator="Ren\\u00e9", modelRotation="1 0 0 0 0 -1 0 1 0"),
        item("/lib/other/other.dae", 1, 1, 1),
        item("/lib/bare/bare.OBJ", 10, 20.5, 30),
    ]
    properties = catalogue(items, name="My library", license="CC0", provider="me")
    read = read_catalogue(write_library(tmp_path / "a.sh3f", properties, {}))
    assert (read.name, read.licence, read.provider) == ("My library", "CC0", "me")
    first, second = read.entries
    assert (first.key, first.model, first.creator) == ("lib/block", "lib/block/block.obj", "René")
    assert first.size_m == pytest.approx((1, 0.5, 0.8))
    assert first.elevation_m == pytest.approx(1.45)
    assert first.rotation == (1, 0, 0, 0, 0, -1, 0, 1, 0)
    assert (second.key, second.elevation_m, second.rotation, second.creator) == ("lib/bare", 0, None, "")


def test_size_rule_and_house_frame(tmp_path: Path) -> None:
    mesh = block(tmp_path, elevation="145")
    np.testing.assert_allclose(mesh.bounds, [[-0.5, -0.25, 0], [0.5, 0.25, 0.8]], atol=1e-6)
    assert set(mesh.face_label) == {3}
    front = mesh.vertices[mesh.faces[-2:]]  # the model's +Z face
    np.testing.assert_allclose(front[..., 1], -0.25, atol=1e-6)
    assert mesh.face_color[-1].tolist() == [0, 255, 0]
    a, b, c = front[0]
    assert np.cross(b - a, c - a)[1] < 0


def test_left_and_right_are_kept(tmp_path: Path) -> None:
    mesh = block(tmp_path)
    right = mesh.vertices[mesh.faces[8:10]]  # the model's x = 2 face
    np.testing.assert_allclose(right[..., 0], 0.5, atol=1e-6)


def test_rotation_is_row_major_and_comes_before_the_scaling(tmp_path: Path) -> None:
    # v' = R v turns +Z (the green front) to +Y (up): (x, y, z) -> (x, z, -y).
    mesh = block(tmp_path, modelRotation="1 0 0 0 0 1 0 -1 0")
    np.testing.assert_allclose(mesh.bounds, [[-0.5, -0.25, 0], [0.5, 0.25, 0.8]], atol=1e-6)
    np.testing.assert_allclose(mesh.vertices[mesh.faces[-2:]][..., 2], 0.8, atol=1e-6)
    low = mesh.vertices[mesh.faces[4:6]]  # the model's y = 4 face; after R at z = -4: the back
    np.testing.assert_allclose(low[..., 1], 0.25, atol=1e-6)


def test_flat_model_stays_flat_and_finite(tmp_path: Path) -> None:
    rug = "v 0 5 0\nv 2 5 0\nv 2 5 6\nv 0 5 6\nf 4 3 2 1\n"
    mesh = block(tmp_path, {"lib/block/block.obj": rug})
    np.testing.assert_allclose(mesh.bounds, [[-0.5, -0.25, 0], [0.5, 0.25, 0]], atol=1e-6)


def test_missing_mtllib_falls_back_to_the_stem(tmp_path: Path) -> None:
    mesh = block(tmp_path, {"lib/block/block.obj": "mtllib gone.mtl\n" + BLOCK_OBJ})
    assert mesh.face_color[0].tolist() == [255, 0, 0]


def test_textures_are_found_beside_the_model_only_inside_the_archive(tmp_path: Path) -> None:
    outside = tmp_path / "secret.png"
    outside.write_bytes(png(np.full((2, 2, 3), 9, np.uint8)))
    mtl = (
        f"newmtl body\nKd 1 0 0\nmap_Kd {outside}\n"
        "newmtl front\nKd 0 1 0\nmap_Kd ../shared/my cloth.png\n"
        "newmtl up\nmap_Kd ../../../secret.png\n"
    )
    image = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    members: dict[str, str | bytes] = {"lib/block/block.mtl": mtl, "lib/shared/my cloth.png": png(image)}
    mesh = block(tmp_path, members)
    assert mesh.face_texture.tolist() == [-1] * 10 + [0, 0]
    np.testing.assert_array_equal(mesh.textures[0], image)


def test_members_that_climb_out_are_never_written(tmp_path: Path) -> None:
    inside = tmp_path / "deep" / "folder"
    inside.mkdir(parents=True)
    block(inside, {"../../evil.txt": "x", "/etc/evil.txt": "x"})
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.sh3f", "deep", "folder"]


def test_cut_archive_names_the_file_and_the_remedy(tmp_path: Path) -> None:
    path = write_library(tmp_path / "a.sh3f", catalogue([item(MODEL, 1, 1, 1)]), BLOCK)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"a\.sh3f.*delete it and run `make furniture`"):
        read_catalogue(path)


def test_damaged_member_names_the_file_and_the_remedy(tmp_path: Path) -> None:
    path = write_library(tmp_path / "a.sh3f", catalogue([item(MODEL, 1, 1, 1)]), BLOCK)
    entry = read_catalogue(path).entries[0]
    data = bytearray(path.read_bytes())
    at = data.index(b"lib/block/block.obj") + len("lib/block/block.obj") + 8
    data[at : at + 8] = bytes(8)
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"a\.sh3f.*make furniture"):
        load_model(path, entry, 3)


@pytest.mark.parametrize(
    ("members", "reason"),
    [({}, "has no lib/block/block.obj"), ({"lib/block/block.obj": "v 0 0 0\nf 1 2 3\n"}, "block.obj: a face names")],
)
def test_unusable_model_names_archive_and_member(tmp_path: Path, members: dict[str, str], reason: str) -> None:
    path = write_library(tmp_path / "a.sh3f", catalogue([item(MODEL, 1, 1, 1)]), members)
    with pytest.raises(UserError, match=rf"a\.sh3f.*{reason}"):
        load_model(path, read_catalogue(path).entries[0], 3)


def test_members_over_the_limit_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_library(tmp_path / "a.sh3f", catalogue([item(MODEL, 1, 1, 1)]), {"lib/block/block.obj": b" " * 5000})
    entry = read_catalogue(path).entries[0]
    monkeypatch.setattr(sh3f, "MAX_MEMBER_BYTES", 4999)
    with pytest.raises(UserError, match="5000 bytes"):
        load_model(path, entry, 3)


@pytest.mark.parametrize("more", [{"width": "wide"}, {"depth": "nan"}, {"height": "-3"}, {"modelRotation": "1 2 3"}])
def test_unusable_sizes_are_told(tmp_path: Path, more: dict[str, str]) -> None:
    path = write_library(tmp_path / "a.sh3f", catalogue([{**item(MODEL, 1, 1, 1), **more}]), BLOCK)
    with pytest.raises(UserError, match=r"a\.sh3f"):
        read_catalogue(path)
