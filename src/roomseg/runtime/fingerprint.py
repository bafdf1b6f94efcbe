"""A stage's fingerprint: the name of what it makes, from everything that decides it (DESIGN section 4)."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

import roomseg
from roomseg.config import Section, fingerprint_fields

# How a stage is configured and run does not decide what it makes: the configuration counts by its values.
_NOT_COUNTED = ("config", "profiles", "errors", "ports", "runtime")
_PACKAGE = Path(roomseg.__file__).parent
_DIGITS = 20
_PARSING = Lock()  # CPython 3.11 counts the depth of trees for all threads together, and fails if two build at once


def fingerprint(
    stage: str, section: Section, input_digests: Mapping[str, str], external_digests: Mapping[str, str]
) -> str:
    """20 hexadecimal digits from the stage, its code, its section, its inputs and what it reads from outside."""
    parts = {
        "stage": stage,
        "code": code_digest(stage),
        "config": fingerprint_fields(section),
        "inputs": dict(input_digests),
        "external": dict(external_digests),
    }
    return digest_of(parts)[:_DIGITS]


def digest_of(value: Any) -> str:
    """sha256 of the canonical JSON of a value."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def code_digest(stage: str, package: Path = _PACKAGE) -> str:
    """sha256 over the code that ``stages/<stage>.py`` imports from its own package, itself included.

    Comments, docstrings and layout do not count, so mending a text does not make hours of training run again.
    """
    return _digest_from(package / "stages" / f"{stage}.py", package)


def module_digest(module: str) -> str:
    """The same over a module such as ``roomseg.geometry.projection`` and what it imports."""
    *above, name = module.split(".")[1:]
    return _digest_from(_PACKAGE.joinpath(*above, f"{name}.py"), _PACKAGE)


def _digest_from(start: Path, package: Path) -> str:
    seen: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        waiting += imported_files(path, package)
    return digest_of([[path.relative_to(package).as_posix(), _code_of(path)] for path in sorted(seen)])


def imported_files(path: Path, package: Path) -> list[Path]:
    """The counted source files of the package that a file imports, also inside functions."""
    found: list[Path] = []
    for name in _imported_names(_parse(path), path, package):
        first, *rest = name.split(".")
        if first == package.name and rest and rest[0] not in _NOT_COUNTED:
            found += _files_of(package, rest)
    return found


def _imported_names(tree: ast.AST, path: Path, package: Path) -> Iterator[str]:
    """Dotted names, absolute; ``from a import b`` gives ``a.b``, as b may be a module of a."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = path.relative_to(package.parent).parts[: -node.level] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _files_of(package: Path, parts: list[str]) -> Iterator[Path]:
    """The ``__init__`` files on the way to a module, and the module; what follows it is a name inside it."""
    place = package
    for part in parts:
        place = place / part
        if (place / "__init__.py").is_file():
            yield place / "__init__.py"
        else:
            if place.with_suffix(".py").is_file():
                yield place.with_suffix(".py")
            return


def _parse(path: Path) -> ast.Module:
    with _PARSING:
        return ast.parse(path.read_bytes(), filename=str(path))


def _code_of(path: Path) -> str:
    return _code_at(path, path.stat().st_mtime_ns)


@cache
def _code_at(path: Path, _changed_ns: int) -> str:
    tree = _parse(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and _docstring(node):
            del node.body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return ast.get_docstring(node, clean=False) is not None
