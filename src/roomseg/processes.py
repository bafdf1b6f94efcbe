"""Processes that one of ours starts."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1  # prctl(2)


def die_with_parent() -> None:
    """From now on SIGKILL ends this process when its parent ends, however that does.

    Left alone it would go on beside the next attempt, or wait for ever with the parent's pipes open.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():  # it was quicker
        os._exit(1)
