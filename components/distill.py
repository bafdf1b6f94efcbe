"""distill: rooms, teacher and student -> the distilled student."""

from kfp.dsl import Dataset, Input, Metrics, Model, Output


def distill(
    config: str,
    store: str,
    tracking_uri: str,
    run_id: str,
    rooms: Input[Dataset],
    teacher: Input[Model],
    pretrained: Input[Model],
    distilled: Output[Model],
    metrics: Output[Metrics],
) -> None:
    from roomseg.runtime.component import run_component

    inputs: dict[str, str] = {"rooms": rooms.path, "teacher": teacher.path, "pretrained": pretrained.path}
    run_component("distill", config, store, tracking_uri, run_id, inputs, distilled.path, metrics)
