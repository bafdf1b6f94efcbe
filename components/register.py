"""register: the distilled student and its scores -> the model registry."""

from kfp.dsl import Artifact, Input, Metrics, Model, Output


def register(
    config: str,
    store: str,
    tracking_uri: str,
    run_id: str,
    distilled: Input[Model],
    evaluation: Input[Artifact],
    registration: Output[Artifact],
    metrics: Output[Metrics],
) -> None:
    from roomseg.runtime.component import run_component

    inputs: dict[str, str] = {"distilled": distilled.path, "evaluation": evaluation.path}
    run_component("register", config, store, tracking_uri, run_id, inputs, registration.path, metrics)
