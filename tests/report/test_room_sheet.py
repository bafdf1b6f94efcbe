from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from roomseg.data.rooms import Panorama, Room
from roomseg.geometry.equirect import directions
from roomseg.labels import PANOROOMS3D
from roomseg.report.room_sheet import AGREE, COLUMN, DIFFER, GAP, MARGIN, MISS, WIDTH, room_sheet

FLOOR, WALL, TABLE = (PANOROOMS3D.id(name) for name in ("floor", "wall", "table"))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rays from above."""
    monkeypatch.setattr("roomseg.report.room_sheet.TOP_VIEW", (64, 96))


def box_room() -> Room:
    """2 x 2 x 1.2 m, seen from inside: floor and walls, no ceiling; a panorama from its middle with exact labels."""
    shape, voxel_m, truncation = (61, 61, 36), 0.04, 5
    x, y, z = (axis.astype(float) for axis in np.indices(shape))
    to_wall = np.minimum.reduce([x - 5, 55 - x, y - 5, 55 - y])
    to_floor = z - 5
    distance = np.minimum(to_wall, to_floor)
    tsdf = np.rint(np.clip(distance / truncation, -1, 1) * 127).astype(np.int8)
    tsdf[distance < -truncation] = 127
    full = tsdf < 127
    label = np.where(to_floor <= to_wall, FLOOR, WALL).astype(np.uint8) * full.astype(np.uint8)
    rgb = (np.array([200, 40, 40]) * full[..., None]).astype(np.uint8)
    rays = directions(32)
    to_walls_m = (25 / np.maximum(np.abs(rays[..., :2]), 1e-9)).min(axis=-1)
    on_floor = (rays[..., 2] < 0) & (-15 / np.minimum(rays[..., 2], -1e-9) < to_walls_m)
    view = Panorama(
        np.array([30, 30, 20]) * voxel_m,
        np.full((32, 64, 3), 77, np.uint8),
        np.where(on_floor, FLOOR, WALL).astype(np.uint8),
    )
    return Room("box", "house", "train", np.zeros(3), voxel_m, tsdf, rgb, label, panoramas=(view,))


def hits_of(sheet: np.ndarray) -> np.ndarray:
    """The third panel of the first row."""
    left = MARGIN + 2 * (COLUMN + GAP)
    return sheet[150 : 150 + 32, left : left + 64]


def share(picture: np.ndarray, color: tuple[int, int, int]) -> float:
    return float((picture == color).all(axis=-1).mean())


def test_rays_hit_with_their_labels_or_are_shown_otherwise() -> None:
    room = box_room()
    right = hits_of(room_sheet(room))
    assert share(right, AGREE) + share(right, DIFFER) + share(right, MISS) == 1
    assert share(right, MISS) > 0.15  # upwards it is open
    assert share(right, AGREE) > 0.4
    assert share(right, DIFFER) < 0.05
    view = replace(room.panoramas[0], label=np.full((32, 64), TABLE, np.uint8))
    wrong = hits_of(room_sheet(replace(room, panoramas=(view,))))
    assert share(wrong, AGREE) == 0
    assert share(wrong, MISS) == share(right, MISS)


def test_panorama_and_labels_are_shown_as_they_are() -> None:
    room = box_room()
    sheet = room_sheet(room)
    assert (sheet[150:182, MARGIN : MARGIN + 64] == 77).all()
    second = sheet[150:182, MARGIN + COLUMN + GAP :][:, :64]
    np.testing.assert_array_equal(second, np.array(PANOROOMS3D.colors, np.uint8)[room.panoramas[0].label])


def test_the_view_from_above_shows_the_floor() -> None:
    sheet = room_sheet(box_room())
    middle = sheet[150 + 32 + 62 + 32, MARGIN + 48].astype(int)
    assert middle[0] > 2 * middle[1]  # the room is red
    label = sheet[150 + 32 + 62 + 32, MARGIN + COLUMN + GAP + 48].astype(float)
    floor = np.array(PANOROOMS3D.colors[FLOOR], float)
    np.testing.assert_allclose(label / label.max(), floor / floor.max(), atol=0.05)


def test_a_room_with_little_to_show_has_a_sheet() -> None:
    room = box_room()
    bare = replace(
        room, panoramas=(), meta={"surface_seen": None, "credits": [f"Ann {n}, chairs, CC0" for n in range(20)]}
    )
    assert room_sheet(bare).shape[1] == WIDTH
    empty = replace(
        bare, tsdf=np.full_like(room.tsdf, 127), rgb=np.zeros_like(room.rgb), label=np.zeros_like(room.label), meta={}
    )
    assert room_sheet(empty).shape[1] == WIDTH


def test_a_long_heading_stays_on_the_sheet() -> None:
    room = replace(box_room(), id="07700701-1835-4532-8af0-bd8c7f624b1b_1" * 3, house_id="0" * 120)
    heading = room_sheet(room)[:150]
    assert (heading[:, MARGIN:-MARGIN] != heading[0, 0]).any(axis=-1).any(axis=0)[-200:].any()  # as wide as it may be
    assert (heading[:, WIDTH - MARGIN :] == heading[0, 0]).all()
