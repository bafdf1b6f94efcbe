"""evaluate: checkpoints and test rooms -> scores and the report."""

from typing import Optional

from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output


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
    confusion: Output[ClassificationMetrics],
    report: Output[HTML],
    baseline_unet3d: Optional[Input[Model]] = None,
    baseline_sparse_unet: Optional[Input[Model]] = None,
    baseline_sparse_unet_large: Optional[Input[Model]] = None,
    baseline_vtunet: Optional[Input[Model]] = None,
    ablation_no_skip: Optional[Input[Model]] = None,
    ablation_ce_only: Optional[Input[Model]] = None,
) -> None:
    from roomseg.runtime.component import run_component, show_evaluation

    inputs: dict[str, str] = {
        "rooms": rooms.path,
        "teacher": teacher.path,
        "pretrained": pretrained.path,
        "distilled": distilled.path,
    }
    compared = {
        "baseline_unet3d": baseline_unet3d,
        "baseline_sparse_unet": baseline_sparse_unet,
        "baseline_sparse_unet_large": baseline_sparse_unet_large,
        "baseline_vtunet": baseline_vtunet,
        "ablation_no_skip": ablation_no_skip,
        "ablation_ce_only": ablation_ce_only,
    }
    inputs |= {name: artifact.path for name, artifact in compared.items() if artifact is not None}
    manifest = run_component("evaluate", config, store, tracking_uri, run_id, inputs, evaluation.path, metrics)
    show_evaluation(manifest, store, confusion, report.path)
