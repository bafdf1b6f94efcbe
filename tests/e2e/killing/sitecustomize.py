"""SIGKILL at named points of unchanged code: Python loads this where this folder is on its path (see ``points.py``).

``KILL_POINTS`` holds the points as JSON, ``KILL_MARKS`` names a folder in which each leaves a file as it kills: it
kills once, and the process that is started again goes further.
"""

from __future__ import annotations

import functools
import importlib
import importlib.abc
import importlib.machinery
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any


class Point:
    """Kills at the ``call``-th call of ``at`` that has a string with ``match`` among its arguments.

    Calls count only while one of ``inside`` is under way, if that is given. ``when`` is before the call, after it, or
    half: then the call is made with the first half of its last argument.
    """

    def __init__(self, mark: str, at: str, call: int, when: str, match: str, inside: str) -> None:
        self.mark, self.at, self.call, self.when, self.match, self.inside = mark, at, call, when, match, inside
        self.under_way = 0

    def patch(self, module: ModuleType) -> None:
        for target, around in ((self.at, self._killing), (self.inside, self._noting)):
            if target.partition(":")[0] == module.__name__:
                *owners, name = target.partition(":")[2].split(".")
                owner = functools.reduce(getattr, owners, module)
                setattr(owner, name, around(getattr(owner, name)))

    def _noting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def noted(*args: Any, **kwargs: Any) -> Any:
            self.under_way += 1
            try:
                return function(*args, **kwargs)
            finally:
                self.under_way -= 1

        return noted

    def _killing(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def killed(*args: Any, **kwargs: Any) -> Any:
            if not self._counts((*args, *kwargs.values())):
                return function(*args, **kwargs)
            self.call -= 1
            if self.call == 0 and self.when == "before":
                self._kill()
            if self.call == 0 and self.when == "half":
                function(*args[:-1], args[-1][: len(args[-1]) // 2])
                self._kill()
            result = function(*args, **kwargs)
            if self.call == 0:
                self._kill()
            return result

        return killed

    def _counts(self, values: Sequence[Any]) -> bool:
        matches = not self.match or any(self.match in value for value in values if isinstance(value, str))
        return matches and (not self.inside or self.under_way > 0)

    def _kill(self) -> None:
        with open(self.mark, "x"):
            os.kill(os.getpid(), signal.SIGKILL)


class _Finder(importlib.abc.MetaPathFinder):
    """Patches a module as it is loaded, before any other can import names from it."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._points = points
        self._names = {target.partition(":")[0] for point in points for target in (point.at, point.inside)}

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name not in self._names:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec is not None, name
        assert spec.loader is not None, name
        load = spec.loader.exec_module

        def load_and_patch(module: ModuleType) -> None:
            load(module)
            for point in self._points:
                point.patch(module)

        spec.loader.exec_module = load_and_patch  # type: ignore[method-assign]
        return spec


def _install() -> None:
    folder = os.environ["KILL_MARKS"]
    marks = {name: os.path.join(folder, name) for name in json.loads(os.environ["KILL_POINTS"])}
    wanted = json.loads(os.environ["KILL_POINTS"])
    points = [Point(marks[name], **wanted[name]) for name in wanted if not os.path.exists(marks[name])]
    for name in {target.partition(":")[0] for point in points for target in (point.at, point.inside)} - {""}:
        if name in sys.modules:
            for point in points:
                point.patch(sys.modules[name])
    sys.meta_path.insert(0, _Finder(points))


if "KILL_POINTS" in os.environ:
    _install()
