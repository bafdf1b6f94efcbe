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
from typing import IO, Any, Protocol, cast

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
        return RichProgress(sys.stderr)
    return LineProgress(sys.stderr)


def _terminal(device: str | None) -> IO[str] | None:
    if not device:
        return None
    try:
        descriptor = os.open(device, os.O_WRONLY | os.O_NOCTTY)  # unlike open(): makes no file if there is none
    except OSError:
        return None
    if not os.isatty(descriptor):
        os.close(descriptor)
        return None
    return open(descriptor, "w", encoding="utf-8")


class _Forgiving:
    """A text stream that drops what it cannot write: full, closed, gone, or without the signs."""

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream = stream
        self.encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        if self._stream is not None:
            with suppress(OSError, ValueError):  # ValueError: the stream is closed
                self._stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
        return len(text)

    def flush(self) -> None:
        if self._stream is not None:
            with suppress(OSError, ValueError):
                self._stream.flush()

    def columns(self) -> int | None:
        """Width of the terminal, None if the stream is none."""
        with suppress(OSError, ValueError, AttributeError):
            return os.get_terminal_size(self._stream.fileno()).columns or None  # type: ignore[union-attr]
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

    def __init__(self, terminal: IO[str]) -> None:
        stream = _Forgiving(terminal)
        # rich asks stdout for the width, but the bars may go to another terminal than that.
        self._console = Console(file=cast(IO[str], stream), force_terminal=True, width=stream.columns())
        self._display: RichDisplay | None = None

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0, unit: str = "") -> Iterator[Bar]:
        if self._display is not None:
            bar = _RichBar(self._display, title, total, done, unit)
            try:
                yield bar
            finally:
                bar.remove()
            return
        with _rich_display(self._console) as self._display:
            try:
                yield _RichBar(self._display, title, total, done, unit)
            finally:
                self._display = None

    def track(self, items: Iterable[Any], title: str, total: int, unit: str = "") -> Iterator[Any]:
        return _tracked(self, items, title, total, unit)

    def say(self, text: str) -> None:
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
        fields = {"rate": self._rate.text(), **({"figures": _figures(figures)} if figures else {})}
        self._display.update(self._task, advance=n, **fields)  # type: ignore[arg-type]

    def remove(self) -> None:
        self._display.remove_task(self._task)


class LineProgress:
    """``ports.Progress`` for logs: a line each ``interval_s`` seconds and one at the end of a bar."""

    def __init__(
        self, stream: IO[str] | None, interval_s: float = 10.0, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream, self._interval_s, self._now = _Forgiving(stream), interval_s, now

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
        self._stream.write(text + "\n")
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
