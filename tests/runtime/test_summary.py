"""The table of the last screen."""

from io import StringIO

from rich.console import Console

from roomseg.comparisons import BASELINES, CE_ONLY, NO_SKIP
from roomseg.runtime.summary import FIRST_ROWS, LAST_ROWS, scores_table

COMPARED = (BASELINES["unet3d"], NO_SKIP, CE_ONLY)
ROWS = (
    *FIRST_ROWS,
    ("baseline unet3d", "unet3d"),
    ("student without skip", "no_skip"),
    ("cross entropy alone", "ce_only"),
    *LAST_ROWS,
)


def test_every_row_shows_its_own_two_scores():
    scores = {}
    for n, (_, prefix) in enumerate(ROWS):
        scores |= {f"{prefix}_miou": n / 100, f"{prefix}_miou_published": 0.5 + n / 100}
    console = Console(file=StringIO(), width=100)
    console.print(scores_table(scores, COMPARED))
    lines = console.file.getvalue().splitlines()
    for n, (name, _) in enumerate(ROWS):
        (line,) = (line for line in lines if name in line)
        assert f"{n}.0%" in line
        assert f"{50 + n}.0%" in line


def test_a_teacher_without_panoramas_has_no_row():
    table = scores_table({"distilled_miou": 0.5, "distilled_miou_published": 0.25})
    assert table.row_count == 1
