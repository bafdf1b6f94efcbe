"""pretrain: blocks of rooms -> a 3D student."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output


def pretrain(
    config: str,
    store: str,
    tracking_uri: str,
    run_id: str,
    rooms: Input[Dataset],
    pretrained: Output[Model],
    metrics: Output[Metrics],
) -> None:
    from roomseg.runtime.component import run_component

    inputs: dict[str, str] = {"rooms": rooms.path}
    run_component("pretrain", config, store, tracking_uri, run_id, inputs, pretrained.path, metrics)
