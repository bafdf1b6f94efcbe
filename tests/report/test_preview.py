from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from roomseg.labels import label_set
from roomseg.report.content import PanoramaPicture
from roomseg.report.preview import KEY, PANEL, TOP, _panels, preview_sheet, write_preview
from roomseg.report.room_sheet import GAP, MARGIN, WIDTH

LABELS = label_set("panorooms3d")


@pytest.fixture
def picture() -> PanoramaPicture:
    """Quarters of the view: teacher right, student right, both wrong, both right; the last row is missed."""
    truth = np.full((8, 16), 5, np.uint8)
    teacher, student, hit = truth.copy(), truth.copy(), np.ones((8, 16), bool)
    student[:, :4], teacher[:, 4:8] = 7, 7
    teacher[:, 8:12], student[:, 8:12] = 7, 9
    hit[-1] = False
    return PanoramaPicture("room1", np.full((8, 16, 3), 90, np.uint8), truth, teacher, student, hit)


def test_the_disagreement_says_who_is_right(picture: PanoramaPicture) -> None:
    sheet = preview_sheet(picture, LABELS, ["office"]).astype(int)
    top = TOP + 2 * (PANEL // 2 + 62)
    width = PANEL // 4
    for n, name in enumerate(("teacher right", "student right", "both wrong")):
        pixel = sheet[top + 100, MARGIN + n * width + 20]
        assert np.abs(pixel - np.array(KEY[name])).max() < 50, name
    agreed, missed = sheet[top + 100, MARGIN + 3 * width + 20], sheet[top + PANEL // 2 - 20, MARGIN + 20]
    assert len(set(agreed)) == len(set(missed)) == 1  # grey


def test_the_figures_under_the_panels(picture: PanoramaPicture) -> None:
    notes = {panel.name: panel.note for panel in _panels(picture, LABELS)}
    assert notes["teacher"] == "right at 50.0% of the labelled pixels that hit"
    assert notes["student, projected"] == "right at 50.0% of them"
    assert notes["disagreement"] == "at 75.0% of the hits"
    assert notes["hits"].startswith("87.50% of the rays")


def test_the_sheet_as_a_file(picture: PanoramaPicture, tmp_path: Path) -> None:
    write_preview(picture, LABELS, ["office", "test split"], tmp_path / "sheet.png")
    image = Image.open(io.BytesIO((tmp_path / "sheet.png").read_bytes()))
    assert (image.format, image.width) == ("PNG", WIDTH)
    assert image.width == 2 * (MARGIN + PANEL) + GAP
