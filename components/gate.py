"""gate: is the distilled student better than the champion? Its answer decides whether ``register`` runs."""

from kfp.dsl import Artifact, Input, Markdown, Output


def gate(config: str, store: str, tracking_uri: str, evaluation: Input[Artifact], decision: Output[Markdown]) -> str:
    from roomseg.runtime.component import decide

    return decide(config, store, tracking_uri, evaluation.path, decision.path)
