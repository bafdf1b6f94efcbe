"""The result of a check: OK, WARN or FAIL, what was found, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from roomseg.errors import UserError

State = Literal["OK", "WARN", "FAIL"]


@dataclass(frozen=True)
class Line:
    state: State
    check: str
    found: str
    remedy: str = ""  # empty where nothing is to be done


Check = Callable[[], Iterator[Line]]


def run_checks(checks: dict[str, Check]) -> Iterator[Line]:
    """The lines of all checks, in order; a ``UserError`` in one is its FAIL, and the next goes on."""
    for name, check in checks.items():
        try:
            yield from check()
        except UserError as error:
            found, _, remedy = str(error).partition("; ")
            yield Line("FAIL", name, found, remedy)
