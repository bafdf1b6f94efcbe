"""Write the table of values in ``helm/roomseg/README.md`` from the ``# --`` comments of ``values.yaml``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parent.parent / "helm" / "roomseg"
HEADER = """# roomseg chart

What a namespace needs besides Kubeflow Pipelines to run the roomseg pipeline: a service account with its rights, an
MLflow server with PostgreSQL, and, each by one value, an S3 server, quotas, a priority class and a served champion.

    helm install roomseg helm/roomseg --namespace perception --set s3.existingSecret=roomseg-s3

The table is made from the comments in [values.yaml](values.yaml) by `python scripts/helm_docs.py`; Helm refuses a value
that does not fit [values.schema.json](values.schema.json).

| value | default | what it does |
|---|---|---|
"""


def chart_readme(values_yaml: str) -> str:
    """The README's text; raises ``ValueError`` for a value without a comment."""
    rows, section, comment = [], "", []
    values = yaml.safe_load(values_yaml)
    for line in values_yaml.splitlines():
        text = line.strip()
        if text.startswith("# -- "):
            comment = [text.removeprefix("# -- ")]
        elif text.startswith("# ") and comment:
            comment.append(text.removeprefix("# "))
        elif text and not text.startswith("#"):
            key = text.partition(":")[0]
            if not line.startswith(" "):
                section = key
            elif line.startswith("  ") and not line.startswith("   "):
                rows.append(_row(section, key, values[section][key], " ".join(comment)))
            comment = []
    return HEADER + "\n".join(rows) + "\n"


def _row(section: str, key: str, value: Any, comment: str) -> str:
    if not comment:
        raise ValueError(f"{section}.{key} has no comment that starts with `# --`")
    shown = json.dumps(value) if not isinstance(value, str) else value or '""'
    return f"| `{section}.{key}` | `{shown}` | {comment} |"


if __name__ == "__main__":
    (CHART / "README.md").write_text(chart_readme((CHART / "values.yaml").read_text()))
