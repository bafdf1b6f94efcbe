"""Waiting for what other threads and processes do: as long as a slow machine needs, and no longer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], patience_s: float = 120.0) -> T:
    """What the condition gives once that is true."""
    end = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < end, f"not within {patience_s:.0f} s"
        time.sleep(0.05)
    return found
