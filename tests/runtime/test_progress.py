from __future__ import annotations

import io
import os
import select
from pathlib import Path

import pytest

from roomseg.runtime.progress import LineProgress, RichProgress, open_progress


class Clock:
    def __init__(self) -> None:
        self.time_s = 50.0

    def __call__(self) -> float:
        return self.time_s


def test_lines_at_intervals_and_at_the_end() -> None:
    stream, clock = io.StringIO(), Clock()
    with LineProgress(stream, interval_s=10, now=clock).bar("teacher: train", 500, done=100) as bar:
        for _ in range(31):
            clock.time_s += 1
            bar.advance(2, loss=0.31234567, lr="1e-3")
    assert stream.getvalue().splitlines() == [
        "teacher: train 120/500 24% 2 it/s eta 0:03:10 loss=0.3123 lr=1e-3",
        "teacher: train 140/500 28% 2 it/s eta 0:03:00 loss=0.3123 lr=1e-3",
        "teacher: train 160/500 32% 2 it/s eta 0:02:50 loss=0.3123 lr=1e-3",
        "teacher: train 162/500 32% 2 it/s eta 0:02:49 loss=0.3123 lr=1e-3",
    ]


def test_slow_work_shows_seconds_an_item() -> None:
    stream, clock = io.StringIO(), Clock()
    with LineProgress(stream, interval_s=10, now=clock).bar("render: rooms", 2, unit="rooms") as bar:
        for _ in range(2):
            clock.time_s += 90
            bar.advance()
    assert stream.getvalue().splitlines() == [
        "render: rooms 1/2 50% 90 s/rooms eta 0:01:30",
        "render: rooms 2/2 100% 90 s/rooms in 0:03:00",
    ]


def test_track_gives_the_items() -> None:
    stream = io.StringIO()
    assert list(LineProgress(stream, now=Clock()).track("abc", "x: y", 3)) == ["a", "b", "c"]
    assert stream.getvalue().startswith("x: y 3/3 100% ")


def test_an_empty_bar_is_no_division_by_zero() -> None:
    stream = io.StringIO()
    assert list(LineProgress(stream, now=Clock()).track([], "x: y", 0)) == []
    assert stream.getvalue() == "x: y 0/0 in 0:00:00\n"


def test_a_broken_stream_stops_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    broken = os.fdopen(writer, "w", buffering=1)
    progress = LineProgress(broken, interval_s=0)
    progress.say("lost")
    assert list(progress.track([1, 2], "lost", 2)) == [1, 2]
    with pytest.raises(BrokenPipeError):
        broken.close()
    progress.say("closed")
    LineProgress(None).say("no stderr at all")


def test_signs_that_the_stream_cannot_write() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    LineProgress(stream).say("5 \N{MICRO SIGN}s")
    assert raw.getvalue() == b"5 ?s\n"


def test_bars_on_a_terminal_may_be_nested(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setenv("COLUMNS", "140")
    progress = RichProgress(stream)
    with progress.bar("teacher: epochs", 2) as outer:
        for _ in range(2):
            with progress.bar("teacher: validate", 3) as inner:
                inner.advance(3, miou=0.5)
            progress.say("teacher: [b]said[/b]")
            outer.advance(loss=0.25)
    text = stream.getvalue()
    assert "teacher: epochs" in text
    assert "2/2" in text
    assert "loss=0.25" in text
    assert "teacher: [b]said[/b]" in text
    with progress.bar("again", 1) as bar:  # the display can be used anew
        bar.advance()


def test_a_terminal_that_fails_stops_nothing() -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise OSError(5, "gone")

    progress = RichProgress(Gone())
    assert list(progress.track([1, 2], "x", 2)) == [1, 2]
    progress.say("x")


def test_the_named_terminal_gets_the_bars(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    master, slave = os.openpty()
    monkeypatch.setenv("ROOMSEG_PROGRESS_TTY", os.ttyname(slave))
    assert list(open_progress().track([1, 2], "render: rooms", 2)) == [1, 2]
    assert b"render: rooms" in _read_until(master, b"rooms")
    assert capfd.readouterr() == ("", "")
    os.close(slave)
    os.close(master)


def _read_until(master: int, end: bytes) -> bytes:
    """What a terminal was sent, up to the read that holds ``end``: one read may give the first few bytes only."""
    sent = b""
    while end not in sent and select.select([master], [], [], 60)[0]:
        sent += os.read(master, 100_000)  # which may end within a sign of several bytes
    return sent


@pytest.mark.parametrize("name", ["no-such-terminal", "a-file"])
def test_lines_where_the_named_terminal_is_none(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a-file").write_text("mine")
    monkeypatch.setenv("ROOMSEG_PROGRESS_TTY", str(tmp_path / name))
    open_progress().say("render: said")
    assert capsys.readouterr().err == "render: said\n"
    assert os.listdir(tmp_path) == ["a-file"]
    assert (tmp_path / "a-file").read_text() == "mine"
