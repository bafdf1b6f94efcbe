"""The tables of the page: every model, the paper's tables, and every test room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from roomseg.report.charts import interval_mark
from roomseg.report.content import ModelScores, ReportContent, RoomScore
from roomseg.report.text import duration, escaped, percent, section, signed_points

MOST_ROOMS = 400  # of the table of rooms: from the best and from the worst, half of it each
UNKNOWN = "\N{EN DASH}"
TERMS = {
    "mIoU": """One confusion matrix over all test rooms: the mean IoU of the classes, void aside, that occur in it,
        on voxels whose true label is not void.""",
    "mIoU, published definition": """Room by room, the mean IoU of the classes present in it, void included, over all
        voxels; rooms count by their volume, as in the published evaluation. Empty space is a class here.""",
    "95 % interval": """Bootstrap: the rooms of the test split drawn again with replacement.""",
    "mAcc and aAcc": """Mean recall of the classes, and the share of all voxels that are right; true void left out.""",
}


def scores(content: ReportContent) -> str:
    end = max(0.01, *(max(m.miou, m.miou_interval[1]) for m in content.models)) * 1.04
    rows = "".join(_score_row(m, end, m is content.models[-1]) for m in content.models)
    terms = dict(TERMS)
    if content.device:
        terms["s a room"] = f"Seconds for one room, the median of the test rooms, on {content.device}."
    seconds = f"s a room<br><small>{escaped(content.device)}</small>" if content.device else "s a room"
    meanings = "".join(f"<div><dt>{term}</dt><dd>{escaped(meaning)}</dd></div>" for term, meaning in terms.items())
    return section(
        "scores",
        "Scores",
        '<div class="scroll"><table><thead><tr><th>model</th><th>mIoU %</th><th class="left">95 % interval</th>'
        '<th class="whisker"></th><th>mIoU %, published<br>definition</th><th class="left">95 % interval</th>'
        f"<th>mAcc %</th><th>aAcc %</th><th>parameters</th><th>{seconds}</th></tr></thead>"
        f"<tbody>{_teacher_row(content.teacher_2d)}{rows}</tbody></table></div>"
        f'<dl class="terms">{meanings}</dl>',
    )


def _teacher_row(teacher: Mapping[str, float]) -> str:
    miou, published, macc, aacc = (percent(teacher.get(k)) for k in ("miou", "miou_published", "macc", "aacc"))
    return (
        f'<tr class="other"><td>teacher <small>2D, pixels of panoramas</small></td><td>{miou}</td><td></td>'
        f'<td class="whisker"></td><td>{published}</td><td></td><td>{macc}</td><td>{aacc}</td><td></td><td></td></tr>'
    )


def _score_row(model: ModelScores, end: float, best: bool) -> str:
    kind = "best" if best else "model"
    return (
        f'<tr class="{kind}"><td>{escaped(model.name)}</td><td>{percent(model.miou)}</td>'
        f'<td class="left"><small>{_interval(model.miou_interval)}</small></td>'
        f'<td class="left whisker">{interval_mark(model.miou, model.miou_interval, end, best)}</td>'
        f"<td>{percent(model.miou_published)}</td>"
        f'<td class="left"><small>{_interval(model.miou_published_interval)}</small></td>'
        f"<td>{percent(model.macc)}</td><td>{percent(model.aacc)}</td>"
        f"<td>{_count(model.parameters)}</td><td>{_seconds(model.seconds_per_room)}</td></tr>"
    )


def as_published(content: ReportContent) -> str:
    """What the paper's tables of methods and of ablations have, in the published definitions."""
    networks = [model for model in content.models if model.parameters is not None]
    if not networks:
        return ""
    methods = "".join(
        f"<tr><td>{escaped(m.name)}</td><td>{_millions(m.parameters)}</td><td>{percent(m.miou_published, 2)}</td>"
        f"<td>{percent(m.macc_published, 2)}</td><td>{percent(m.aacc_published, 2)}</td></tr>"
        for m in networks
    )
    return section(
        "paper",
        "As in the paper",
        '<p class="note">The published definitions throughout: comparable with the paper where data, classes and '
        'split are its own.</p><div class="scroll"><table class="paper"><thead><tr><th>Method</th><th>#PARAM</th>'
        f"<th>mIoU ↑</th><th>mAcc ↑</th><th>aAcc ↑</th></tr></thead><tbody>{methods}</tbody></table></div>"
        f"{_changes(networks, content.ablations)}",
    )


def _changes(networks: Sequence[ModelScores], ablations: Sequence[tuple[str, str]]) -> str:
    """The last network beside the one that it was distilled from, and what each ablation shows."""
    named = {network.name: network for network in networks}
    pairs = [(networks[-2], networks[-1])] if len(networks) > 1 else []
    pairs += [(named[without], named[whole]) for without, whole in ablations]
    return "".join(_change(before, after) for before, after in pairs)


def _change(before: ModelScores, after: ModelScores) -> str:
    metrics = (
        ("mIoU ↑", before.miou_published, after.miou_published),
        ("mAcc ↑", before.macc_published, after.macc_published),
        ("aAcc ↑", before.aacc_published, after.aacc_published),
    )
    rows = "".join(
        f"<tr><td>{name}</td><td>{percent(old, 2)}</td><td>{percent(new, 2)}</td>"
        f"<td>{signed_points(new - old)}</td></tr>"
        for name, old, new in metrics
    )
    return (
        f'<div class="scroll"><table class="paper"><thead><tr><th></th><th>{escaped(before.name)}</th>'
        f"<th>{escaped(after.name)}</th><th>points</th></tr></thead><tbody>{rows}</tbody></table></div>"
    )


def room_scores(rooms: Sequence[RoomScore]) -> str:
    """A line a room, the best first; folded, because there may be hundreds."""
    if not rooms:
        return ""
    shown = sorted(rooms, key=lambda room: -room.miou)
    left_out = len(shown) - MOST_ROOMS
    note = ""
    if left_out > 0:
        shown = shown[: MOST_ROOMS // 2] + shown[-MOST_ROOMS // 2 :]
        note = f'<p class="note">{left_out} rooms of the middle are left out here; rooms.csv has all.</p>'
    lines = "".join(_room_row(room) for room in shown)
    return section(
        "every-room",
        "Every room",
        f"<details><summary>{len(rooms)} test rooms, the best first</summary>{note}"
        '<div class="scroll"><table><thead><tr><th>room</th><th class="left">type</th><th>size, m</th><th>mIoU %</th>'
        "<th>change</th><th>mIoU %, published<br>definition</th></tr></thead>"
        f"<tbody>{lines}</tbody></table></div></details>",
    )


def _room_row(room: RoomScore) -> str:
    size = " &times; ".join(f"{side:.1f}" for side in room.size_m)
    change = UNKNOWN if room.before is None else signed_points(room.miou - room.before)
    return (
        f'<tr><td>{escaped(room.room_id)}</td><td class="left">{escaped(room.room_type.replace("_", " "))}</td>'
        f"<td>{size}</td><td>{percent(room.miou)}</td><td>{change}</td><td>{percent(room.miou_published)}</td></tr>"
    )


def _interval(interval: tuple[float, float]) -> str:
    return f"{percent(interval[0])} to {percent(interval[1])}"


def _count(parameters: int | None) -> str:
    return UNKNOWN if parameters is None else f"{parameters:,}"


def _millions(parameters: int | None) -> str:
    return UNKNOWN if parameters is None else f"{parameters / 1e6:.2f}M"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    return f"{seconds:.2f}" if seconds < 60 else duration(seconds)
