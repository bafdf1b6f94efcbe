"""The table of the last screen."""

from io import StringIO

from rich.console import Console

from roomseg.runtime.summary import ROWS, scores_table


def test_every_row_shows_its_own_two_scores():
    scores = {}
    for n, (_, prefix) in enumerate(ROWS):
        scores |= {f"{prefix}_miou": n / 100, f"{prefix}_miou_published": 0.5 + n / 100}
    console = Console(file=StringIO(), width=100)
    console.print(scores_table(scores))
    lines = console.file.getvalue().splitlines()
    for n, (name, _) in enumerate(ROWS):
        (line,) = (line for line in lines if name in line)
        assert f"{n}.0%" in line
        assert f"{50 + n}.0%" in line
