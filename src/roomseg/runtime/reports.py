"""An evaluation's files under their own names in one folder, so that its page finds the views that it links to."""

from __future__ import annotations

import shutil
from pathlib import Path

from roomseg.runtime.artifacts import StoreArtifactReader, cache_dir
from roomseg.runtime.manifest import Manifest
from roomseg.runtime.storage import Store

PAGE = "report.html"


def copy_report(store: Store, evaluation: Manifest, folder: Path) -> Path:
    """Copy all files of the evaluation into the folder; where the page is."""
    artifact = StoreArtifactReader(store, evaluation, cache_dir(store))
    for name in artifact.names():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.path(name), target)
    return folder / PAGE
