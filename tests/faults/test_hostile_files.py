"""Damaged and hostile files: each reader reads them or says in one line what is wrong. Nothing else."""

from __future__ import annotations

import re
import tempfile
import tracemalloc
import warnings
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roomseg.errors import UserError
from tests.faults.readers import READERS

MOST_BYTES = 300 << 20  # that a reader may take for a file of some kB
ROOT = Path(__file__).parents[2]
IN_DEPTH = 400
NONSENSE = (b"", bytes(5000), b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe" * 2000, b"PK\x03\x04")


@cache
def good(name: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"file{READERS[name].suffix}"
        READERS[name].make(path)
        return path.read_bytes()


def survives(name: str, data: bytes, folder: Path) -> None:
    reader = READERS[name]
    path = folder / f"file{reader.suffix}"
    path.write_bytes(data)
    tracemalloc.start()
    said = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(path)
    except UserError as error:
        said = str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert "\n" not in said
    assert len(said) < 2000
    assert peak < MOST_BYTES, f"took {peak >> 20} MB"


def fuzzed(examples: int) -> settings:
    health = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=health)


@pytest.mark.parametrize("name", [name for name in READERS if name not in ("manifest", "state")])
def test_the_good_file_is_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"file{READERS[name].suffix}"
    path.write_bytes(good(name))
    if name in ("room npz", "weights npz"):
        pytest.skip("a part of such a file only")
    READERS[name].read(path)


@pytest.mark.parametrize("name", READERS)
@fuzzed(25)
@given(seed=st.integers(0, 1 << 40))
def test_damaged_files(name: str, tmp_path: Path, seed: int) -> None:
    survives(name, READERS[name].mutate(good(name), seed), tmp_path)


@pytest.mark.heavy
@pytest.mark.parametrize("name", READERS)
@fuzzed(IN_DEPTH)
@given(seed=st.integers(0, 1 << 40))
def test_damaged_files_in_depth(name: str, tmp_path: Path, seed: int) -> None:
    survives(name, READERS[name].mutate(good(name), seed), tmp_path)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 5000, b"[" * 100_000, b'{"a":' * 50_000, b"\xff\xfe" * 2000, b"PK\x03\x04"]
)
def test_what_is_no_such_file_at_all(name: str, data: bytes, tmp_path: Path) -> None:
    survives(name, data, tmp_path)


UNSAFE = {
    "pickle": r"\b(import (c?[pP]ickle|dill|joblib|marshal|shelve)|pickle\.loads?|Unpickler\()",
    "objects in arrays": r"allow_pickle\s*=\s*True",
    "torch.load without weights_only": r"torch\.load\((?![^\n]*weights_only=True)",
    "np.load without allow_pickle": r"np\.load\((?![^\n]*allow_pickle=False)",
    "yaml": r"yaml\.(load|unsafe_load|full_load)\(|(?<!Safe)Loader=yaml\.Loader|yaml\.(Unsafe|Full)?Loader\b",
    "eval": r"(?<![\w.])(eval|exec)\(",
    "a shell": r"shell\s*=\s*True|os\.system\(|os\.popen\(",
    "archives unpacked": r"\.extractall\(|\.extract\(|unpack_archive\(",
    "all addresses": r"0\.0\.0\.0|host=[\"']{2}",
}
ALLOWED = {("pickle", "models/weight_files.py")}  # for its UnpicklingError


@pytest.mark.parametrize("what", UNSAFE)
def test_no_unsafe_calls(what: str) -> None:
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "components").rglob("*.py"), ROOT / "pipeline.py"]
    assert len(sources) > 50
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in sources
        for match in re.finditer(UNSAFE[what], path.read_text())
        if not any(what == kind and path.as_posix().endswith(name) for kind, name in ALLOWED)
    ]
    assert found == []


def test_the_rules_find_what_they_are_for() -> None:
    bad = {
        "pickle": "import pickle",
        "objects in arrays": "np.load(f, allow_pickle=True)",
        "torch.load without weights_only": "torch.load(path)",
        "np.load without allow_pickle": "np.load(path)",
        "yaml": "yaml.load(text, Loader=yaml.Loader)",
        "eval": "x = eval(text)",
        "a shell": "run(c, shell=True)",
        "archives unpacked": "archive.extractall(folder)",
        "all addresses": 'bind("0.0.0.0")',
    }
    assert all(re.search(UNSAFE[what], text) for what, text in bad.items())
    assert set(bad) == set(UNSAFE)
