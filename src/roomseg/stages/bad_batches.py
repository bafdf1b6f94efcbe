"""Batches that gave a loss or a gradient that is not finite, kept so that one can look at them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import torch

from roomseg.ports import StageContext


def batch_keeper(ctx: StageContext) -> Callable[[str, Any], str]:
    """Writes a batch into the scratch folder and the artifact; ``torch.load(path, weights_only=True)`` reads it."""

    def keep(name: str, batch: Any) -> str:
        path = ctx.work_dir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(_plain(batch), path)
        ctx.outputs.add(name, path)
        return str(path)

    return keep


def _plain(value: Any) -> Any:
    """Dataclasses as dicts, all the way down."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
