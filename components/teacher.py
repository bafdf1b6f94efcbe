"""teacher: panoramas -> a finetuned 2D Segmenter."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output


def teacher(
    config: str,
    store: str,
    tracking_uri: str,
    run_id: str,
    rooms: Input[Dataset],
    segmenter: Output[Model],
    metrics: Output[Metrics],
) -> None:
    from roomseg.runtime.component import run_component

    inputs: dict[str, str] = {"rooms": rooms.path}
    run_component("teacher", config, store, tracking_uri, run_id, inputs, segmenter.path, metrics)
