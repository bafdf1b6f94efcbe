"""A panorama, its truth, and what teacher and student make of it, on one sheet: is there anything to be learnt?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from roomseg.labels import VOID, LabelSet
from roomseg.report.content import PanoramaPicture
from roomseg.report.pictures import over_grey, panorama_views, png_bytes
from roomseg.report.room_sheet import GAP, INK, MARGIN, PAPER, RULE, SMALL, SOFT, TEXT, TITLE, WIDTH, Panel, draw_panel

COLUMNS, TOP, CAPTION = 2, 150, 62  # panels in a row; pixels above the first and below each
PANEL = (WIDTH - 2 * MARGIN - GAP) // COLUMNS
KEY = {  # of the disagreement: who is right
    "teacher right": (37, 99, 235),
    "student right": (22, 163, 74),
    "both wrong": (214, 40, 40),
    "truth void": (148, 143, 136),
}
LEGEND_COLUMNS, LEGEND_LINE = 6, 34


def preview_sheet(
    picture: PanoramaPicture, labels: LabelSet, facts: Sequence[str]
) -> np.ndarray:  # (h, WIDTH, 3) uint8
    """``facts`` stand under the room's name."""
    panels = _panels(picture, labels)
    height = panels[0].picture.shape[0] + CAPTION
    present = _present(picture)
    legend = 60 + LEGEND_LINE * -(-len(present) // LEGEND_COLUMNS)
    sheet = Image.new("RGB", (WIDTH, TOP + height * -(-len(panels) // COLUMNS) + legend + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, 34), picture.room_id, INK, font=ImageFont.load_default(TITLE))
    draw.text((MARGIN, 96), "   ·   ".join(facts), SOFT, font=ImageFont.load_default(TEXT))
    for n, panel in enumerate(panels):
        draw_panel(sheet, draw, panel, MARGIN + n % COLUMNS * (PANEL + GAP), TOP + n // COLUMNS * height)
    _key(draw, MARGIN + PANEL - 12, TOP + 2 * height + panels[0].picture.shape[0] + 14)
    _legend(draw, present, labels, TOP + height * -(-len(panels) // COLUMNS))
    return np.asarray(sheet)


def write_preview(picture: PanoramaPicture, labels: LabelSet, facts: Sequence[str], path: Path) -> None:
    """Write the sheet as a PNG."""
    path.write_bytes(png_bytes(preview_sheet(picture, labels, facts)))


def _panels(picture: PanoramaPicture, labels: LabelSet) -> list[Panel]:
    views = panorama_views(picture, labels)
    judged = picture.hit & (picture.truth != VOID)
    differ = picture.hit & (picture.teacher != picture.student)
    teacher, student = (_right(ids, picture.truth, judged) for ids in (picture.teacher, picture.student))
    shown = [
        (views.rgb, "panorama", "{1} x {0} pixels".format(*picture.truth.shape)),
        (views.truth, "truth", f"{(picture.truth == VOID).mean():.1%} without label"),
        (views.teacher, "teacher", f"right at {teacher} of the labelled pixels that hit"),
        (_masked(views.student, picture.hit), "student, projected", f"right at {student} of them"),
        (_disagreement(picture), "disagreement", f"at {differ.sum() / max(picture.hit.sum(), 1):.1%} of the hits"),
        (views.hit, "hits", f"{picture.hit.mean():.2%} of the rays; dark where nothing is hit"),
    ]
    return [Panel(_fitted(image, smooth=n == 0), name, note) for n, (image, name, note) in enumerate(shown)]


def _right(ids: np.ndarray, truth: np.ndarray, judged: np.ndarray) -> str:
    return f"{(ids == truth)[judged].mean():.1%}" if judged.any() else "none"


def _masked(image: np.ndarray, hit: np.ndarray) -> np.ndarray:
    return np.where(hit[..., None], image, np.array((30, 41, 59), np.uint8))


def _disagreement(picture: PanoramaPicture) -> np.ndarray:  # (H, 2H, 3) uint8
    """The faded panorama, coloured where the two differ by who is right."""
    differ = picture.hit & (picture.teacher != picture.student)
    teacher, student = picture.teacher == picture.truth, picture.student == picture.truth
    void = picture.truth == VOID
    cases = (differ & teacher & ~void, differ & student & ~void, differ & ~teacher & ~student & ~void, differ & void)
    image = over_grey(picture.rgb)
    for colour, case in zip(KEY.values(), cases, strict=True):
        image[case] = 0.2 * image[case] + 0.8 * np.array(colour)
    return image.astype(np.uint8)


def _fitted(image: np.ndarray, smooth: bool) -> np.ndarray:  # (PANEL / 2, PANEL, 3) uint8
    how = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(image).resize((PANEL, PANEL // 2), how))


def _present(picture: PanoramaPicture) -> list[int]:
    """Classes in any of the three label maps, those with most pixels in the truth first."""
    counts = np.bincount(picture.truth.reshape(-1), minlength=256)
    others = np.bincount(np.concatenate([picture.teacher.reshape(-1), picture.student.reshape(-1)]), minlength=256)
    found = [k for k in range(256) if k != VOID and (counts[k] or others[k])]
    return sorted(found, key=lambda k: (-counts[k], -others[k]))


def _key(draw: ImageDraw.ImageDraw, right: int, top: int) -> None:
    """What the colours of the disagreement mean, from the right to the left."""
    font = ImageFont.load_default(SMALL)
    for name, colour in reversed(KEY.items()):
        right -= int(draw.textlength(name, font=font))
        draw.text((right, top), name, SOFT, font=font)
        draw.rounded_rectangle([right - 22, top + 2, right - 6, top + 18], 4, colour)
        right -= 40


def _legend(draw: ImageDraw.ImageDraw, present: Sequence[int], labels: LabelSet, top: int) -> None:
    draw.line([(MARGIN, top + 6), (WIDTH - MARGIN, top + 6)], RULE, 2)
    width = (WIDTH - 2 * MARGIN) // LEGEND_COLUMNS
    for n, class_id in enumerate(present):
        x, y = MARGIN + n % LEGEND_COLUMNS * width, top + 30 + n // LEGEND_COLUMNS * LEGEND_LINE
        draw.rounded_rectangle([x, y, x + 22, y + 22], 5, labels.colors[class_id], outline=SOFT)
        draw.text((x + 34, y + 11), labels.names[class_id], INK, font=ImageFont.load_default(TEXT), anchor="lm")
