"""The report: one HTML file that opens from disk, without scripts, fonts or anything else from a network."""

from __future__ import annotations

from pathlib import Path

from roomseg.report import sections, tables
from roomseg.report.content import ReportContent
from roomseg.report.style import STYLE
from roomseg.report.text import escaped


def write_report(content: ReportContent, path: Path) -> None:
    """Write the page; about 0.2 MB for each pictured room and each panorama."""
    path.write_text(page(content), encoding="utf-8")


def page(content: ReportContent) -> str:
    """The whole HTML text."""
    parts = (
        sections.heading(content),
        tables.scores(content),
        tables.as_published(content),
        sections.rooms(content),
        tables.room_scores(content.room_scores),
        sections.panoramas(content),
        sections.classes(content),
        sections.confusion(content),
        sections.curves(content),
        sections.timings(content),
        sections.facts(content),
        sections.credits_list(content.credits),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{escaped(content.title)}</title>'
        f"<style>{STYLE}</style></head>\n<body><main>\n" + "\n".join(parts) + "\n</main></body></html>\n"
    )
