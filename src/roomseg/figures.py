"""The form of figures: those of ``benchmarks`` and of ``roomseg bench``, and tables of plain text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Row:
    """One figure, and how it stands to a named peer."""

    name: str
    value: float
    unit: str
    peer: str = ""  # what it is compared with; "" = nothing
    ratio: float | None = None  # how many times better than the peer: for times, the peer's / ours


def rows_as_json(rows: Sequence[Row]) -> str:
    """A list of {name, value, unit, peer, ratio}."""
    return json.dumps([asdict(row) for row in rows], indent=2) + "\n"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """A line a row, the cells of a column under each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
