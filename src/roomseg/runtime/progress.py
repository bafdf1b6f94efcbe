"""Progress of long work: rich bars on a terminal, plain lines where there is none.

Under KFP's local runner a stage writes into a pipe; ``ROOMSEG_PROGRESS_TTY`` then names the terminal for the bars.
A display that fails (closed pipe, terminal gone) is given up in silence: it never stops the work.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import IO, Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichDisplay

from roomseg.ports import Bar, Progress


def open_progress() -> Progress:
    """The display for this process's stderr."""
    terminal = _terminal(os.environ.get("ROOMSEG_PROGRESS_TTY"))
    if terminal is not None:
        return RichProgress(terminal)
    if sys.stderr is not None and sys.stderr.isatty():
        return RichProgress(Console(stderr=True))
    return LineProgress(sys.stderr)


def _terminal(device: str | None) -> Console | None:
    if not device:
        return None
    try:
        file = open(device, "w", encoding="utf-8")  # noqa: SIM115  (open as long as the process lives)
        return Console(file=file, force_terminal=True, width=os.get_terminal_size(file.fileno()).columns or 80)
    except OSError:
        return None


class _Display(Protocol):
    def bar(self, title: str, total: int, done: int = 0, unit: str = "") -> Any: ...


def _tracked(display: _Display, items: Iterable[Any], title: str, total: int, unit: str) -> Iterator[Any]:
    with display.bar(title, total, unit=unit) as bar:
        for item in items:
            yield item
            bar.advance()


class RichProgress:
    """``ports.Progress`` on a terminal. Bars may be nested; they share one rich display."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._display: RichDisplay | None = None

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0, unit: str = "") -> Iterator[Bar]:
        outermost = self._display is None
        if outermost:
            self._display = _rich_display(self._console)
            with suppress(Exception):
                self._display.start()
        assert self._display is not None
        bar = _RichBar(self._display, title, total, done, unit)
        try:
            yield bar
        finally:
            with suppress(Exception):
                bar.close(keep=outermost)
                if outermost:
                    self._display.stop()
            if outermost:
                self._display = None

    def track(self, items: Iterable[Any], title: str, total: int, unit: str = "") -> Iterator[Any]:
        return _tracked(self, items, title, total, unit)

    def say(self, text: str) -> None:
        with suppress(Exception):
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def _rich_display(console: Console) -> RichDisplay:
    return RichDisplay(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        console=console,
        refresh_per_second=4,
    )


class _RichBar:
    def __init__(self, display: RichDisplay, title: str, total: int, done: int, unit: str) -> None:
        self._display = display
        self._rate = _Rate(total, done, unit, time.monotonic)
        self._task = display.add_task(title, total=total, completed=done, rate="", figures="")

    def advance(self, n: int = 1, **figures: float | str) -> None:
        self._rate.add(n)
        with suppress(Exception):
            fields = {"rate": self._rate.text(), **({"figures": _figures(figures)} if figures else {})}
            self._display.update(self._task, advance=n, **fields)  # type: ignore[arg-type]

    def close(self, keep: bool) -> None:
        if not keep:
            self._display.remove_task(self._task)


class LineProgress:
    """``ports.Progress`` for logs: a line each ``interval_s`` seconds and one at the end of a bar."""

    def __init__(
        self, stream: IO[str] | None, interval_s: float = 10.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._interval_s, self._now = stream, interval_s, now

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0, unit: str = "") -> Iterator[Bar]:
        bar = _LineBar(self.say, title, _Rate(total, done, unit, self._now), self._interval_s)
        try:
            yield bar
        finally:
            bar.close()

    def track(self, items: Iterable[Any], title: str, total: int, unit: str = "") -> Iterator[Any]:
        return _tracked(self, items, title, total, unit)

    def say(self, text: str) -> None:
        if self._stream is None:
            return
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        with suppress(OSError, ValueError):  # ValueError: the stream is closed
            self._stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")
            self._stream.flush()


class _LineBar:
    def __init__(self, say: Callable[[str], None], title: str, rate: _Rate, interval_s: float) -> None:
        self._say, self._title, self._rate, self._interval_s = say, title, rate, interval_s
        self._figures: dict[str, float | str] = {}
        self._next_s = interval_s
        self._said_at: int | None = None

    def advance(self, n: int = 1, **figures: float | str) -> None:
        self._rate.add(n)
        self._figures.update(figures)
        if self._rate.elapsed_s >= self._next_s:
            self._line()

    def close(self) -> None:
        if self._said_at != self._rate.done:
            self._line()

    def _line(self) -> None:
        self._next_s = self._rate.elapsed_s + self._interval_s
        self._said_at = self._rate.done
        rate = self._rate
        parts = [self._title, f"{rate.done}/{rate.total}", rate.percent(), rate.text(), rate.eta()]
        self._say(" ".join(part for part in [*parts, _figures(self._figures)] if part))


class _Rate:
    """How many are done, how fast (the mean since the bar began) and how long it will take."""

    def __init__(self, total: int, done: int, unit: str, now: Callable[[], float]) -> None:
        self.total, self.done = total, done
        self._before, self._unit, self._now, self._start = done, unit or "it", now, now()

    @property
    def elapsed_s(self) -> float:
        return self._now() - self._start

    def add(self, n: int) -> None:
        self.done += n

    def percent(self) -> str:
        return f"{100 * self.done // self.total}%" if self.total else ""

    def text(self) -> str:
        per_s = self._per_s()
        if per_s == 0:
            return ""
        return f"{per_s:.3g} {self._unit}/s" if per_s >= 1 else f"{1 / per_s:.3g} s/{self._unit}"

    def eta(self) -> str:
        per_s = self._per_s()
        if per_s == 0 or self.done >= self.total:
            return f"in {timedelta(seconds=round(self.elapsed_s))}"
        return f"eta {timedelta(seconds=round((self.total - self.done) / per_s))}"

    def _per_s(self) -> float:
        return (self.done - self._before) / max(self.elapsed_s, 1e-9)


def _figures(figures: dict[str, float | str]) -> str:
    return " ".join(f"{name}={value if isinstance(value, str) else f'{value:.4g}'}" for name, value in figures.items())
