"""One bad file each among good ones, through the render stage: its room is quarantined with the file's and the field's
name, and the rest is kept."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roomseg.runtime.artifacts import StoreArtifactReader
from roomseg.scenes.front3d.library import MAX_FILE_BYTES
from tests.scenes.front3d.houses import (
    box_obj,
    house_id,
    house_json,
    texture_png,
    write_front3d,
    write_house,
    write_model,
)
from tests.scenes.front3d.test_models import png_of_no_pixels
from tests.scenes.scans.box_room import takes, two_camera_rig
from tests.scenes.scans.recordings import TABLE, encoded, save, write_scan, write_zip
from tests.stages.rendered import configured, reader, render

TINY = ("frames_per_room=3", "frame_width=64", "frame_height=48", "panorama_height=32", "workers=1")
ANY = ("train_rooms=99", "val_rooms=99", "test_rooms=99", "max_quarantined_share=1")


def house_with(**bed: object) -> dict:
    house = house_json()
    house["furniture"][0] |= bed
    return house


def without(house: dict, *path: str | int) -> dict:
    inner = house
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return house


def bad_mesh() -> dict:
    house = house_json()
    mesh = next(each for each in house["mesh"] if each["uid"] == "bedroom/floor")
    mesh["xyz"][4] = float("nan")
    return house


HOUSES = {  # number -> (JSON, what is said of which room)
    0: (without(house_json(), "scene", "room"), "", "{house}.json: scene.room is missing"),
    1: (without(house_json(), "furniture", 0, "jid"), "", "{house}.json: furniture[0].jid is missing"),
    2: (house_with(jid="no-faces"), "_1", "broken model: {root}/3D-FUTURE-model/no-faces/raw_model.obj"),
    3: (house_with(jid="no-pixels"), "_1", "dead texture: {root}/3D-FUTURE-model/no-pixels/texture.png"),
    4: (house_with(jid="ten-gigabytes"), "_1", "ten-gigabytes/raw_model.obj has 10737418240 bytes; expected at most"),
    5: (house_with(jid="../../secret"), "_1", "broken model: '../../secret' is no plain name"),
    6: (house_with(jid="a-link"), "_1", "a-link/raw_model.obj leads to {root}/outside.obj, outside its folder"),
    7: (bad_mesh(), "_1", "{house}.json: mesh 'bedroom/floor': xyz has a number that is not finite"),
    8: (house_json(), "", None),
}


@pytest.fixture(scope="module")
def front3d(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("front3d")
    write_front3d(root, len(HOUSES))
    for number, (house, _, _) in HOUSES.items():
        write_house(root, house, house_id(number))
    (root / "3D-FRONT" / f"{house_id(9)}.json").write_text(json.dumps(house_json())[:-500])
    write_model(root, "no-faces", "mtllib model.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0\nl 1 2\n", texture_png((9, 9, 9)))
    write_model(root, "no-pixels", box_obj(1.6, 0.5, 2), png_of_no_pixels())
    write_model(root, "ten-gigabytes", box_obj(1.6, 0.5, 2), texture_png((9, 9, 9)))
    os.truncate(root / "3D-FUTURE-model/ten-gigabytes/raw_model.obj", 10 * 2**30)  # a hole: no byte of it is written
    write_model(root, "a-link", box_obj(1.6, 0.5, 2), texture_png((9, 9, 9)))
    (root / "3D-FUTURE-model/a-link/raw_model.obj").rename(root / "outside.obj")
    (root / "3D-FUTURE-model/a-link/raw_model.obj").symlink_to(root / "outside.obj")
    return root


def test_houses(front3d: Path, tmp_path: Path) -> None:
    config = configured(
        "source=front3d", f"front3d_root={front3d}", 'room_types=["living_room","bedroom"]', *TINY, *ANY
    )
    artifact = reader(render(config, tmp_path), tmp_path)
    reasons = quarantined(artifact)
    for number, (_, room, reason) in HOUSES.items():
        if reason is not None:
            told = reasons.pop(house_id(number) + room)
            assert reason.format(root=front3d, house=house_id(number)) in told
            assert "\n" not in told
    assert "is no complete JSON" in reasons.pop(house_id(9))
    assert reasons == {}
    good = {f"{house_id(n)}_{room}" for n in range(2, 9) for room in (0, 1)}
    good -= {house_id(n) + room for n, (_, room, reason) in HOUSES.items() if reason}
    assert rooms_of(artifact) == good
    assert MAX_FILE_BYTES < 10 * 2**30


def test_scans(tmp_path: Path) -> None:
    rig = two_camera_rig()
    frames = takes(rig, 4)
    save(tmp_path / "data/scannetv2-labels.combined.tsv", TABLE)
    for side, scans in {"train": "0123", "val": "4", "test": "5"}.items():
        save(tmp_path / f"data/scannetv2_{side}.txt", "".join(f"scene000{n}_00\n" for n in scans))
    _, cut, climbing, *_ = (write_scan(tmp_path / "data", f"scene000{n}_00", rig, frames) for n in range(6))
    os.truncate(cut / "scene0001_00.sens", (cut / "scene0001_00.sens").stat().st_size - 400)
    members = {"label-filt/0.png": encoded(frames[0].ids.astype(np.uint16)), "../../../escaped.png": b"x"}
    write_zip(climbing / "scene0002_00_2d-label-filt.zip", members)
    lost = [replace(take, pose=np.full((4, 4), np.nan)) for take in frames]
    write_scan(tmp_path / "data", "scene0003_00", rig, lost)
    config = configured("source=scannet", f"scannet_root={tmp_path / 'data'}", *TINY, *ANY)
    artifact = reader(render(config, tmp_path / "store"), tmp_path / "store")
    reasons = quarantined(artifact)
    assert "scene0001_00.sens: frame 3: depth: takes" in reasons["scene0001_00"]
    assert "left; expected a whole file" in reasons["scene0001_00"]
    zip_slip = "scene0002_00_2d-label-filt.zip: '../../../escaped.png' leaves the archive"
    assert zip_slip in reasons["scene0002_00"]
    assert "scene0003_00.sens: of 4 frames 0 have a rigid camera-to-world pose" in reasons["scene0003_00"]
    assert len(reasons) == 3
    assert rooms_of(artifact) == {"scene0000_00", "scene0004_00", "scene0005_00"}
    assert not list(tmp_path.rglob("escaped.png"))


def quarantined(artifact: StoreArtifactReader) -> dict[str, str]:
    found: dict[str, str] = {}
    for summary in _summaries(artifact):
        found |= {each["id"]: each["reason"] for each in summary["quarantined"]}
    return found


def rooms_of(artifact: StoreArtifactReader) -> set[str]:
    return {room["id"] for summary in _summaries(artifact) for room in summary["rooms"]}


def _summaries(artifact: StoreArtifactReader) -> Iterator[dict]:
    for name in artifact.names():
        if name.endswith(".json") and name != "audit.json":
            yield json.loads(artifact.path(name).read_bytes())
