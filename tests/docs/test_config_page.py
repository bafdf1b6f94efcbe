"""docs/config.md: made from the source, up to date, and complete."""

from __future__ import annotations

import inspect

from roomseg import config
from roomseg.config import SECTIONS
from scripts.config_docs import PAGE, config_page, field_comments


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == config_page(), "run `python scripts/config_docs.py`"


def test_every_value_is_on_it_once_with_its_comment_and_profiles() -> None:
    page = config_page()
    rows = [line for line in page.splitlines() if line.startswith("| `") and not line.startswith("| `demo`")]
    assert len(rows) == sum(len(model.model_fields) for model in SECTIONS.values())
    assert "| `voxel_m` | `0.04` | `0.04` | number, > 0 | side of a voxel |" in rows
    workers = "| `workers` * | `0` | `0` | whole number, >= 0 | 0: one a core |"
    assert workers in rows


def test_every_value_is_described() -> None:
    comments = field_comments(inspect.getsource(config))
    fields = [(model.__name__, name) for model in SECTIONS.values() for name in model.model_fields]
    assert [field for field in fields if not comments[field]] == []


def test_comments_are_those_of_the_field_wherever_they_stand_in_it() -> None:
    source = (
        "class A:\n    x: int = 1  # one\n    y: int = (\n        2  # two\n    )\n    z: str = '# no'\n    # loose\n"
    )
    assert field_comments(source) == {("A", "x"): "one", ("A", "y"): "two", ("A", "z"): ""}
