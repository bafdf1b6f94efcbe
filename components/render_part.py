"""render, a part of it: several run at the same time, into one store."""

from kfp.dsl import Artifact, Output


def render_part(config: str, store: str, tracking_uri: str, run_id: str, shard: str, part: Output[Artifact]) -> None:
    from roomseg.runtime.component import run_part

    run_part("render", config, store, tracking_uri, run_id, shard, part.path)
