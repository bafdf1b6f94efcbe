"""What is trained to be compared with the student, and how it differs from it."""

from __future__ import annotations

from typing import get_args

import pytest

from components.evaluate import evaluate
from roomseg.comparisons import BASELINES, CE_ONLY, KNOWN, NO_SKIP, comparisons, title_of
from roomseg.config import AblationName, BaselineName, override
from roomseg.errors import UsageError
from roomseg.profiles import demo, paper

ALL = ['evaluate.baselines=["vtunet"]', 'evaluate.ablations=["ce_only","no_skip"]']


def test_a_run_compares_with_nothing_unless_it_is_asked_to() -> None:
    assert (comparisons(demo()), comparisons(paper())) == ({}, {})


def test_an_ablation_differs_from_the_student_in_one_thing() -> None:
    config = override(paper(), [*ALL, "distill.feature_weight=0.5", "distill.band_weight=0.5", "distill.views=2"])
    found = comparisons(config)
    assert list(found) == [BASELINES["vtunet"], NO_SKIP, CE_ONLY]
    assert found[NO_SKIP] == config.pretrain.model_copy(update={"skip": False})
    assert found[CE_ONLY] == config.distill.model_copy(update={"weight": 0.0, "feature_weight": 0.0})
    assert found[BASELINES["vtunet"]] == config.pretrain.for_baseline("vtunet")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["pretrain.skip=false"], "evaluate.ablations has no_skip, which is what pretrain trains already: leave it"),
        (["distill.weight=0"], "evaluate.ablations has ce_only, which is what distill trains already: leave it"),
        (["pretrain.network=vtunet"], "evaluate.baselines has vtunet, which is what pretrain trains already: leave it"),
    ],
)
def test_the_student_itself_is_refused(settings: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        comparisons(override(paper(), [*ALL, *settings]))


def test_every_name_of_the_configuration_is_an_input_of_the_component() -> None:
    assert {each.name for each in KNOWN} == {*get_args(BaselineName), *get_args(AblationName)}
    optional = {name for name in evaluate.__annotations__ if name.startswith(("baseline_", "ablation_"))}
    assert optional == {each.port for each in KNOWN}


def test_only_the_student_is_not_made_to_be_compared() -> None:
    config = override(paper(), ALL)
    for each, section in comparisons(config).items():
        assert title_of(each.stage, section.model_dump()) == each.title
    other = override(config, ["distill.weight=0", "distill.feature_weight=1", "pretrain.network=L"])
    for stage in ("render", "teacher", "pretrain", "distill", "evaluate"):
        for students in (config, other):
            assert title_of(stage, students.section(stage).model_dump()) == ""
