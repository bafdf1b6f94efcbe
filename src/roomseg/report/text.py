"""How the page writes numbers and marks up text. Everything that came from outside goes through ``escaped``."""

from __future__ import annotations

import base64
import html
import math

from roomseg.labels import LabelSet


def escaped(text: object) -> str:
    """Text that is safe between tags and in quoted attributes."""
    return html.escape(str(text), quote=True)


def percent(fraction: float | None, digits: int = 1) -> str:
    """A fraction of 1 in percent without the sign; a dash for none."""
    if fraction is None or not math.isfinite(fraction):
        return "\N{EN DASH}"
    return f"{100 * fraction:.{digits}f}"


def signed_points(difference: float) -> str:
    """A difference of two fractions in percentage points, with its sign."""
    return f"{100 * difference:+.1f}".replace("-", "\N{MINUS SIGN}")


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def short_number(value: float) -> str:
    """A tick's label: 0.25, 40, 12k."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    return f"{value:.6g}"


def css_color(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def class_name(labels: LabelSet, class_id: int) -> str:
    """The name after its colour."""
    swatch = f'<i class="swatch" style="background:{css_color(labels.colors[class_id])}"></i>'
    return swatch + escaped(labels.names[class_id])


def image(data: bytes, kind: str, alt: str, size: tuple[int, int]) -> str:
    """An inline picture; ``kind`` is png or webp, ``size`` height and width."""
    code = base64.b64encode(data).decode()
    return f'<img src="data:image/{kind};base64,{code}" alt="{escaped(alt)}" width="{size[1]}" height="{size[0]}">'


def section(anchor: str, title: str, body: str) -> str:
    return f'<section id="{anchor}"><h2>{title}</h2>{body}</section>'
