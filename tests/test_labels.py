"""Label sets as values, and the text that stands for one in files."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from roomseg.errors import UserError
from roomseg.labels import PANOROOMS3D, SCANNET20, LabelSet, label_set

OWN = LabelSet("robot", ("void", "floor", "wall"), ((0, 0, 0), (1, 2, 3), (255, 0, 7)), ("floor",))


@pytest.mark.parametrize("labels", [PANOROOMS3D, SCANNET20, OWN, replace(OWN, name="panorooms3d")])
def test_the_text_of_a_set_is_the_set(labels: LabelSet) -> None:
    assert label_set(labels.text) == labels


def test_sets_of_ours_go_by_their_names_and_others_whole() -> None:
    assert (PANOROOMS3D.text, SCANNET20.text) == ("panorooms3d", "scannet20")
    assert json.loads(OWN.text)["names"] == ["void", "floor", "wall"]
    assert OWN.text != replace(OWN, colors=((0, 0, 0), (1, 2, 3), (255, 0, 8))).text


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"names": ["void"], "colors": [[0, 0, 0]], "shell": []}, "got 0 classes besides void; expected 1 to 254"),
        ({"names": ["void", "a", "a"]}, "the class 'a' is there twice"),
        ({"names": ["a", "b", "void"], "shell": []}, "expected void first"),
        ({"shell": ["roof"]}, "with the shell"),
        ({"colors": [[0, 0, 0], [1, 2, 3]]}, "expected three numbers of 0 to 255 for each class"),
        ({"colors": [[0, 0, 0], [1, 2, 3], [1, 2, 256]]}, "expected three numbers of 0 to 255"),
        ({"colors": [[0, 0, 0], [1, 2, 3], [1, 2]]}, "a label set is damaged"),
        ({"colors": 3}, "a label set is damaged"),
        ({"name": 5}, "expected text"),
        ({"names": ["void", "floor", 3]}, "expected text"),
        ({"shell": None}, "a label set is damaged"),
    ],
)
def test_a_damaged_text(values: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        label_set(json.dumps({**json.loads(OWN.text), **values}))


@pytest.mark.parametrize("text", ["{", "{}", '{"name": "robot"'])
def test_a_text_that_is_cut_off(text: str) -> None:
    with pytest.raises(UserError, match="a label set is damaged"):
        label_set(text)


def test_an_unknown_name() -> None:
    with pytest.raises(UserError, match="label set 'ade20k' is unknown; there are panorooms3d, scannet20"):
        label_set("ade20k")
