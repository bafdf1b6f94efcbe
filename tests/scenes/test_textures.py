from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from roomseg.errors import UserError
from roomseg.scenes.textures import CATALOGUE, TEXTURE_ARCHIVE, floor_textures, smooth_noise, wall_textures
from tests.scenes.libraries import png, real_libraries

PROPERTIES = """
license=GNU GPL
name#1=Wood
category#1=Floor
image#1=/res/wood.png
width#1=42.5
height#1=20
creator#1=eTeks
name#2=Bricks
category#2=Wall
image#2=/res/bricks.png
width#2=10
height#2=30
name#3=Sky
category#3=Sky
image#3=/res/sky.png
width#3=1
height#3=1
name#4=Grass
category#4=Floor
image#4=/res/grass.png
width#4=1
height#4=1
"""


def write_archive(folder: Path, properties: str = PROPERTIES, image: bytes | None = None) -> Path:
    with zipfile.ZipFile(folder / TEXTURE_ARCHIVE, "w") as archive:
        archive.writestr(CATALOGUE, properties)
        for name in ("wood", "bricks"):
            archive.writestr(f"res/{name}.png", image or png(np.full((2, 3, 3), 77, np.uint8)))
    return folder


def test_installed_textures_have_their_real_size(tmp_path: Path) -> None:
    folder = write_archive(tmp_path)
    (wood, *_), (bricks, *_) = floor_textures(folder), wall_textures(folder)
    assert (wood.name, wood.tile_m, wood.credit) == ("eteks/wood", pytest.approx((0.425, 0.2)), "eTeks, GNU GPL")
    assert (bricks.name, bricks.tile_m) == ("eteks/bricks", pytest.approx((0.1, 0.3)))
    np.testing.assert_array_equal(wood.image, np.full((2, 3, 3), 77))
    installed = [t.name for t in floor_textures(folder) + wall_textures(folder) if t.name.startswith("eteks/")]
    assert installed == ["eteks/wood", "eteks/bricks"]


def test_procedural_textures_are_always_there_and_the_same(tmp_path: Path) -> None:
    for textures in (floor_textures, wall_textures):
        first, again = textures(None), textures(tmp_path)
        assert len(first) >= 20
        assert len({t.name for t in first}) == len(first)
        for a, b in zip(first, again, strict=True):
            assert a.name == b.name
            np.testing.assert_array_equal(a.image, b.image)
            assert a.image.dtype == np.uint8
            assert a.image.shape[2] == 3
            assert max(a.image.shape) <= 256
            assert min(a.tile_m) > 0.05
        assert len({t.image.tobytes() for t in first}) == len(first)


def test_noise_is_normal_and_periodic() -> None:
    noise = smooth_noise(np.random.default_rng(0), (64, 64), 1.5)
    assert noise.mean() == pytest.approx(0, abs=1e-9)
    assert noise.std() == pytest.approx(1)
    seam = np.abs(noise[:, 0] - noise[:, -1]).mean()
    inside = np.abs(np.diff(noise, axis=1)).mean()
    assert seam < 2 * inside


def test_stretched_noise_runs_along_x() -> None:
    noise = smooth_noise(np.random.default_rng(0), (64, 64), 1.1, stretch=12)
    assert np.abs(np.diff(noise, axis=1)).mean() < 0.5 * np.abs(np.diff(noise, axis=0)).mean()


@pytest.mark.parametrize("properties", [PROPERTIES.replace("42.5", "0"), PROPERTIES.replace("width#1=42.5", "")])
def test_unusable_catalogue_is_told(tmp_path: Path, properties: str) -> None:
    with pytest.raises(UserError, match=r"sweethome3d\.jar"):
        floor_textures(write_archive(tmp_path, properties))


def test_unusable_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"wood\.png"):
        floor_textures(write_archive(tmp_path, image=b"no picture"))
    (tmp_path / TEXTURE_ARCHIVE).write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"sweethome3d\.jar.*make furniture"):
        wall_textures(tmp_path)


def test_real_textures() -> None:
    folder = real_libraries()
    if not (folder / TEXTURE_ARCHIVE).is_file():
        pytest.skip("the textures' archive is not here: run `make furniture`")
    named = [t.name for t in floor_textures(folder) + wall_textures(folder) if t.name.startswith("eteks/")]
    assert len(named) == 20  # of 26: without 3 skies, grass, box tree and paving stones
