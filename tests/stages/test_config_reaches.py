"""Values of the configuration arrive where they are meant for: each changes what a source plans or a stage makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from roomseg.config import PipelineConfig, override
from roomseg.profiles import demo
from roomseg.scenes.generated import GeneratedSource
from roomseg.stages import pretrain
from roomseg.stages.rendering.rooms import make_room
from roomseg.stages.sources import open_source
from tests.data.releases import save_lists, save_release
from tests.scenes.front3d.houses import house_id, write_front3d
from tests.scenes.scans.box_room import DEPTH_LENS, DEPTH_SIZE, one_camera_rig, takes
from tests.scenes.scans.recordings import save, write_open3d
from tests.scenes.scans.test_scannet import SCANS, make_scans
from tests.stages.distilling import Tracked, bench, furnished
from tests.stages.test_teacher import coloured, rooms_of, run_in

SMALL_FRAMES = ["frames_per_room=6", "frame_width=64", "frame_height=48", "panorama_height=32"]


def configured(*settings: str) -> PipelineConfig:
    return override(demo(), list(settings))


def rendered_with(*settings: str) -> PipelineConfig:
    return configured(*(f"render.{setting}" for setting in settings))


def splits_of(config: PipelineConfig) -> dict[str, str]:
    return {key.id: key.split for key in open_source(config.render).plan()[0]}


def front3d_lists(root: Path) -> tuple[Any, Any]:
    """Two rooms of one house in two splits, which no split by house gives."""
    write_front3d(root, 3)
    rooms = {f"{house_id(0)}_0": "train", f"{house_id(0)}_1": "val", f"{house_id(2)}_1": "test"}
    save_lists(root / "lists", **{split: [room] for room, split in rooms.items()})
    given = ["source=front3d", f"front3d_root={root}", 'room_types=["living_room","bedroom"]']
    assert len(splits_of(rendered_with(*given))) == 6
    return splits_of(rendered_with(*given, f"front3d_lists={root / 'lists'}")), rooms


def front3d_augment(root: Path) -> tuple[Any, Any]:
    """Textures of the houses on floor and walls are credited."""
    write_front3d(root, 3)
    used = []
    for augment in ("true", "false"):
        config = rendered_with("source=front3d", f"front3d_root={root}", f"front3d_augment={augment}")
        source = open_source(config.render)
        credits = source.load(source.plan()[0][0]).credits
        used.append(any("3D-FRONT-texture" in credit for credit in credits))
    return used, [True, False]


def scannet_split(root: Path) -> tuple[Any, Any]:
    make_scans(root, SCANS[:30])
    lists = {"train": SCANS[:10], "val": SCANS[10:20], "test": SCANS[20:30]}
    for split, scans in lists.items():
        save(root / f"scannetv2_{split}.txt", "\n".join(scans))
    found = []
    for way in ("official", "random", "house"):
        split_of = splits_of(rendered_with("source=scannet", f"scannet_root={root}", f"scannet_split={way}"))
        spaces = {(scan[:9], split) for scan, split in split_of.items()}
        by_list = all(split_of[scan] == split for split, scans in lists.items() for scan in scans if scan in split_of)
        found.append((by_list, len(spaces) == len({space for space, _ in spaces})))
    return found, [(True, False), (False, False), (False, True)]


def panorooms3d_split(root: Path) -> tuple[Any, Any]:
    """As published, a house is in two splits."""
    save_release(root)
    shared = []
    for way in ("published", "house"):
        config = rendered_with("source=panorooms3d", f"panorooms3d_root={root}", f"panorooms3d_split={way}")
        sides = {(key.house_id, key.split) for key in open_source(config.render).plan()[0]}
        shared.append(len(sides) > len({house for house, _ in sides}))
    return shared, [True, False]


def rgbd_depth_units_per_m(root: Path) -> tuple[Any, Any]:
    """Millimetres that are taken for tenths of one."""
    frames = takes(one_camera_rig(DEPTH_LENS, DEPTH_SIZE), 2)
    write_open3d(root / "room", frames, "json", DEPTH_LENS)
    farthest = []
    for units in ("null", "10000"):
        given = ["source=rgbd", f"rgbd_root={root}", "rgbd_up=+z", f"rgbd_depth_units_per_m={units}"]
        source = open_source(rendered_with(*given).render)
        farthest.append(next(source.load(source.plan()[0][0]).frames()).frame.depth.max())
    return farthest[0] / farthest[1], pytest.approx(10)


def bathroom(*settings: str) -> Any:
    source = GeneratedSource(3, {"train": 1, "val": 0, "test": 0}, 1, ("bathroom",), (2.2, 2.6), None)
    (key,), _ = source.plan()
    return make_room(rendered_with(*SMALL_FRAMES, *settings).render, source.load(key), key)


def margin_voxels(root: Path) -> tuple[Any, Any]:
    few, many = (bathroom(f"margin_voxels={voxels}").shape for voxels in (5, 9))
    return many, tuple(side + 2 * (9 - 5) for side in few)


def frame_fov_deg(root: Path) -> tuple[Any, Any]:
    narrow, wide = (bathroom(f"frame_fov_deg={degrees}").meta["surface_seen"] for degrees in (30, 90))
    return wide > narrow + 0.1, True


def teacher_weight_decay(root: Path) -> tuple[Any, Any]:
    """Weights that are pulled to 0 are smaller."""
    rooms = rooms_of(root / "rooms", [coloured(0, "train"), coloured(1, "val")])
    given = ["epochs=2", "validate_every_epochs=2", "decoder=linear", "optimizer=sgd", "lr=0.01"]
    sizes = []
    for decay in (0, 10):
        config = configured(*(f"teacher.{setting}" for setting in (*given, f"weight_decay={decay}"))).teacher
        _, artifact = run_in(root / f"decay{decay}", config, rooms)
        weights = load_file(artifact.path("teacher.safetensors")).values()
        sizes.append(sum(float(weight.float().square().sum()) for weight in weights))
    return sizes[1] < 0.9 * sizes[0], True


def pretrain_lr_halve_every_epochs(root: Path) -> tuple[Any, Any]:
    """One step an epoch."""
    made = bench(root, [furnished(0), furnished(6, "val")])
    given = ["epochs=4", "lr=0.001", "lr_halve_every_epochs=2", "batch=4", "accumulate=1", "block_voxels=64"]
    config = configured(*(f"pretrain.{setting}" for setting in given)).pretrain
    pretrain.run(config, made.context())
    assert isinstance(made.tracker, Tracked)
    return [line["lr"] for _, line in made.tracker.entries if "lr" in line], [0.001, 0.001, 0.0005, 0.0005]


@pytest.mark.parametrize(
    "reaches",
    [
        front3d_lists,
        front3d_augment,
        scannet_split,
        panorooms3d_split,
        rgbd_depth_units_per_m,
        margin_voxels,
        frame_fov_deg,
        teacher_weight_decay,
        pretrain_lr_halve_every_epochs,
    ],
    ids=lambda case: case.__name__,
)
def test_a_value_arrives_where_it_is_meant_for(reaches: Callable[[Path], tuple[Any, Any]], tmp_path: Path) -> None:
    found, expected = reaches(tmp_path)
    assert found == expected
