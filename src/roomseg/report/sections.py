"""The sections of the page, each a function from plain values to HTML; one with nothing to show is empty."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from roomseg.labels import VOID, LabelSet
from roomseg.report.charts import class_bars, confusion_chart, duration_bars, line_chart
from roomseg.report.content import Curve, PanoramaPicture, ReportContent, RoomPicture
from roomseg.report.pictures import flat_bytes, panorama_views, photo_bytes, resized, room_views
from roomseg.report.text import class_name, escaped, image, percent, section, signed_points

ROOM_SIZE = (440, 520)  # pixels, height and width: twice what a column of the page shows
PANORAMA_WIDTH = 768
VIEWS_NOTE = """ Each room's 3D view is a file beside this page; in a frame that shows this page alone, as in Kubeflow's
    UI, the links lead nowhere: <code>roomseg report -o FOLDER</code> fetches page and views."""


def heading(content: ReportContent) -> str:
    best = content.models[-1]
    low, high = best.miou_interval
    stats = [("first", percent(best.miou), "%", f"mIoU, {best.name}")]
    if len(content.models) > 1:
        before = content.models[-2]
        stats.append(("", signed_points(best.miou - before.miou), "", f"points over {before.name}"))
    if "miou" in content.teacher_2d:
        stats.append(("", percent(content.teacher_2d["miou"]), "%", "mIoU of the 2D teacher on panoramas"))
    items = "".join(
        f'<li class="{kind}"><b>{value}<sup>{unit}</sup></b><small>{escaped(what)}</small></li>'
        for kind, value, unit, what in stats
    )
    return (
        f"<header><h1>{escaped(content.title)}</h1>"
        f'<p class="lead">3D semantic segmentation of indoor rooms, distilled from a 2D panorama teacher. On the test '
        f"rooms the {escaped(best.name)} reaches <b>{percent(best.miou)} % mIoU</b> "
        f"(95 % interval {percent(low)} to {percent(high)}).</p>"
        f'<ul class="stats">{items}</ul></header>'
    )


def rooms(content: ReportContent) -> str:
    if not content.rooms:
        return ""
    legend = "".join(f"<li>{class_name(content.labels, k)}</li>" for k in range(len(content.labels)))
    return section(
        "rooms",
        "Rooms",
        '<p class="note">Ceiling and near walls are cut away; pale grey is solid that no camera saw from inside. '
        f"In the last column red is wrong.{VIEWS_NOTE if any(room.view for room in content.rooms) else ''}</p>"
        f'<ul class="legend" id="legend">{legend}</ul>{_gallery(content)}',
    )


def _gallery(content: ReportContent) -> str:
    parts, group = [], ""
    for room in content.rooms:
        if room.group != group:
            group = room.group
            parts.append(f'<h3 class="group">{escaped(group)}</h3>')
        parts.append(_room(room, content.labels))
    return "".join(parts)


def _room(room: RoomPicture, labels: LabelSet) -> str:
    views = room_views(room, ROOM_SIZE, labels)
    panels = (
        ("input", views.input),
        ("truth", views.truth),
        ("prediction", views.prediction),
        ("error", views.error),
    )
    figures = "".join(
        _figure(photo_bytes(picture), f"{name} of {room.room_id}", ROOM_SIZE, f"<b>{name}</b>")
        for name, picture in panels
    )
    metres = " &times; ".join(f"{side * room.voxel_m:.1f}" for side in room.tsdf.shape)
    return (
        f'<article class="room"><div class="head"><h3>{escaped(room.room_id)}</h3>'
        f"<span>{escaped(room.room_type.replace('_', ' '))} · {metres} m</span>"
        f'<span class="score">mIoU {percent(room.miou)} %</span>{_view_link(room)}</div>'
        f'<div class="grid four">{figures}</div></article>'
    )


def _view_link(room: RoomPicture) -> str:
    return f'<a href="{escaped(room.view)}" target="_blank" rel="noopener">3D view</a>' if room.view else ""


def panoramas(content: ReportContent) -> str:
    if not content.panoramas:
        return ""
    return section(
        "panoramas",
        "Panoramas",
        '<p class="note">What the 2D teacher sees, and the 3D prediction projected into the same view through the '
        "surface of the room.</p>" + "".join(_panorama(panorama, content.labels) for panorama in content.panoramas),
    )


def _panorama(panorama: PanoramaPicture, labels: LabelSet) -> str:
    views, hit, judged = panorama_views(panorama, labels), panorama.hit, panorama.truth != VOID
    teacher_right = _share(panorama.teacher == panorama.truth, judged)
    student_right = _share(panorama.student == panorama.truth, judged & hit)
    differ = _share(panorama.teacher != panorama.student, hit)
    panels = (
        (views.rgb, True, "<b>picture</b>"),
        (views.truth, False, "<b>truth</b>"),
        (views.teacher, False, f"<b>teacher</b>, {teacher_right} % of pixels right"),
        (views.student, False, f"<b>student, projected</b>, {student_right} % right where it hits"),
        (views.disagreement, True, f"<b>disagreement</b> of the two in red, {differ} %"),
        (views.hit, False, f"<b>hits</b> of the surface, {percent(float(hit.mean()))} %"),
    )
    figures = "".join(_panel(picture, smooth, caption, panorama.room_id) for picture, smooth, caption in panels)
    return (
        f'<article class="room"><div class="head"><h3>{escaped(panorama.room_id)}</h3></div>'
        f'<div class="grid three">{figures}</div></article>'
    )


def _panel(picture: np.ndarray, smooth: bool, caption: str, room_id: str) -> str:
    small = resized(picture, PANORAMA_WIDTH, smooth)
    data = photo_bytes(small, quality=80) if smooth else flat_bytes(small)
    return _figure(data, f"panorama of {room_id}", small.shape[:2], caption)


def classes(content: ReportContent) -> str:
    best = content.models[-1]
    before = content.models[-2] if len(content.models) > 1 else None
    key = f"Wide bars: {escaped(best.name)}."
    if before:
        key += f" Thin dark bars and the small figures: {escaped(before.name)}."
    bars = class_bars(best.per_class_iou, before.per_class_iou if before else None, content.labels)
    return section(
        "classes",
        "Every class",
        f'<p class="note">IoU in %, classes that occur in the test rooms. {key}</p><ul class="bars">{bars}</ul>',
    )


def confusion(content: ReportContent) -> str:
    return section(
        "confusion",
        "Confusion",
        f'<p class="note">Where the voxels of each true class went, in % of the row; '
        f"{escaped(content.models[-1].name)}. "
        f'Figures from 10 % on.</p><div class="scroll">{confusion_chart(content.confusion, content.labels)}</div>',
    )


def curves(content: ReportContent) -> str:
    drawn = "".join(_curve(curve) for curve in content.curves)
    return section("training", "Training", f'<div class="grid curves">{drawn}</div>') if drawn else ""


def _curve(curve: Curve) -> str:
    loss, val_miou = _series(curve, "loss"), _series(curve, "val_miou")
    last = max((step for step, _ in [*loss, *val_miou]), default=0.0)
    parts = []
    if loss:
        parts.append(
            f"<figure>{line_chart(loss, last, f'{curve.stage} loss', dots=False)}<figcaption>loss</figcaption></figure>"
        )
    if val_miou:
        shown = [(step, 100 * value) for step, value in val_miou]
        best = max(value for _, value in val_miou)
        parts.append(
            f'<figure class="val">{line_chart(shown, last, f"{curve.stage} validation mIoU", dots=True)}'
            f"<figcaption>validation mIoU %, best <b>{percent(best)}</b></figcaption></figure>"
        )
    return f"<div><h3>{escaped(curve.stage)}</h3>{''.join(parts)}</div>" if parts else ""


def _series(curve: Curve, key: str) -> list[tuple[float, float]]:
    return [(p["step"], p[key]) for p in curve.points if key in p and math.isfinite(p[key])]


def timings(content: ReportContent) -> str:
    if not content.timings:
        return ""
    return section("timings", "Time", f'<ul class="bars one">{duration_bars(content.timings)}</ul>')


def facts(content: ReportContent) -> str:
    if not content.facts:
        return ""
    items = "".join(f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>" for name, value in content.facts)
    return section("facts", "Facts", f'<dl class="facts">{items}</dl>')


def credits_list(credits: Sequence[str]) -> str:
    if not credits:
        return ""
    items = "".join(f"<li>{escaped(credit)}</li>" for credit in credits)
    return section(
        "credits",
        "Credits",
        f'<p class="note">Furniture models and textures in these rooms, with their authors.</p><details><summary>'
        f'{len(credits)} models</summary><ul class="credits">{items}</ul></details>',
    )


def _figure(data: bytes, alt: str, size: Sequence[int], caption: str) -> str:
    picture = image(data, "webp", alt, (size[0], size[1]))
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def _share(mask: np.ndarray, among: np.ndarray) -> str:
    return percent(float(mask[among].mean())) if among.any() else percent(None)
