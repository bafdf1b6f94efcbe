"""One room on one sheet: its panorama, the room from above, their labels, and which of its rays hit the volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from roomseg.data.rooms import TSDF_STEPS, Panorama, Room
from roomseg.geometry.projection import panorama_hits
from roomseg.labels import VOID, LabelSet, label_set
from roomseg.report.dollhouse import Camera, paint, trace
from roomseg.report.pictures import colorize, furniture_of, over, png_bytes, resized

PAPER, INK, SOFT, RULE = (252, 251, 249), (29, 28, 26), (107, 103, 97), (230, 226, 219)
AGREE, DIFFER, MISS = (226, 232, 240), (214, 40, 40), (30, 41, 59)
WIDTH, MARGIN, GAP = 1920, 44, 26  # pixels
COLUMN = (WIDTH - 2 * MARGIN - 2 * GAP) // 3
TITLE, TEXT, SMALL = 40, 21, 18  # font sizes
TOP_VIEW = (560, COLUMN)  # height, width
FROM_ABOVE = Camera(azimuth_deg=-90.0, elevation_deg=90.0)
LEGEND_ROWS = 16  # classes in one column of the legend; the smallest of more are left out
SHOWN_CREDITS = 8


@dataclass(frozen=True)
class Panel:
    picture: np.ndarray  # (h, COLUMN, 3) uint8
    name: str
    note: str


def room_sheet(room: Room) -> np.ndarray:  # (h, WIDTH, 3) uint8
    """The sheet of a room; without a panorama its places say so."""
    labels = label_set(room.labels)
    rows = [_panorama_panels(room, labels), _top_panels(room, labels)]
    credits = _credit_lines(room.meta.get("credits", ()))
    heights = [max(panel.picture.shape[0] for panel in row) + 62 for row in rows]
    height = 150 + sum(heights) + 44 + 26 * len(credits) + MARGIN
    sheet = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    _heading(draw, room, labels)
    top = 150
    for row, row_height in zip(rows, heights, strict=True):
        for n, panel in enumerate(row):
            draw_panel(sheet, draw, panel, MARGIN + n * (COLUMN + GAP), top)
        top += row_height
    _legend(draw, room, labels, MARGIN + 2 * (COLUMN + GAP), top - heights[-1])
    draw.line([(MARGIN, top), (WIDTH - MARGIN, top)], RULE, 2)
    for n, line in enumerate(credits):
        draw.text((MARGIN, top + 20 + 26 * n), line, SOFT, font=ImageFont.load_default(SMALL))
    return np.asarray(sheet)


def write_room_sheet(room: Room, path: Path) -> None:
    """Write the sheet as a PNG."""
    path.write_bytes(png_bytes(room_sheet(room)))


def _heading(draw: ImageDraw.ImageDraw, room: Room, labels: LabelSet) -> None:
    draw.text((MARGIN, 34), room.id, INK, font=_fitting(draw, room.id, TITLE))
    x, y, z = room.shape
    metres = " x ".join(f"{side * room.voxel_m:.2f}" for side in room.shape)
    facts = [
        room.meta.get("room_type", "unknown").replace("_", " "),
        f"{room.split} split",
        f"house {room.house_id}",
        f"{metres} m with its margin",
        f"{x} x {y} x {z} voxels of {100 * room.voxel_m:g} cm",
        f"{(room.tsdf != TSDF_STEPS).mean():.1%} not empty",
        f"labels {labels.name}",
    ]
    if room.meta.get("surface_seen") is not None:
        facts.append(f"{room.meta['surface_seen']:.1%} of the surface seen")
    text = "   ·   ".join(facts)
    draw.text((MARGIN, 96), text, SOFT, font=_fitting(draw, text, TEXT))


def _fitting(draw: ImageDraw.ImageDraw, text: str, size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """The font at the size, or at the largest one below it at which a line is not wider than the sheet."""
    sizes = range(size, 5, -1)
    fitting = (n for n in sizes if draw.textlength(text, ImageFont.load_default(n)) <= WIDTH - 2 * MARGIN)
    return ImageFont.load_default(next(fitting, sizes[-1]))


def _panorama_panels(room: Room, labels: LabelSet) -> list[Panel]:
    if not room.panoramas:
        empty = np.full((COLUMN // 2, COLUMN, 3), RULE, np.uint8)
        return [Panel(empty, "no panorama", "the teacher cannot learn from this room")]
    view = room.panoramas[0]
    hits, note = _hit_map(room, view)
    camera = ", ".join(f"{v:.2f}" for v in view.camera_m)
    more = f", the first of {len(room.panoramas)}" if len(room.panoramas) > 1 else ""
    return [
        Panel(resized(view.rgb, COLUMN, smooth=True), "panorama", f"from ({camera}) m{more}"),
        Panel(resized(colorize(view.label, labels), COLUMN, smooth=False), "its labels", _unlabelled(view.label)),
        Panel(resized(hits, COLUMN, smooth=False), "hits", note),
    ]


def _unlabelled(label: np.ndarray) -> str:
    return f"{(label == VOID).mean():.1%} of the pixels without label"


def _hit_map(room: Room, view: Panorama) -> tuple[np.ndarray, str]:  # (H, 2H, 3) uint8
    """Pale where the voxel that is hit has the pixel's label, red where another one, dark where nothing is hit."""
    camera_voxel = (view.camera_m - room.origin_m) / room.voxel_m
    voxel = panorama_hits(room.tsdf, camera_voxel, view.label.shape[0]).voxel  # (H, 2H)
    hit = voxel >= 0
    agree = hit & (room.label.reshape(-1)[voxel] == view.label)
    picture = np.full((*voxel.shape, 3), MISS, np.uint8)
    picture[hit], picture[agree] = DIFFER, AGREE
    share = agree.sum() / max(hit.sum(), 1)
    return picture, f"of {hit.mean():.1%} of its rays, {share:.1%} of these on their label (else red)"


def _top_panels(room: Room, labels: LabelSet) -> list[Panel]:
    traced = trace(room.tsdf, _drawn_from_above(room, labels), FROM_ABOVE, TOP_VIEW)
    colours = over(paint(traced, room.tsdf, room.rgb, blend=True), PAPER)
    classes = over(paint(traced, room.tsdf, colorize(room.label, labels), blend=False), PAPER)
    return [
        Panel(colours, "from above", "without a ceiling; +Y is up"),
        Panel(classes, "its labels", f"{_void_share(room):.1%} of what is not empty without label"),
    ]


def _drawn_from_above(room: Room, labels: LabelSet) -> np.ndarray:  # (X, Y, Z) bool
    """What is drawn from any side: where there is a ceiling to look through the furniture, else all that there is."""
    if "ceiling" in labels.names and (room.label == labels.id("ceiling")).any():
        return furniture_of(room.label, labels)
    return room.tsdf != TSDF_STEPS


def _void_share(room: Room) -> float:
    full = room.tsdf != TSDF_STEPS
    return float((room.label[full] == VOID).mean()) if full.any() else 0.0


def draw_panel(sheet: Image.Image, draw: ImageDraw.ImageDraw, panel: Panel, left: int, top: int) -> None:
    height = panel.picture.shape[0]
    sheet.paste(Image.fromarray(panel.picture), (left, top))
    font = ImageFont.load_default(TEXT)
    draw.text((left, top + height + 12), panel.name, INK, font=font)
    end = left + draw.textlength(panel.name + "   ", font=font)
    draw.text((end, top + height + 14), panel.note, SOFT, font=ImageFont.load_default(SMALL))


def _legend(draw: ImageDraw.ImageDraw, room: Room, labels: LabelSet, left: int, top: int) -> None:
    """The classes in the room, the commonest first, with their shares of the labelled voxels."""
    counts = np.bincount(room.label.reshape(-1), minlength=len(labels))
    counts[VOID] = 0
    present = [k for k in np.argsort(-counts, kind="stable").tolist() if counts[k]]
    shown, line = present[: 2 * LEGEND_ROWS], TOP_VIEW[0] // LEGEND_ROWS
    for n, class_id in enumerate(shown):
        x = left + (n // LEGEND_ROWS) * (COLUMN // 2)
        y = top + (n % LEGEND_ROWS) * line
        legend_line(draw, labels, class_id, counts[class_id] / counts.sum(), (x, y))
    draw.text(
        (left, top + TOP_VIEW[0] + 14),
        f"{len(present)} of {len(labels) - 1} classes, shares of the labelled voxels",
        SOFT,
        font=ImageFont.load_default(SMALL),
    )


def legend_line(
    draw: ImageDraw.ImageDraw, labels: LabelSet, class_id: int, share: float, corner: tuple[int, int]
) -> None:
    x, y = corner
    font = ImageFont.load_default(TEXT)
    draw.rounded_rectangle([x, y + 3, x + 22, y + 25], 5, labels.colors[class_id], outline=SOFT)
    draw.text((x + 34, y + 14), labels.names[class_id], INK, font=font, anchor="lm")
    percent = f"{100 * share:.1f}%" if share >= 0.0005 else "< 0.1%"
    draw.text((x + COLUMN // 2 - 24, y + 14), percent, SOFT, font=font, anchor="rm")


def _credit_lines(credits: Sequence[str]) -> list[str]:
    if not credits:
        return ["Credits: none given"]
    lines = [f"Credits: {credits[0]}", *credits[1:SHOWN_CREDITS]]
    if len(credits) > SHOWN_CREDITS:
        lines.append(f"and {len(credits) - SHOWN_CREDITS} more, in the room's metadata")
    return lines
