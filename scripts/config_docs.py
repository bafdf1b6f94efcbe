"""Write ``docs/config.md`` from the fields of ``config.py``: names, types, values by profile, and the comments."""

from __future__ import annotations

import ast
import inspect
import io
import json
import tokenize
from pathlib import Path
from typing import Any

from roomseg import config, profiles
from roomseg.config import NOT_IN_FINGERPRINT, SECTIONS, PipelineConfig

PAGE = Path(__file__).parent.parent / "docs" / "config.md"
PROFILES = (profiles.demo, profiles.paper)
HEADER = """# Every value of the configuration

Each is set by `--set SECTION.NAME=VALUE`, such as `--set teacher.epochs=3`. Where a value differs, the stages from its
section on run again; the values marked * only say how to run, and change nothing that comes out. Where the values of
`paper` come from is said beside them in [profiles.py](../src/roomseg/profiles.py).

Made by `python scripts/config_docs.py` from [config.py](../src/roomseg/config.py).
"""


def config_page() -> str:
    comments, shown = field_comments(inspect.getsource(config)), [make() for make in PROFILES]
    return "\n".join([HEADER, *(_section(name, comments, shown) for name in SECTIONS)])


def field_comments(source: str) -> dict[tuple[str, str], str]:
    """(class, field) -> the comment on one of the lines of its definition, or the empty string."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    by_line = {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}
    return {
        (model.name, field.target.id): " ".join(
            by_line[line] for line in range(field.lineno, (field.end_lineno or field.lineno) + 1) if line in by_line
        )
        for model in ast.parse(source).body
        if isinstance(model, ast.ClassDef)
        for field in model.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    }


def _section(name: str, comments: dict[tuple[str, str], str], shown: list[PipelineConfig]) -> str:
    model = SECTIONS[name]
    names = " | ".join(f"`{config.profile}`" for config in shown)
    lines = [f"## {name}", "", f"| name | {names} | takes | |", "|---" * (len(shown) + 3) + "|"]
    for key, schema in model.model_json_schema()["properties"].items():
        mark = " *" if model.model_fields[key].json_schema_extra == NOT_IN_FINGERPRINT else ""
        values = " | ".join(f"`{_value(config, name, key)}`" for config in shown)
        lines.append(f"| `{key}`{mark} | {values} | {_takes(schema)} | {_cell(comments[model.__name__, key])} |")
    return "\n".join([*lines, ""])


def _value(shown: PipelineConfig, section: str, key: str) -> str:
    return json.dumps(shown.section(section).model_dump(mode="json")[key])


def _takes(schema: dict[str, Any]) -> str:
    """A JSON schema in words."""
    if "anyOf" in schema:
        return " or ".join(_takes(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "prefixItems" in schema:
        return f"{len(schema['prefixItems'])} of: {_takes(schema['prefixItems'][0])}"
    if schema["type"] == "array":
        return f"list of: {_takes(schema['items'])}"
    if schema["type"] == "object":
        return f"names, each with a {_takes(schema['additionalProperties'])}"
    words = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true, false", "null": "null"}
    bounds = {
        "exclusiveMinimum": "> {}",
        "minimum": ">= {}",
        "exclusiveMaximum": "< {}",
        "maximum": "<= {}",
        "multipleOf": "multiple of {}",
    }
    return ", ".join([words[schema["type"]], *(text.format(schema[b]) for b, text in bounds.items() if b in schema)])


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(config_page())
