"""docs/architecture.md and its drawing: what they name is there, and the layers are those that the linter enforces."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from roomseg.runtime.cache import StoreCache
from roomseg.runtime.checkpoints import StoreCheckpoints
from roomseg.runtime.stage import STAGES
from roomseg.runtime.storage import open_store
from roomseg.splits import SPLITS
from tests.stages.rendered import render, scripted
from tests.stages.scripted_source import open_scripted, write_script

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
SOURCE = ROOT / "src" / "roomseg"


def table(heading: str) -> list[list[str]]:
    """The cells of the page's table under this heading row."""
    text = PAGE.read_text()
    rows = text[text.index(f"| {heading}") :].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip("|"))] for row in rows]


def drawn() -> list[str]:
    texts = ElementTree.parse(PAGE.with_suffix(".svg")).iter("{http://www.w3.org/2000/svg}text")
    return ["".join(text.itertext()) for text in texts]


def test_a_link_says_where_it_leads() -> None:
    links = re.findall(r"\[([^\]]+)\]\(([^)]+)\)", PAGE.read_text())
    assert len(links) > 40
    for text, target in links:
        path = (PAGE.parent / target).resolve()
        assert path.exists(), target
        if text.endswith((".py", ".md", "/")):
            assert path.is_dir() == text.endswith("/"), text
            assert str(path).endswith(f"/{text.rstrip('/')}"), (text, target)


def test_files_are_named_as_links() -> None:
    text = re.sub(r"\[[^\]]+\]\([^)]+\)", "", PAGE.read_text())
    assert re.findall(r"\w+\.py\b|\bsrc/", text) == []


def test_the_layers_are_those_of_the_linter() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    assert [row[0].strip("`").replace("\\|", "|") for row in table("layer")] == layers


def test_the_stages_are_all_there_in_order() -> None:
    assert [row[0].strip("`") for row in table("stage")] == list(STAGES)
    assert [text for text in drawn() if text in STAGES] == list(STAGES)


def test_what_the_drawing_names_is_there() -> None:
    named = [word for text in drawn() for word in re.findall(r"[\w/]+(?:\.py\b|/$)", text)]
    assert {"cli.py", "runtime/stage.py", "ports.py", "components/", "stages/", "tests/"} <= set(named)
    store = {row[0].strip("`") for row in table("below the store")} | {"added/"}
    for name in set(named) - store - {"runs/"}:
        assert (ROOT / name).exists() or (SOURCE / name).exists(), name


def test_a_store_has_the_folders_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roomseg.stages.render.open_source", open_scripted)
    monkeypatch.setattr("roomseg.stages.sources.open_source", open_scripted)
    write_script(tmp_path, [(f"room-{split}", split, "") for split in SPLITS])
    folder = tmp_path / "store"
    manifest = render(scripted(tmp_path, "workers=1"), folder)
    store = open_store(str(folder))
    StoreCheckpoints(store, manifest.stage, manifest.fingerprint, tmp_path, print).save(1, {"step": 1})
    StoreCache(store, folder, print).put("hits/f00d", b"found")
    told = {row[0].strip("`") for row in table("below the store")} | {"work/"}
    assert "`work/`" in PAGE.read_text()
    marks = {"STAGE": manifest.stage, "FINGERPRINT": manifest.fingerprint, "RUN": "test"}
    places = {re.sub("|".join(marks), lambda found: marks[found[0]], each) for each in told}
    assert {each.name for each in folder.iterdir() if each.is_dir()} == {place.split("/")[0] for place in places}
    assert [place for place in places if not (folder / place).is_dir()] == []
