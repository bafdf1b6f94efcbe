"""The three kinds of rooms that sources give, each on a small one with known answers."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from roomseg.data.rooms import TSDF_STEPS
from roomseg.errors import UsageError, UserError
from roomseg.geometry.cameras import Pinhole, look_at
from roomseg.geometry.mesh import join_meshes
from roomseg.geometry.panorama import render_panorama
from roomseg.geometry.raster import pack_mesh, render_frame
from roomseg.labels import PANOROOMS3D
from roomseg.ports import RoomKey
from roomseg.scenes.boxes import Box
from roomseg.scenes.generated import GeneratedSource
from roomseg.scenes.source import PosedFrame, Scan
from roomseg.scenes.surfaces import Finish
from roomseg.stages.rendering import rooms as rendering
from roomseg.stages.rendering.rooms import make_room, noise_seed
from roomseg.stages.rendering.volume_views import volume_panoramas
from roomseg.stages.sources import open_source
from tests.scenes.cuboids import cuboid
from tests.stages.rendered import configured
from tests.stages.scripted_source import SIDE, hollow_room

WALL, TABLE = PANOROOMS3D.id("wall"), PANOROOMS3D.id("table")
CAMERA = Pinhole.from_fov(160, 120, 80.0)
KEY = RoomKey("scan-1", "house-1", "val")
SMALL = ("frames_per_room=40", "frame_width=96", "frame_height=72", "panorama_height=64", "panoramas_per_room=2")
CONFIG = configured(*SMALL)
NOISE = ("depth_noise=kinect",)
EYES = [np.array([x, y, 1.5]) for x, y in product((0.8, 1.9, 3.2), (0.7, 2.4))]


@pytest.fixture(scope="module")
def mesh():
    walls = cuboid(Box((2.0, 1.5), (4.0, 3.0), 0.0, 2.5), WALL, Finish((200, 190, 180)))
    table = cuboid(Box((2.5, 1.5), (1.0, 0.8), 0.0, 0.8), TABLE, Finish((140, 90, 50)))
    return pack_mesh(join_meshes([walls, table]))


def scan_of(mesh, labelled=True):
    def frames():
        for eye, turn, pitch in product(EYES, range(6), (-0.6, 0.3)):
            ahead = (np.cos(turn * np.pi / 3), np.sin(turn * np.pi / 3), pitch)
            pose = look_at(eye, eye + ahead)
            frame = render_frame(mesh, CAMERA, pose)
            yield PosedFrame(frame if labelled else frame._replace(label=0 * frame.label), CAMERA, pose)

    return Scan("scan-1", "house-1", PANOROOMS3D.name, frames, ("someone, scans, CC0",), {"room_type": "bedroom"})


@pytest.fixture(scope="module")
def scanned(mesh):
    return make_room(CONFIG, scan_of(mesh), KEY)


def test_a_scan_is_fused_where_its_surfaces_are(scanned):
    assert (scanned.id, scanned.house_id, scanned.split, scanned.labels) == ("scan-1", "house-1", "val", "panorooms3d")
    origin, voxel = scanned.origin_m, scanned.voxel_m
    j, k = (round((at - origin[axis]) / voxel) for axis, at in ((1, 0.5), (2, 1.2)))
    line = scanned.tsdf[:, j, k].astype(float)
    changes = np.flatnonzero((line[:-1] > 0) != (line[1:] > 0))
    crossings = [n + line[n] / (line[n] - line[n + 1]) for n in changes]
    walls = crossings[1], crossings[-2]  # the first and the last are where what is behind them ends
    np.testing.assert_allclose(origin[0] + voxel * np.array(walls), (0, 4), atol=0.5 * voxel)
    i, j, k = (round((at - origin[axis]) / voxel) for axis, at in ((0, 2.5), (1, 1.5), (2, 0.8)))
    assert scanned.label[i, j, k] == TABLE
    np.testing.assert_allclose(scanned.rgb[i, j, k], (140, 90, 50), atol=8)


def test_a_scan_has_panoramas_from_where_it_was_recorded(scanned, mesh):
    first, second = scanned.panoramas
    np.testing.assert_array_equal(first.camera_m, (1.9, 0.7, 1.5))  # the middle of the eyes is at (2, 1.55)
    assert min(np.linalg.norm(second.camera_m - eye) for eye in EYES) == 0
    assert np.linalg.norm(second.camera_m - first.camera_m) > 1.5
    truth = render_panorama(mesh, first.camera_m, 64, seed=0)
    assert (first.label == truth.label).mean() > 0.97
    table = (truth.label == TABLE) & (first.label == TABLE)
    np.testing.assert_allclose(np.median(first.rgb[table], axis=0), (140, 90, 50), atol=50)
    assert scanned.meta["hit_rate"] > 0.99
    assert scanned.meta["surface_seen"] is None
    assert scanned.meta["credits"] == ["someone, scans, CC0"]
    assert scanned.meta["room_type"] == "bedroom"


def test_a_scan_without_labels_is_void(mesh):
    room = make_room(CONFIG, scan_of(mesh, labelled=False), KEY)
    assert not room.label.any()
    assert not room.panoramas[0].label.any()
    assert room.panoramas[0].rgb.any()


def test_views_of_a_volume_keep_clear_of_surfaces():
    room = hollow_room(KEY)
    far, near, middle = 0.04 * (SIDE - 8), 0.04 * 7, 0.04 * (SIDE - 1) / 2
    positions = np.array([(near, near, near), (far, far, far), (middle, middle, middle), (9.0, 9.0, 9.0)])
    (only,) = volume_panoramas(room, positions, 3, 32)
    np.testing.assert_array_equal(only.camera_m, positions[2])
    assert (only.label == 17).all()
    assert (only.rgb == room.rgb[SIDE // 2, SIDE // 2, 4]).all()
    both = volume_panoramas(room, positions[[0, 1]], 2, 32)  # none is clear: those that are inside at least
    assert {tuple(view.camera_m) for view in both} == {tuple(position) for position in positions[:2]}
    assert volume_panoramas(room, positions[3:], 2, 32) == []


def test_what_a_view_misses_is_black_and_void():
    room = hollow_room(KEY)
    open_top = room.tsdf.copy()
    open_top[:, :, SIDE // 2 :] = TSDF_STEPS
    room = replace(
        room,
        tsdf=open_top,
        rgb=np.where(open_top[..., None] < TSDF_STEPS, room.rgb, 0),
        label=np.where(open_top < TSDF_STEPS, room.label, 0),
    )
    (view,) = volume_panoramas(room, np.full((1, 3), 0.04 * (SIDE // 2 - 1)), 1, 32)
    assert not view.label[:8].any()
    assert not view.rgb[:8].any()
    assert (view.label[-8:] == 17).all()


def test_a_finished_volume_passes_through():
    key = RoomKey("r1", "h1", "test")
    given = replace(hollow_room(key), split="train", meta={"room_type": "office"})
    room = make_room(CONFIG, given, key)
    assert room.split == "test"
    assert room.tsdf is given.tsdf
    assert room.meta == {
        "room_type": "office",
        "objects": [],
        "credits": [],
        "surface_seen": None,
        "hit_rate": 1.0,
    }
    blind = make_room(CONFIG, replace(given, panoramas=()), key)
    assert blind.meta["hit_rate"] is None
    known = make_room(CONFIG, replace(given, meta={"hit_rate": 0.25}), key)
    assert known.meta["hit_rate"] == 0.25


@pytest.fixture(scope="module")
def scene_and_key():
    source = GeneratedSource(3, {"train": 1, "val": 0, "test": 0}, 1, ("bathroom",), (2.2, 2.6), None)
    (key,), _ = source.plan()
    return source.load(key), key


def test_a_scene_depends_on_its_key_alone(scene_and_key):
    scene, key = scene_and_key
    room, again, other = (make_room(CONFIG, scene, each) for each in (key, key, replace(key, id="another")))
    assert room.meta["surface_seen"] > 0.8
    assert room.meta["objects"] == list(scene.object_names)
    np.testing.assert_array_equal(room.tsdf, again.tsdf)
    np.testing.assert_array_equal(room.panoramas[1].rgb, again.panoramas[1].rgb)
    assert (room.panoramas[1].camera_m != other.panoramas[1].camera_m).any()


def test_depth_noise_is_of_the_room_alone(scene_and_key):
    scene, key = scene_and_key
    plain, noisy, again = (make_room(configured(*SMALL, *more), scene, key) for more in ([], NOISE, NOISE))
    off = make_room(configured(*SMALL, "depth_noise=none"), scene, key)
    for name in ("tsdf", "rgb", "label"):
        np.testing.assert_array_equal(getattr(plain, name), getattr(off, name))
        np.testing.assert_array_equal(getattr(noisy, name), getattr(again, name))
    for ours, same in zip(noisy.panoramas, plain.panoramas, strict=True):  # of the mesh: noise is the sensor's
        np.testing.assert_array_equal(ours.rgb, same.rgb)
    both = (np.abs(plain.tsdf) < 100) & (np.abs(noisy.tsdf) < 100)
    error_mm = (noisy.tsdf[both].astype(float) - plain.tsdf[both]) / TSDF_STEPS * 200
    assert 2 < error_mm.std() < 30
    assert abs(np.median(error_mm)) < 3
    assert noise_seed(0, key) != noise_seed(1, key) != noise_seed(0, replace(key, id="another"))
    assert 0.8 < noisy.meta["surface_seen"] < 1


def test_what_is_too_large_is_refused_before_it_is_made(scene_and_key, mesh, monkeypatch):
    with pytest.raises(UserError, match=r"m is .* voxels of 0.002 m, expected at most 1e\+08; set render.voxel_m"):
        make_room(configured(*SMALL, "voxel_m=0.002"), scan_of(mesh), KEY)
    monkeypatch.setattr(rendering, "MAX_FACES", 100)
    with pytest.raises(UserError, match=r"room \S+: its mesh has \d+ faces; expected at most 100"):
        make_room(CONFIG, *scene_and_key)


@pytest.mark.parametrize("source", ["front3d", "scannet", "panorooms3d", "rgbd"])
def test_a_source_without_its_folder_is_named(source, tmp_path):
    with pytest.raises(UsageError, match=rf"render.source={source} needs its folder: --set render.{source}_root=DIR"):
        open_source(configured(f"source={source}"))
    with pytest.raises(UsageError, match=rf"render.{source}_root: .*nowhere is not a folder"):
        open_source(configured(f"source={source}", f"{source}_root={tmp_path / 'nowhere'}"))
    with pytest.raises(UserError, match=str(tmp_path)):  # a folder, but an empty one
        open_source(configured(f"source={source}", f"{source}_root={tmp_path}")).plan()


def test_some_split_must_have_rooms():
    with pytest.raises(UsageError, match="expected one room at least"):
        configured("train_rooms=0", "val_rooms=0", "test_rooms=0")
