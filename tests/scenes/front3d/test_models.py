from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from roomseg.errors import UserError
from roomseg.scenes.front3d import library
from roomseg.scenes.front3d.library import open_library
from roomseg.scenes.front3d.models import ModelStore
from tests.scenes.front3d.houses import SIZES, box_obj, jid, texture_png, write_front3d, write_model
from tests.scenes.libraries import png

BOX = box_obj(1, 2, 3)


def png_of_no_pixels() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 0, 0, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def store_with(root: Path, obj: str, texture: bytes) -> ModelStore:
    write_front3d(root, 1)
    write_model(root, "odd", obj, texture)
    return ModelStore(open_library(root))


def test_a_model_wears_its_one_texture(tmp_path: Path) -> None:
    mesh = store_with(tmp_path, "usemtl unknown\n" + BOX, texture_png((200, 100, 50))).mesh("odd")
    np.testing.assert_allclose(mesh.bounds, [[-0.5, 0, -1.5], [0.5, 2, 1.5]])
    assert len(mesh) == 12
    assert mesh.face_texture.tolist() == [0] * 12
    assert mesh.textures[0].shape == (8, 8, 3)
    assert mesh.textures[0][[0, 7], 0].tolist() == [[100, 50, 25], [200, 100, 50]]  # row 0 is the top
    front = (mesh.vertices[mesh.faces][..., 2] == 1.5).all(axis=1)
    np.testing.assert_array_equal(mesh.uv[front], [[[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 1], [0, 1]]])


def test_a_model_is_read_once(tmp_path: Path) -> None:
    store = store_with(tmp_path, BOX, texture_png((1, 2, 3)))
    assert store.mesh("odd") is store.mesh("odd")


@pytest.mark.parametrize(
    ("obj", "reason"),
    [
        ("v 0 0 0\nv 1 0 0\nv 1 1 0\n", "no polygons"),
        (BOX.replace("v  -0.5 0 ", "v  nan 0 "), "not finite"),
        (BOX.replace("f 4/1", "f 99/1"), "does not have"),
        (box_obj(1, 40, 1), "40 m long; expected 0.01 to 10 m"),
        (box_obj(1e-4, 1e-4, 1e-4), "0.0001 m long; expected 0.01 to 10 m"),
    ],
)
def test_a_broken_model_is_told(tmp_path: Path, obj: str, reason: str) -> None:
    store = store_with(tmp_path, obj, texture_png((1, 2, 3)))
    with pytest.raises(UserError, match=f"broken model: .*odd/raw_model.obj.*{reason}"):
        store.mesh("odd")


def test_a_model_all_of_glass_keeps_its_colours(tmp_path: Path) -> None:
    glass = np.full((1024, 1024, 4), (40, 50, 60, 0), np.uint8)
    (texture,) = store_with(tmp_path, BOX, png(glass)).mesh("odd").textures
    assert texture.shape == (512, 512, 3)
    assert (texture == (40, 50, 60)).all()


@pytest.mark.parametrize(
    "texture",
    [b"", b"no picture", png_of_no_pixels(), png(np.zeros((4, 4, 4), np.uint8))],
    ids=["empty", "text", "no pixels", "clear"],
)
def test_a_dead_texture_is_told(tmp_path: Path, texture: bytes) -> None:
    store = store_with(tmp_path, BOX, texture)
    with pytest.raises(UserError, match=f"dead texture: .*odd/texture.png .{len(texture)} bytes"):
        store.mesh("odd")


def test_a_texture_that_is_not_there_is_told(tmp_path: Path) -> None:
    store = store_with(tmp_path, BOX, b"")
    (tmp_path / "3D-FUTURE-model/odd/texture.png").unlink()
    with pytest.raises(UserError, match=r"odd/texture.png cannot be read .No such file"):
        store.mesh("odd")


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_with(tmp_path, BOX + "\n#" + "x" * 2**20, texture_png((1, 2, 3)))
    monkeypatch.setattr(library, "MAX_FILE_BYTES", 2**20)
    with pytest.raises(UserError, match=r"odd/raw_model.obj has \d+ bytes; expected at most 1 MiB"):
        store.mesh("odd")


@pytest.mark.parametrize("name", ["../3D-FUTURE-model/" + jid("bed"), "..", "a/b", "", ".", "/etc", "a\\b", "a\0b"])
def test_a_hostile_name_is_refused(tmp_path: Path, name: str) -> None:
    store = store_with(tmp_path, BOX, texture_png((1, 2, 3)))
    with pytest.raises(UserError, match="is no plain name"):
        store.mesh(name)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    store = store_with(tmp_path / "data", BOX, texture_png((1, 2, 3)))
    secret = tmp_path / "secret.obj"
    secret.write_text(BOX)
    path = tmp_path / "data/3D-FUTURE-model/odd/raw_model.obj"
    path.unlink()
    path.symlink_to(secret)
    with pytest.raises(UserError, match=r"odd/raw_model.obj leads to .*secret.obj, outside its folder"):
        store.mesh("odd")


@pytest.mark.parametrize(
    "places", [["3D-FUTURE-model/3D-FUTURE-model"], ["3D-FUTURE-model-part1", "3D-FUTURE-model-part2"]]
)
def test_archives_unpacked_in_other_ways_are_found(tmp_path: Path, places: list[str]) -> None:
    write_front3d(tmp_path / "made", 2)
    for number, name in enumerate(SIZES):
        target = tmp_path / "root" / places[number % len(places)] / jid(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "made/3D-FUTURE-model" / jid(name)).rename(target)
    (tmp_path / "root/3D-FRONT").mkdir()
    (tmp_path / "made/3D-FRONT").rename(tmp_path / "root/3D-FRONT/3D-FRONT")
    (tmp_path / "root/3D-FRONT/3D-FRONT/._hidden.json").write_text("")
    found = open_library(tmp_path / "root")
    assert sorted(found.models) == sorted(jid(name) for name in SIZES)
    assert len(found.houses) == 2
    assert len(ModelStore(found).mesh(jid("table"))) == 12


def test_another_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere is not a folder; expected a folder with 3D-FRONT"):
        open_library(tmp_path / "nowhere")
    with pytest.raises(UserError, match="has 0 houses and 0 models; expected a folder with 3D-FRONT"):
        open_library(tmp_path)
