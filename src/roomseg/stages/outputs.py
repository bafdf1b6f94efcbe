"""What several stages read and write alike."""

from __future__ import annotations

import json
from typing import Any

from roomseg.ports import ArtifactReader, StageContext


def add_json(ctx: StageContext, name: str, value: Any) -> None:
    path = ctx.work_dir / name
    path.write_text(json.dumps(value, sort_keys=True))
    ctx.outputs.add(name, path)


def read_json(artifact: ArtifactReader, name: str) -> Any:
    return json.loads(artifact.path(name).read_text())
