"""Every page: its commands are ones that the programs take, and its links lead somewhere. Nothing is run here."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from pipeline import main as pipeline
from roomseg.cli import app
from roomseg.config import override
from roomseg.profiles import profile

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "helm/roomseg/README.md", *(ROOT / "docs").glob("*.md")]
TARGETS = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)


def pipeline_app() -> typer.Typer:
    application = typer.Typer()
    application.command()(pipeline)
    return application


PROGRAMS = {"roomseg": typer.main.get_command(app), "pipeline.py": typer.main.get_command(pipeline_app())}


def blocks_of(page: Path) -> list[list[str]]:
    """The commands of its code blocks, in words."""
    text = page.read_text().replace("\\\n", " ")
    lines = re.findall(r"^ {4}(.+)$", text, re.M) + "".join(re.findall(r"^```sh.*\n((?s:.*?))^```", text, re.M)).split(
        "\n"
    )
    return [shlex.split(each, comments=True) for line in lines for each in line.split(";") if _ours(each)]


def spans_of(page: Path) -> list[list[str]]:
    """The commands in its sentences and tables."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    spans = [" ".join(re.sub(r"\[(--.+?)\]", r"\1", span).split()) for span in re.findall(r"`([^`]+)`", text)]
    return [shlex.split(span) for span in spans if _ours(span)]


def _ours(line: str) -> bool:
    return re.match(r"\s*(roomseg|python (pipeline|scripts/\w+)\.py|make) ", line) is not None and "$" not in line


def check(words: list[str], whole: bool) -> None:
    """Raises the program's own usage error, or ``AssertionError`` for what is not there."""
    program, *rest = words if words[0] != "python" else words[1:]
    if program == "make":
        assert set(rest) <= set(TARGETS), words
    elif program in PROGRAMS:
        _parse(PROGRAMS[program], rest, whole)
    else:
        assert (ROOT / program).is_file(), words


def _parse(command: Any, words: list[str], whole: bool) -> None:
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    if not words and not whole:
        return
    if words[:1] in (["STAGE"], ["--install-completion"]):  # any of six; changes the reader's shell
        return
    assert not hasattr(command, "commands") or words[0].startswith("-"), f"no command {words[0]}"
    said = command.make_context("roomseg", list(words)).params
    if said.get("settings"):
        override(profile(said["profile"]), said["settings"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_are_ones_that_the_programs_take(page: Path) -> None:
    for words in blocks_of(page):
        check(words, whole=True)
    for words in spans_of(page):
        check(words, whole=False)


def test_the_readme_has_commands_and_a_wrong_one_is_found() -> None:
    assert len(blocks_of(ROOT / "README.md")) >= 10
    assert len(spans_of(ROOT / "README.md")) >= 10
    for wrong in ("roomseg predikt x", "python pipeline.py --locl", "roomseg render --set render.sorce=x", "make dmo"):
        with pytest.raises(Exception, match=r"predikt|locl|sorce|dmo"):
            check(shlex.split(wrong), whole=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    local = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in local if not (page.parent / link.partition("#")[0]).exists()] == []
