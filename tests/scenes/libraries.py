"""Tiny ``.sh3f`` libraries for the tests, and where the real ones may lie."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# A block of 2 x 4 x 6 units (x, y up, z), one corner at the origin; its front (+Z) face is a material of its own.
BLOCK_OBJ = """
v 0 0 0
v 2 0 0
v 2 4 0
v 0 4 0
v 0 0 6
v 2 0 6
v 2 4 6
v 0 4 6
vt 0 0
vt 1 0
vt 1 1
vt 0 1
usemtl body
f 4 3 2 1
f 1 2 6 5
f 4 8 7 3
f 1 5 8 4
f 2 3 7 6
usemtl front
f 5/1 6/2 7/3 8/4
"""
BLOCK_MTL = "newmtl body\nKd 1 0 0\nnewmtl front\nKd 0 1 0\n"


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def catalogue(items: list[Mapping[str, str]], **library: str) -> str:
    lines = [f"{key}={value}" for key, value in library.items()]
    for number, item in enumerate(items, 1):
        lines += [f"{key}#{number}={value}" for key, value in item.items()]
    return "\n".join(lines)


def item(model: str, width: float, depth: float, height: float, **more: str) -> dict[str, str]:
    return {"name": "A thing", "model": model, "width": str(width), "depth": str(depth), "height": str(height), **more}


def write_library(path: Path, properties: str, members: Mapping[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("PluginFurnitureCatalog.properties", properties.encode("latin-1"))
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def real_libraries() -> Path:
    """The folder of the real libraries; skips the test where there is none."""
    named = os.environ.get("ROOMSEG_FURNITURE_DIR")
    folder = Path(named) if named else Path(__file__).parents[2] / ".furniture"
    if not list(folder.glob("*.sh3f")):
        pytest.skip("the real furniture libraries are not here: run `make furniture`")
    return folder
