"""render: scenes -> rooms with panoramas. Takes over what ``render_part`` made, and makes what is missing."""

from typing import List, Optional

from kfp.dsl import Artifact, Dataset, Input, Metrics, Output


def render(
    config: str,
    store: str,
    tracking_uri: str,
    run_id: str,
    rooms: Output[Dataset],
    metrics: Output[Metrics],
    parts: Optional[Input[List[Artifact]]] = None,  # what it waits for; the rooms are in the store
) -> None:
    from roomseg.runtime.component import run_component

    inputs: dict[str, str] = {}
    run_component("render", config, store, tracking_uri, run_id, inputs, rooms.path, metrics)
