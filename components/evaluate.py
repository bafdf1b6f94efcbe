"""evaluate: checkpoints and test rooms -> scores and the report."""

from kfp.dsl import Artifact, Dataset, Input, Metrics, Model, Output


def evaluate(
    config: str,
    store: str,
    tracking_uri: str,
    run_id: str,
    rooms: Input[Dataset],
    teacher: Input[Model],
    pretrained: Input[Model],
    distilled: Input[Model],
    evaluation: Output[Artifact],
    metrics: Output[Metrics],
) -> None:
    from roomseg.runtime.component import run_component

    inputs: dict[str, str] = {
        "rooms": rooms.path,
        "teacher": teacher.path,
        "pretrained": pretrained.path,
        "distilled": distilled.path,
    }
    run_component("evaluate", config, store, tracking_uri, run_id, inputs, evaluation.path, metrics)
