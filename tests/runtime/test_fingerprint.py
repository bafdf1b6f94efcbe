from __future__ import annotations

import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from roomseg.config import EvaluateConfig, RegisterConfig, RenderConfig
from roomseg.runtime.fingerprint import code_digest, digest_of, fingerprint, imported_files, module_digest

SOURCES = {
    "__init__.py": "__version__ = '1'",
    "config.py": "A = 1",
    "errors.py": "",
    "stages/__init__.py": "",
    "stages/train.py": """
'''Docstring.'''
import math
import pkg.maths
from pkg import labels
from pkg.config import A
from pkg.models import net
from pkg.errors import UserError
def run():
    from pkg.lazy.deep import function
    return function
""",
    "stages/other.py": "",
    "maths.py": "import numpy",
    "labels.py": "from . import relative",
    "relative.py": "",
    "models/__init__.py": "",
    "models/net.py": "from pkg.models.parts import Part",
    "models/parts.py": "class Part: pass",
    "models/unused.py": "",
    "lazy/__init__.py": "from .shared import thing",
    "lazy/shared.py": "thing = 1",
    "lazy/deep.py": "def function(): pass",
}
COUNTED = {
    "stages/train.py",
    "maths.py",
    "labels.py",
    "relative.py",
    "models/__init__.py",
    "models/net.py",
    "models/parts.py",
    "lazy/__init__.py",
    "lazy/shared.py",
    "lazy/deep.py",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    for name, text in SOURCES.items():
        path = tmp_path / "pkg" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "pkg"


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_a_change_counts_exactly_where_the_stage_imports_it(package: Path, name: str) -> None:
    before = code_digest("train", package)
    (package / name).write_text(SOURCES[name] + "\nCHANGED = True\n")
    assert (code_digest("train", package) != before) == (name in COUNTED)


def test_comments_docstrings_and_layout_do_not_count(package: Path) -> None:
    before = code_digest("train", package)
    (package / "stages/train.py").write_text(
        SOURCES["stages/train.py"]
        .replace("Docstring.", "Another.")
        .replace("return function", "return  (function)  # x")
    )
    (package / "models/parts.py").write_text("class Part:\n    '''Now with a docstring.'''\n    pass\n")
    assert code_digest("train", package) == before
    (package / "models/parts.py").write_text("class Part:\n    x = '''Not a docstring.'''\n    pass\n")
    assert code_digest("train", package) != before


def test_a_renamed_file_counts(package: Path) -> None:
    before = code_digest("train", package)
    (package / "models/parts.py").rename(package / "models/pieces.py")
    (package / "models/net.py").write_text("from pkg.models.pieces import Part")
    assert code_digest("train", package) != before


def test_imports_above_the_package_are_left_out(package: Path) -> None:
    assert imported_files(package / "maths.py", package) == []


def test_every_part_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roomseg.runtime.fingerprint.code_digest", lambda stage: f"code of {stage}")
    base = fingerprint("evaluate", EvaluateConfig(), {"rooms": "1", "teacher": "2"}, {})
    assert len(base) == 20
    assert base == fingerprint("evaluate", EvaluateConfig(), {"teacher": "2", "rooms": "1"}, {})
    others = [
        fingerprint("register", RegisterConfig(), {"rooms": "1", "teacher": "2"}, {}),
        fingerprint("evaluate", EvaluateConfig(seed=1), {"rooms": "1", "teacher": "2"}, {}),
        fingerprint("evaluate", EvaluateConfig(), {"rooms": "2", "teacher": "1"}, {}),
        fingerprint("evaluate", EvaluateConfig(), {"rooms": "1", "teacher": "2"}, {"furniture": "3"}),
    ]
    monkeypatch.setattr("roomseg.runtime.fingerprint.code_digest", lambda stage: "changed")
    others.append(fingerprint("evaluate", EvaluateConfig(), {"rooms": "1", "teacher": "2"}, {}))
    assert len({base, *others}) == 6


def test_how_a_stage_is_run_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roomseg.runtime.fingerprint.code_digest", lambda stage: "code")
    values = {
        "train_rooms": 1,
        "val_rooms": 1,
        "test_rooms": 1,
        "room_types": ("bedroom",),
        "voxel_m": 0.04,
        "truncation_voxels": 5,
        "frames_per_room": 10,
        "frame_width": 64,
        "frame_height": 48,
        "camera_height_m": (1.4, 1.8),
        "panorama_height": 64,
    }
    one, two = (RenderConfig.model_validate({**values, "workers": workers}) for workers in (1, 8))
    assert fingerprint("render", one, {}, {}) == fingerprint("render", two, {}, {})


def test_the_stages_of_this_package_have_digests() -> None:
    assert code_digest("render") == code_digest("render") != code_digest("teacher")


def test_digest_is_of_the_canonical_json() -> None:
    # printf '{"a":[1,null],"b":"x"}' | sha256sum
    assert digest_of({"b": "x", "a": [1, None]}) == "3dece6dc8d22d61692b03c7d51836aaec96fd08a614e224565e177ad6ff9dbe2"


class Garbage:
    """What the collector finds while a tree is built; its end runs Python code, in which threads may take turns."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        for _ in range(200):
            pass


def test_threads_that_digest_at_once() -> None:
    """``ast.parse`` in several threads at once raises SystemError in CPython 3.11."""

    def digest(_: int) -> str:
        for _ in range(3):
            Garbage()
        return module_digest("roomseg.geometry.raycast")

    expected, interval, thresholds = digest(0), sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(50)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(digest, range(24))) == {expected}
    finally:
        sys.setswitchinterval(interval)
        gc.set_threshold(*thresholds)
