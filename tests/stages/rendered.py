"""Running the render stage and looking at what it made."""

import tempfile
from functools import cache
from pathlib import Path

from roomseg.config import RenderConfig, override
from roomseg.profiles import demo
from roomseg.runtime.artifacts import StoreArtifactReader
from roomseg.runtime.manifest import Manifest
from roomseg.runtime.stage import run_shard, run_stage
from roomseg.runtime.storage import open_store


def configured(*settings: str) -> RenderConfig:
    return override(demo(), [f"render.{setting}" for setting in settings]).render


def scripted(folder: Path, *settings: str) -> RenderConfig:
    """Of the scripted source in the folder; shards of two rooms."""
    source = ["source=rgbd", f"rgbd_root={folder}", "rooms_per_shard=2", "workers=2", "max_quarantined_share=1"]
    return configured(*source, *settings)


def render(config: RenderConfig, store: Path) -> Manifest:
    return run_stage("render", config, store=str(store), inputs={}, run_id="test", tracking_uri=tracking())


def render_part(config: RenderConfig, store: Path, shard: tuple[int, int]) -> None:
    where = {"store": str(store), "tracking_uri": tracking()}
    run_shard("render", config, inputs={}, run_id="test", shard=shard, **where)


@cache
def tracking() -> str:
    """One MLflow database for all the stores: to make its tables takes seconds."""
    return f"sqlite:///{tempfile.mkdtemp()}/mlflow.db"


def reader(manifest: Manifest, store: Path) -> StoreArtifactReader:
    return StoreArtifactReader(open_store(str(store)), manifest, store)


def names(manifest: Manifest) -> list[str]:
    return [entry.name for entry in manifest.files]
