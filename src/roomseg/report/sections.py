"""The sections of the page, each a function from plain values to HTML; one with nothing to show is empty."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from roomseg.labels import VOID, LabelSet
from roomseg.report.charts import class_bars, confusion_chart, duration_bars, interval_mark, line_chart
from roomseg.report.content import Curve, ModelScores, PanoramaPicture, ReportContent, RoomPicture
from roomseg.report.pictures import flat_bytes, panorama_views, photo_bytes, resized, room_views
from roomseg.report.text import class_name, escaped, image, percent, signed_points

ROOM_SIZE = (440, 520)  # pixels, height and width: twice what a column of the page shows
PANORAMA_WIDTH = 768
TERMS = {
    "mIoU": """One confusion matrix over all test rooms: the mean IoU of the classes, void aside, that occur in it,
        on voxels whose true label is not void.""",
    "mIoU, published definition": """Room by room, the mean IoU of the classes present in it, void included, over all
        voxels; rooms count by their volume, as in the published evaluation. Empty space is a class here.""",
    "95 % interval": """Bootstrap: the rooms of the test split drawn again with replacement. It belongs to the first
        mIoU.""",
    "mAcc and aAcc": """Mean recall of the classes, and the share of all voxels that are right; true void left out.""",
}


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


def scores(content: ReportContent) -> str:
    end = max(0.01, *(max(m.miou, m.miou_interval[1]) for m in content.models)) * 1.04
    rows = "".join(_score_row(m, end, m is content.models[-1]) for m in content.models)
    terms = "".join(f"<div><dt>{term}</dt><dd>{meaning}</dd></div>" for term, meaning in TERMS.items())
    return _section(
        "scores",
        "Scores",
        '<div class="scroll"><table><thead><tr><th>model</th><th>mIoU %</th><th class="left">95 % interval</th>'
        '<th class="whisker"></th><th>mIoU %, published<br>definition</th><th>mAcc %</th><th>aAcc %</th></tr></thead>'
        f"<tbody>{_teacher_row(content.teacher_2d)}{rows}</tbody></table></div>"
        f'<dl class="terms">{terms}</dl>',
    )


def _teacher_row(teacher: Mapping[str, float]) -> str:
    miou, published, macc, aacc = (percent(teacher.get(k)) for k in ("miou", "miou_published", "macc", "aacc"))
    return (
        f'<tr class="other"><td>teacher <small>2D, pixels of panoramas</small></td><td>{miou}</td><td></td>'
        f'<td class="whisker"></td><td>{published}</td><td>{macc}</td><td>{aacc}</td></tr>'
    )


def _score_row(model: ModelScores, end: float, best: bool) -> str:
    low, high = model.miou_interval
    kind = "best" if best else "model"
    return (
        f'<tr class="{kind}"><td>{escaped(model.name)}</td><td>{percent(model.miou)}</td>'
        f'<td class="left"><small>{percent(low)} to {percent(high)}</small></td>'
        f'<td class="left whisker">{interval_mark(model.miou, model.miou_interval, end, best)}</td>'
        f"<td>{percent(model.miou_published)}</td><td>{percent(model.macc)}</td><td>{percent(model.aacc)}</td></tr>"
    )


def rooms(content: ReportContent) -> str:
    if not content.rooms:
        return ""
    legend = "".join(f"<li>{class_name(content.labels, k)}</li>" for k in range(len(content.labels)))
    return _section(
        "rooms",
        "Rooms",
        '<p class="note">Ceiling and near walls are cut away; pale grey is solid that no camera saw from inside. '
        "In the last column red is wrong.</p>"
        f'<ul class="legend" id="legend">{legend}</ul>{"".join(_room(room, content.labels) for room in content.rooms)}',
    )


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
        f'<span class="score">mIoU {percent(room.miou)} %</span></div><div class="grid four">{figures}</div></article>'
    )


def panoramas(content: ReportContent) -> str:
    if not content.panoramas:
        return ""
    return _section(
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
    return _section(
        "classes",
        "Every class",
        f'<p class="note">IoU in %, classes that occur in the test rooms. {key}</p><ul class="bars">{bars}</ul>',
    )


def confusion(content: ReportContent) -> str:
    return _section(
        "confusion",
        "Confusion",
        f'<p class="note">Where the voxels of each true class went, in % of the row; '
        f"{escaped(content.models[-1].name)}. "
        f'Figures from 10 % on.</p><div class="scroll">{confusion_chart(content.confusion, content.labels)}</div>',
    )


def curves(content: ReportContent) -> str:
    drawn = "".join(_curve(curve) for curve in content.curves)
    return _section("training", "Training", f'<div class="grid curves">{drawn}</div>') if drawn else ""


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
    return _section("timings", "Time", f'<ul class="bars one">{duration_bars(content.timings)}</ul>')


def facts(content: ReportContent) -> str:
    if not content.facts:
        return ""
    items = "".join(f"<div><dt>{escaped(name)}</dt><dd>{escaped(value)}</dd></div>" for name, value in content.facts)
    return _section("facts", "Facts", f'<dl class="facts">{items}</dl>')


def credits_list(credits: Sequence[str]) -> str:
    if not credits:
        return ""
    items = "".join(f"<li>{escaped(credit)}</li>" for credit in credits)
    return _section(
        "credits",
        "Credits",
        f'<p class="note">Furniture models and textures in these rooms, with their authors.</p><details><summary>'
        f'{len(credits)} models</summary><ul class="credits">{items}</ul></details>',
    )


def _section(anchor: str, title: str, body: str) -> str:
    return f'<section id="{anchor}"><h2>{title}</h2>{body}</section>'


def _figure(data: bytes, alt: str, size: Sequence[int], caption: str) -> str:
    picture = image(data, "webp", alt, (size[0], size[1]))
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"


def _share(mask: np.ndarray, among: np.ndarray) -> str:
    return percent(float(mask[among].mean())) if among.any() else percent(None)
