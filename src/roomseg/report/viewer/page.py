"""The HTML file: buffers quantised, packed and in base64, with the page's own style and script."""

from __future__ import annotations

import base64
import json
import math
import zlib
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from roomseg.report.text import escaped
from roomseg.report.viewer.content import ViewerContent, ViewerSurface
from roomseg.report.viewer.reduce import reduced

MOST_BYTES = 9_500_000  # of the file
MOST_POINTS = 260_000  # of a mesh
MOST_CLOUD_POINTS = 500_000
FEWER = 0.75
POSITION_STEPS = 65535
POINT_OVERLAP, POINT_M = 1.9, (0.012, 0.08)  # of a cloud's points


def write_viewer(content: ViewerContent, path: Path) -> None:
    """Write the page, with as many points as fit into ``MOST_BYTES``."""
    most = MOST_CLOUD_POINTS if content.surface.is_cloud else MOST_POINTS
    while len(text := _page(content, reduced(content.surface, most))) > MOST_BYTES:
        most = int(FEWER * most)
    path.write_text(text, encoding="utf-8")


def _page(content: ViewerContent, surface: ViewerSurface) -> str:
    here = files(__package__)
    template, style, script = ((here / f"viewer.{end}").read_text("utf-8") for end in ("html", "css", "js"))
    pieces = {  # in the order of their marks
        "{{title}}": escaped(content.title),
        "{{style}}": style,
        "{{data}}": json.dumps(_data(content, surface), separators=(",", ":")).replace("<", "\\u003c"),
        "{{script}}": script,
    }
    return _filled(template, pieces)


def _filled(template: str, pieces: dict[str, str]) -> str:
    """Each mark in turn, so that a mark inside a piece stays as it is."""
    text, done = template, []
    for mark, piece in pieces.items():
        before, _, text = text.partition(mark)
        done += [before, piece]
    return "".join([*done, text])


def _data(content: ViewerContent, surface: ViewerSurface) -> dict[str, Any]:
    low, high = surface.points.min(axis=0), surface.points.max(axis=0)
    extent = np.maximum(high - low, 1e-6)
    steps = np.rint((surface.points - low) / extent * POSITION_STEPS)
    confidence = surface.confidence
    buffers = {
        "position": packed(steps.astype(np.uint16)),
        "normal": packed(np.rint(surface.normal * 127).astype(np.int8).view(np.uint8)),
        "color": packed(surface.color),
        "label": packed(surface.label[:, None]),
        "openness": packed(np.rint(surface.openness * 255).astype(np.uint8)[:, None]),
        "confidence": None if confidence is None else packed(np.rint(confidence * 255).astype(np.uint8)[:, None]),
        "index": None if surface.is_cloud else packed(surface.faces.astype(np.uint32)),
    }
    return {
        "title": content.title,
        "facts": content.facts,
        "warnings": content.warnings,
        "classes": [
            {"id": c.id, "name": c.name, "color": c.color, "area": c.area_m2, "share": c.share, "points": c.points}
            for c in content.classes
        ],
        "points": len(surface.points),
        "pointSize": round(_point_size_m(content, surface), 4),
        "low": low.round(4).tolist(),
        "extent": extent.round(4).tolist(),
        "buffers": buffers,
    }


def _point_size_m(content: ViewerContent, surface: ViewerSurface) -> float:
    """So large that a cloud's points just close, were they evenly spread."""
    area_m2 = sum(each.area_m2 for each in content.classes)
    spacing = math.sqrt(area_m2 / max(len(surface.points), 1))
    return min(max(POINT_OVERLAP * spacing, POINT_M[0]), POINT_M[1])


def packed(values: np.ndarray) -> str:  # (n, c) unsigned
    """Differences down the columns, modulo the type, their bytes in planes, deflated, in base64."""
    rows = values.copy()
    rows[1:] -= values[:-1]
    planes = np.ascontiguousarray(rows.astype(rows.dtype.newbyteorder("<"))).view(np.uint8).reshape(len(rows), -1).T
    return base64.b64encode(zlib.compress(planes.tobytes(), 9)).decode()
