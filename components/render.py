"""render: scenes -> rooms with panoramas."""

from kfp.dsl import Dataset, Metrics, Output


def render(
    config: str,
    store: str,
    tracking_uri: str,
    run_id: str,
    rooms: Output[Dataset],
    metrics: Output[Metrics],
) -> None:
    from roomseg.runtime.component import run_component

    inputs: dict[str, str] = {}
    run_component("render", config, store, tracking_uri, run_id, inputs, rooms.path, metrics)
