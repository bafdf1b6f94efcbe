from __future__ import annotations

import numpy as np
import pytest

from roomseg.errors import UserError
from roomseg.front3d_names import MERGED, NAMES
from roomseg.labels import PANOROOMS3D
from roomseg.scenes.front3d.classes import ALIASES, furniture_raw_id, mesh_raw_id

# The merged class of each raw id, as the merge of PanoRooms3D is published.
PUBLISHED_MERGE = [
    *(0, 1, 2, 3, 1, 4, 2, 5, 6, 7, 7, 10, 3, 11, 8, 12, 8, 13, 7, 6, 13, 5, 2, 2, 17, 9, 12, 14, 2, 15, 1, 1, 6),
    *(6, 10, 9, 3, 1, 16, 17, 17, 18, 19, 14, 5, 14, 7, 2, 2, 17, 8, 20, 1, 1, 14, 2, 2, 17, 5, 21, 17, 14, 20, 22),
    *(23, 10, 14, 13, 3, 2, 13, 8, 3, 24, 2, 17, 2, 25, 8, 20, 3, 3, 26, 8, 27, 17, 10, 13, 13, 7, 14, 2, 28, 17, 9),
    *(17, 7, 29, 5),
]


def test_the_merge_is_the_published_one() -> None:
    assert MERGED.tolist() == PUBLISHED_MERGE
    assert len(NAMES) == len(set(NAMES)) == 99
    assert set(MERGED.tolist()) == set(range(len(PANOROOMS3D)))
    assert np.flatnonzero(MERGED == 0).tolist() == [0]


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("WallInner", 40),
        (" Floor ", 51),
        ("", 0),
        ("Customized_wainscot", 97),
        ("Hole", 7),
        ("SmartCustomizedCeiling", 1),
    ],
)
def test_a_mesh_is_named_by_its_type(kind: str, raw: int) -> None:
    assert mesh_raw_id(kind) == raw


@pytest.mark.parametrize(
    ("category", "title", "merged"),
    [
        ("King-size Bed", "", "bed"),
        ("Double Bed", "", "bed"),
        ("Coffee Table", "", "table"),
        ("Three-seat / Multi-seat Sofa", "", "sofa"),
        ("Three-Seat/Multi-person  sofa", "", "sofa"),
        ("Lounge Chair / Cafe Chair / Office Chair", "", "chair"),
        ("Sideboard / Side Cabinet / Console table", "", "cabinet"),
        ("Wine Cabinet", "", "appliance"),
        ("Footstool / Sofastool / Bed End Stool / Stool", "", "stool"),
        ("", "lighting/pendant light", "lamp"),
        ("", "plants", "plant"),
        ("植物", "plants/flower", "plant"),
        ("Wardrobe", "bed/double", "wardrobe"),
    ],
)
def test_furniture_is_named_by_its_category_or_its_titles_group(category: str, title: str, merged: str) -> None:
    assert PANOROOMS3D.names[MERGED[furniture_raw_id(category, title)]] == merged


def test_aliases_lead_to_names_of_the_table() -> None:
    assert set(ALIASES.values()) <= set(NAMES)
    assert not set(ALIASES) & set(NAMES)


def test_what_has_no_name_is_told() -> None:
    with pytest.raises(UserError, match="mesh type 'Spaceship' is none of the 99 names"):
        mesh_raw_id("Spaceship")
    with pytest.raises(UserError, match="neither category nor title"):
        furniture_raw_id("", " ")
    with pytest.raises(UserError, match="category '植物' and title '' are none of the 99"):
        furniture_raw_id("植物", "")
