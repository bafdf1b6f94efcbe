"""What is written beside a registered model: metadata for programs, a card for people. From facts alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from roomseg.labels import label_set


def metadata_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in the model's ``MLmodel``, of its ``model.json``: the order of classes is that of the labels."""
    labels = label_set(description["labels"])
    return {
        "network": description["network"],
        "voxel_m": description["voxel_m"],
        "truncation_voxels": description["truncation_voxels"],
        "label_set": labels.name,
        "classes": list(labels.names),
        "palette": ["#{:02x}{:02x}{:02x}".format(*color) for color in labels.colors],
    }


def model_card(name: str, metadata: Mapping[str, Any], scores: Mapping[str, float], tags: Mapping[str, str]) -> str:
    """Markdown. ``tags`` say what the model was made of; a score that is not known is left out."""
    measured = [(score, f"{value:.4f}") for score, value in scores.items() if math.isfinite(value)]
    pairs = zip(metadata["classes"], metadata["palette"], strict=True)
    facts = [
        ("network", metadata["network"]),
        ("voxel", f"{metadata['voxel_m'] * 100:g} cm, truncation {metadata['truncation_voxels']} voxels"),
        ("label set", metadata["label_set"]),
        *{"licence": "not stated", **tags}.items(),
    ]
    lines = [
        f"# {name}",
        "Indoor 3D semantic segmentation: a class for each voxel of a TSDF with colours.",
        _table(("fact", "value"), facts),
        "Whatever the licence, the terms of the data that it was trained on may bind.",
        "## Scores when it was registered",
        _table(("score", "value"), measured) if measured else "None: it was never evaluated here.",
        "## Classes",
        _table(("label", "class", "colour"), [(str(n), label, f"`{color}`") for n, (label, color) in enumerate(pairs)]),
    ]
    return "\n\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
