"""Charts as inline SVG and HTML bars, coloured by the page's style sheet, so that they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from roomseg.labels import VOID, LabelSet
from roomseg.report.text import class_name, css_color, duration, escaped, percent, short_number

MAX_POINTS = 240  # of a line: more would only make the page heavy
LOG_FROM = 20.0  # largest over smallest value from which a falling loss is drawn on a logarithmic axis


@dataclass(frozen=True)
class Frame:
    """The plot area of a line chart in its SVG, pixels, and the values at its edges."""

    x: tuple[float, float]
    y: tuple[float, float]
    log: bool = False
    width: int = 360
    height: int = 170
    left: int = 44
    right: int = 12
    top: int = 10
    bottom: int = 26

    def place(self, x: float, y: float) -> tuple[float, float]:
        low, high, y = (*map(math.log, self.y), math.log(y)) if self.log else (*self.y, y)
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (y - low) / (high - low)
        plot_width, plot_height = self.width - self.left - self.right, self.height - self.top - self.bottom
        return self.left + across * plot_width, self.top + (1 - up) * plot_height


def interval_mark(value: float, interval: tuple[float, float], end: float, strong: bool) -> str:
    """A dot with its interval on a scale from 0 to ``end``."""
    width, height = 150.0, 18.0
    low, at, high = (4 + (width - 8) * min(max(v / end, 0.0), 1.0) for v in (interval[0], value, interval[1]))
    kind = "mark strong" if strong else "mark"
    return (
        f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{percent(value)} of 100">'
        f'<line class="rail" x1="4" x2="{width - 4:g}" y1="9" y2="9"/>'
        f'<line class="span" x1="{low:.1f}" x2="{high:.1f}" y1="9" y2="9"/>'
        f'<circle cx="{at:.1f}" cy="9" r="4.5"/></svg>'
    )


def class_bars(values: Sequence[float | None], before: Sequence[float | None] | None, labels: LabelSet) -> str:
    """IoU of each class that has one, the best first; ``before`` is the thin bar under it."""
    present = [k for k, value in enumerate(values) if value is not None]
    present.sort(key=lambda k: -(values[k] or 0.0))
    return "".join(_class_bar(labels, k, values[k] or 0.0, before[k] if before else None) for k in present)


def _class_bar(labels: LabelSet, class_id: int, value: float, before: float | None) -> str:
    color = css_color(labels.colors[class_id])
    thin = "" if before is None else f'<b class="before" style="width:{percent(before, 2)}%"></b>'
    change = "" if before is None else f'<span class="was">{percent(before)} →</span> '
    return (
        f'<li><span class="name">{class_name(labels, class_id)}</span>'
        f'<span class="track"><b style="width:{percent(value, 2)}%;background:{color}"></b>{thin}</span>'
        f'<span class="num">{change}<strong>{percent(value)}</strong></span></li>'
    )


def duration_bars(timings: Sequence[tuple[str, float]]) -> str:
    longest = max((seconds for _, seconds in timings), default=0.0) or 1.0
    return "".join(
        f'<li><span class="name">{escaped(stage)}</span>'
        f'<span class="track"><b class="plain" style="width:{100 * seconds / longest:.2f}%"></b></span>'
        f'<span class="num">{duration(seconds)}</span></li>'
        for stage, seconds in timings
    )


def confusion_chart(counts: np.ndarray, labels: LabelSet) -> str:  # (K, K): rows truth, columns prediction
    """A heat map of the rows' shares; true void is left out, as in the scores."""
    names = [escaped(name) for name in labels.names]
    judged = counts.copy()
    judged[VOID] = 0
    rows = np.flatnonzero(judged.sum(axis=1)).tolist()
    columns = np.flatnonzero(judged.sum(axis=1) + judged.sum(axis=0)).tolist()
    cell, left, top = 24, 118, 112
    width, height = left + cell * len(columns) + 6, top + cell * len(rows) + 6
    parts = [f'<text class="axis" x="{left - 8}" y="{top - 10}" text-anchor="end">truth ↓ predicted →</text>']
    for c, column in enumerate(columns):
        x, y = left + cell * (c + 0.5) + 4, top - 6
        parts.append(f'<text x="{x:g}" y="{y}" transform="rotate(-60 {x:g} {y})">{names[column]}</text>')
    for r, row in enumerate(rows):
        y = top + cell * r
        parts.append(f'<text x="{left - 8}" y="{y + 16}" text-anchor="end">{names[row]}</text>')
        shares = judged[row] / judged[row].sum()
        for c, column in enumerate(columns):
            tip = f"{names[row]} → {names[column]}: {percent(shares[column])} %"
            parts.append(_cell(left + cell * c, y, cell, row == column, shares[column], tip))
    return (
        f'<svg class="confusion" viewBox="0 0 {width} {height}" style="min-width:{round(width * 0.8)}px" role="img" '
        f'aria-label="confusion matrix">{"".join(parts)}</svg>'
    )


def _cell(x: int, y: int, size: int, right: bool, share: float, tip: str) -> str:
    kind = "right" if right else "wrong"
    title = f"<title>{tip}</title>"
    box = f'x="{x + 1}" y="{y + 1}" width="{size - 2}" height="{size - 2}" rx="3"'
    if share < 0.005:
        return f'<rect class="nil" {box}>{title}</rect>'
    tile = f'<rect class="{kind}" fill-opacity="{0.06 + 0.94 * share:.3f}" {box}>{title}</rect>'
    if share < 0.1:
        return tile
    tone = "cell on" if share > 0.5 else "cell"
    return f'{tile}<text class="{tone}" x="{x + size / 2:g}" y="{y + 16}">{percent(share, 0)}</text>'


def line_chart(points: Sequence[tuple[float, float]], last_step: float, label: str, dots: bool) -> str:
    """A line over steps; ``points`` are finite (step, value) pairs in order; ``dots`` marks each of them."""
    points = points if dots else thinned(points)
    frame = _frame([value for _, value in points], last_step)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (frame.place(*point) for point in points))
    marked = [frame.place(*point) for point in points] if dots or len(points) == 1 else []
    circles = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in marked)
    return (
        f'<svg class="line" viewBox="0 0 {frame.width} {frame.height}" role="img" aria-label="{escaped(label)}">'
        f'{_axes(frame)}<polyline points="{path}"/>'
        f"{circles}</svg>"
    )


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most ``MAX_POINTS``: means of runs of neighbours."""
    runs = np.array_split(np.asarray(points, np.float64), min(len(points), MAX_POINTS))
    return [(float(run[:, 0].mean()), float(run[:, 1].mean())) for run in runs]


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) within the range."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(step * k, 12) for k in range(first, last + 1)]


def _frame(values: Sequence[float], last_step: float) -> Frame:
    low, high = min(values), max(values)
    log = low > 0 and high / low >= LOG_FROM
    if log:
        spread = (low / 1.15, high * 1.15)
    else:
        room = 0.08 * (high - low) or abs(high) * 0.1 or 1.0
        spread = (max(0.0, low - room) if low >= 0 else low - room, high + room)
    return Frame((0.0, max(last_step, 1.0)), spread, log)


def _axes(frame: Frame) -> str:
    parts = []
    for tick in _log_ticks(frame.y) if frame.log else nice_ticks(*frame.y):
        y = frame.place(frame.x[0], tick)[1]
        parts.append(
            f'<line class="grid" x1="{frame.left}" x2="{frame.width - frame.right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(f'<text x="{frame.left - 7}" y="{y + 3.5:.1f}" text-anchor="end">{short_number(tick)}</text>')
    for tick in nice_ticks(*frame.x):
        x = frame.place(tick, frame.y[1])[0]
        parts.append(f'<text x="{x:.1f}" y="{frame.height - 8}" text-anchor="middle">{short_number(tick)}</text>')
    return "".join(parts)


def _log_ticks(spread: tuple[float, float]) -> list[float]:
    powers = range(math.floor(math.log10(spread[0])), math.ceil(math.log10(spread[1])) + 1)
    ticks = [m * 10.0**p for p in powers for m in (1, 2, 5)]
    ticks = [tick for tick in ticks if spread[0] <= tick <= spread[1]]
    return [t for t in ticks if math.isclose(math.log10(t) % 1, 0, abs_tol=1e-9)] if len(ticks) > 6 else ticks
