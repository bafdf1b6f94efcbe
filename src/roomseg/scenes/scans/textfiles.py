"""Small text and JSON files of recordings: matrices, ``key = value`` lines. Every fault names file and field."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from roomseg.errors import UserError

MAX_TEXT_BYTES = 64 * 2**20


def read_bytes(path: Path, limit: int) -> bytes:
    """The file if it has at most ``limit`` bytes; raises ``UserError``."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); expected a file: complete the recording") from None
    if len(data) > limit:
        raise UserError(f"{path} has more than {limit} bytes; expected fewer: is it what its name says?")
    return data


def read_text(path: Path) -> str:
    return read_bytes(path, MAX_TEXT_BYTES).decode("utf-8", errors="replace")


def read_json(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path} is no JSON ({error}); expected a camera or a trajectory: write it again") from None


def key_values(path: Path) -> dict[str, str]:
    """The ``key = value`` lines of a file."""
    pairs = (line.split("=", 1) for line in read_text(path).splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def numbers(text: str, where: str) -> np.ndarray:  # (n,) float64
    """Blank-separated numbers; infinities as Microsoft's C library prints them (``-1.#INF``) become NaN."""
    try:
        return np.array([math.nan if "#" in word else float(word) for word in text.split()], np.float64)
    except ValueError as error:
        raise UserError(f"{where}: {error}; expected numbers: write the file again") from None


def matrix(text: str, where: str, sides: tuple[int, ...] = (4,)) -> np.ndarray:  # (n, n) float64
    """A square matrix, row-major, of one of the ``sides``; its entries may be infinite or NaN."""
    values = numbers(text, where)
    for side in sides:
        if len(values) == side * side:
            return values.reshape(side, side)
    expected = " or ".join(f"{side} x {side}" for side in sides)
    raise UserError(f"{where}: got {len(values)} numbers; expected a {expected} matrix: write the file again")


def read_matrix(path: Path, sides: tuple[int, ...] = (4,)) -> np.ndarray:
    return matrix(read_text(path), str(path), sides)
