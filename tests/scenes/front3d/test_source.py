from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roomseg.config import RoomType
from roomseg.errors import UserError
from roomseg.ports import RoomKey
from roomseg.scenes.front3d.source import Front3dSource
from roomseg.scenes.textures import Texture
from roomseg.scenes.viewpoints import camera_poses, panorama_cameras
from tests.scenes.front3d.houses import (
    box_obj,
    house_id,
    house_json,
    jid,
    texture_png,
    write_front3d,
    write_house,
    write_model,
)

OWN = Texture("own", np.full((1, 1, 3), 9, np.uint8), (1.0, 1.0), "someone")


def source(root: Path, **settings: Any) -> Front3dSource:
    types: tuple[RoomType, ...] = ("living_room", "bedroom")
    return Front3dSource(**{"root": root, "seed": 3, "room_types": types, **settings})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_front3d(tmp_path, 5)
    return tmp_path


def test_the_plan_holds_the_wanted_rooms_of_all_houses(root: Path) -> None:
    keys, rejected = source(root).plan()
    assert rejected == []
    assert {key.id for key in keys} == {f"{house_id(house)}_{room}" for house in range(5) for room in (0, 1)}
    assert all(key.place == (key.house_id, int(key.id[-1])) for key in keys)
    assert [key.split for key in keys] == ["train"] * 6 + ["val"] * 2 + ["test"] * 2
    of_house: dict[str, set[str]] = {}
    for key in keys:
        of_house.setdefault(key.house_id, set()).add(key.split)
    assert all(len(splits) == 1 for splits in of_house.values())
    assert [key.id for key in keys[:6]] == sorted(key.id for key in keys[:6])
    assert source(root).plan() == (keys, rejected)
    assert any(source(root, seed=seed).plan()[0] != keys for seed in range(4, 9))


def test_types_and_limits(root: Path) -> None:
    keys, _ = source(root, room_types=("bedroom",)).plan()
    assert {key.id[-2:] for key in keys} == {"_1"}
    all_keys, _ = source(root).plan()
    keys, _ = source(root, limits={"train": 3, "val": 0}).plan()
    assert [key.split for key in keys] == ["train"] * 3 + ["test"] * 2
    assert keys[:3] == all_keys[:3]
    keys, rejected = source(root, room_types=("kitchen", "office")).plan()
    assert keys == []
    assert rejected[0].reason.startswith("no floor: none of the room's meshes is one; no ceiling")


def test_shares_of_the_splits(root: Path) -> None:
    keys, _ = source(root, shares=(0.2, 0.4, 0.4)).plan()
    assert [key.split for key in keys] == ["train"] * 2 + ["val"] * 4 + ["test"] * 4


def test_the_published_split(root: Path) -> None:
    lists = root / "lists"
    lists.mkdir()
    for name, ids in {"train": ["0_0", "1_1"], "val": ["0_1"], "test": ["2_0", "2_2", "7_0"]}.items():
        lines = [f"{house_id(int(i[0]))}{i[1:]}" for i in ids]
        (lists / f"{name}.txt").write_text("\n".join(lines) + "\n")
    published = source(root, split=lists)
    keys, rejected = published.plan()
    assert [(key.id, key.split) for key in keys] == [
        (f"{house_id(0)}_0", "train"),
        (f"{house_id(1)}_1", "train"),
        (f"{house_id(0)}_1", "val"),
        (f"{house_id(2)}_0", "test"),
    ]
    reason = "listed in test.txt, but no such room of a wanted type is here"
    assert [(each.id, each.reason) for each in rejected] == [
        (f"{house_id(2)}_2", reason),
        (f"{house_id(7)}_0", reason),
    ]
    before = published.digest()
    (lists / "val.txt").write_text("")
    assert source(root, split=lists).digest() != before


@pytest.mark.parametrize(
    ("line", "reason"),
    [("no id", "val.txt, line 1: 'no id' is no room id"), ("a_0", "val.txt, line 1: a_0 is in train.txt too")],
)
def test_broken_lists_are_told(root: Path, line: str, reason: str) -> None:
    with pytest.raises(UserError, match=r"train.txt cannot be read; expected train.txt, val.txt and test.txt"):
        source(root, split=root / "nowhere")
    (root / "train.txt").write_text("a_0\n")
    (root / "val.txt").write_text(line)
    (root / "test.txt").write_text("")
    with pytest.raises(UserError, match=reason):
        source(root, split=root)


def test_broken_houses_are_turned_away_and_the_rest_kept(root: Path) -> None:
    folder = root / "3D-FRONT"
    whole = (folder / f"{house_id(0)}.json").read_text()
    (folder / f"{house_id(0)}.json").write_text(whole[:-300])
    (folder / f"{house_id(1)}.json").write_text("{}")
    (folder / "odd name.json").write_text(whole)
    house = house_json()
    house["furniture"][0]["category"] = ""
    house["furniture"][3]["jid"] = "../../secret"
    write_house(root, house, house_id(2))
    keys, rejected = source(root).plan()
    assert {key.house_id for key in keys} == {house_id(3), house_id(4)}
    reasons = {each.id: each.reason for each in rejected}
    assert "is no complete JSON" in reasons[house_id(0)]
    assert f"{house_id(1)}.json: scene is missing" in reasons[house_id(1)]
    assert "is no plain name" in reasons["odd name"]
    assert reasons[f"{house_id(2)}_0"].startswith("broken model: '../../secret' is no plain name")
    assert reasons[f"{house_id(2)}_1"] == f"unlabelled furniture: {jid('bed')}: it has neither category nor title"
    assert len(reasons) == 5


def test_a_room_is_a_scene_for_cameras(root: Path) -> None:
    opened = source(root)
    keys, _ = opened.plan()
    room = opened.load(keys[1])
    assert (room.id, room.house_id, room.room_type) == (keys[1].id, keys[1].house_id, "bedroom")
    rng = np.random.default_rng(0)
    poses = camera_poses(room, 8, (1.4, 1.8), rng)
    assert room.is_free(poses[:, :3, 3], 0.2).all()
    middle = panorama_cameras(room, 1, rng)[0]
    assert middle == pytest.approx((5.7, -1.5, 1.6), abs=0.1)


def test_a_room_depends_on_its_key_alone(root: Path) -> None:
    settings = {"textures": ((OWN,) * 4, (OWN,) * 4)}
    opened = source(root, **settings)
    keys, _ = opened.plan()
    opened.load(keys[0])
    later, alone = opened.load(keys[3]), source(root, **settings).load(keys[3])
    for name in ("vertices", "faces", "face_label", "face_color", "face_texture", "uv"):
        np.testing.assert_array_equal(getattr(later.mesh, name), getattr(alone.mesh, name))
    assert later.credits == alone.credits


def test_texture_augmentation_is_a_switch(root: Path) -> None:
    opened = source(root, textures=((OWN,), (OWN,)))
    key = opened.plan()[0][0]
    assert any("3D-FRONT-texture" in credit for credit in opened.load(key).credits)  # the houses use some
    without = source(root, textures=((OWN,), (OWN,)), augment_textures=False).load(key)
    assert len(without.credits) == 2
    for path in (root / "3D-FRONT-texture").glob("*/texture.png"):
        path.unlink()
        path.parent.rmdir()
    assert "someone" in source(root, textures=((OWN,), (OWN,))).load(key).credits


@pytest.mark.parametrize(
    ("obj", "texture", "reason"),
    [
        ("v 0 0 0\n", texture_png((1, 1, 1)), "broken model: .*no polygons"),
        (box_obj(1, 1, 1).replace("v  0.5", "v  nan"), texture_png((1, 1, 1)), "broken model: .*not finite"),
        (box_obj(1, 1, 1), b"", "dead texture: "),
    ],
    ids=["no faces", "NaN", "no texture"],
)
def test_what_only_loading_shows_is_a_reason(root: Path, obj: str, texture: bytes, reason: str) -> None:
    write_model(root, "bad", obj, texture)
    house = house_json()
    house["furniture"][0]["jid"] = "bad"
    write_house(root, house, house_id(0))
    opened = source(root)
    with pytest.raises(UserError, match=reason):
        opened.load(RoomKey(f"{house_id(0)}_1", house_id(0), "train", (house_id(0), 1)))
    assert opened.load(RoomKey(f"{house_id(0)}_0", house_id(0), "train", (house_id(0), 0))).room_type == "living_room"


def test_a_broken_mesh_spoils_its_room_alone(root: Path) -> None:
    house = house_json()
    house["mesh"][3]["xyz"][0] = float("nan")
    write_house(root, house, house_id(0))
    opened = source(root)
    with pytest.raises(UserError, match=f"{house_id(0)}.json: mesh 'living/low-z': xyz has a number that is not"):
        opened.load(RoomKey("any", house_id(0), "train", (house_id(0), 0)))
    opened.load(RoomKey("any", house_id(0), "train", (house_id(0), 1)))


def test_the_digest_follows_names_and_sizes(root: Path) -> None:
    before = source(root).digest()
    assert source(root).digest() == before
    (root / "3D-FUTURE-model" / jid("bed") / "image.jpg").write_bytes(b"a preview")
    assert source(root).digest() == before
    path = root / "3D-FRONT" / f"{house_id(0)}.json"
    path.write_text(json.dumps(house_json()) + " ")
    changed = source(root).digest()
    assert changed != before
    (root / "3D-FUTURE-model" / jid("bed") / "texture.png").write_bytes(b"")
    assert source(root).digest() not in (before, changed)


def test_another_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="expected a folder with 3D-FRONT"):
        source(tmp_path)
