"""What is trained only to be compared with the student in ``evaluate``: baselines, and the paper's ablations.

Each is an ordinary ``pretrain`` or ``distill`` with another section, and an optional input of ``evaluate``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from roomseg.config import BaselineName, NetworkName, PipelineConfig, PretrainConfig, Section
from roomseg.errors import UsageError


@dataclass(frozen=True)
class Comparison:
    name: str  # in the configuration; what ``evaluate`` scores begins with it
    kind: str  # baseline, ablation
    title: str  # in reports
    stage: str  # that trains it

    @property
    def port(self) -> str:
        """The input of ``evaluate``, such as ``baseline_unet3d``."""
        return f"{self.kind}_{self.name}"

    @property
    def task(self) -> str:
        """In plans and in Kubeflow, such as ``pretrain-unet3d``."""
        return f"{self.stage}-{self.name}"


NO_SKIP = Comparison("no_skip", "ablation", "student without skip", "pretrain")
CE_ONLY = Comparison("ce_only", "ablation", "cross entropy alone", "distill")
BASELINES: dict[BaselineName, Comparison] = {
    name: Comparison(name, "baseline", f"baseline {name}", "pretrain") for name in get_args(BaselineName)
}
KNOWN = (*BASELINES.values(), NO_SKIP, CE_ONLY)


def comparisons(config: PipelineConfig) -> dict[Comparison, Section]:
    """What ``evaluate`` is to compare the student with, and the section that its stage trains it with.

    Raises ``UsageError`` for one that would be the student itself.
    """
    ablations = {NO_SKIP: config.pretrain.without_skip(), CE_ONLY: config.distill.cross_entropy_alone()}
    sections: dict[Comparison, Section] = {
        **{BASELINES[name]: config.pretrain.for_baseline(name) for name in config.evaluate.baselines},
        **{each: section for each, section in ablations.items() if each.name in config.evaluate.ablations},
    }
    for each, section in sections.items():
        if section == config.section(each.stage):
            raise UsageError(
                f"evaluate.{each.kind}s has {each.name}, which is what {each.stage} trains already: "
                f"leave it out, or change {each.stage}"
            )
    return sections


def network_of(section: Section, config: PipelineConfig) -> NetworkName:
    """The 3D network that is trained with a section of ``comparisons``."""
    return section.network if isinstance(section, PretrainConfig) else config.pretrain.network


def title_of(stage: str, values: Mapping[str, Any]) -> str:
    """The title of the baseline or ablation that the stage trains with these values of its section, else nothing.

    What a section did not have yet when it was stored has its default.
    """
    if stage == "pretrain" and values.get("network") in BASELINES:
        return BASELINES[values["network"]].title
    if stage == "pretrain" and not values.get("skip", True):
        return NO_SKIP.title
    if stage == "distill" and not values.get("weight", 1.0) and not values.get("feature_weight", 0.0):
        return CE_ONLY.title
    return ""
