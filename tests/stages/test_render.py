"""The render stage, really run: rooms, splits, resuming, and the same bytes for any number of workers."""

import json
from pathlib import Path

import numpy as np
import pytest

from roomseg.config import RenderConfig, override
from roomseg.data.dataset import open_rooms
from roomseg.data.rooms import TSDF_STEPS
from roomseg.errors import UserError
from roomseg.geometry.projection import panorama_hits
from roomseg.profiles import demo
from roomseg.runtime.manifest import Manifest
from roomseg.runtime.stage import run_stage
from roomseg.stages.render import furniture_dir, plan_shards

TINY = [
    "render.train_rooms=2",
    "render.val_rooms=1",
    "render.test_rooms=1",
    "render.rooms_per_house=2",
    "render.room_size_m=[2.2,2.8]",
    "render.frames_per_room=40",
    "render.frame_width=96",
    "render.frame_height=72",
    "render.panorama_height=64",
    "render.rooms_per_shard=2",
]


def tiny(*more: str, workers: int = 1, furniture: Path) -> RenderConfig:
    where = [f"render.workers={workers}", f"render.furniture_dir={furniture}"]
    return override(demo(), [*TINY, *where, *more]).render


def render(config: RenderConfig, store: Path) -> Manifest:
    return run_stage("render", config, store=str(store), inputs={}, run_id="test")


def shard_paths(manifest: Manifest, store: Path) -> list[Path]:
    return [store / file.key for file in manifest.files if file.name.startswith("rooms/")]


@pytest.fixture(scope="module")
def no_libraries(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("furniture")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory, no_libraries) -> tuple[Manifest, Path]:
    store = tmp_path_factory.mktemp("store")
    return render(tiny(furniture=no_libraries), store), store


def test_houses_are_in_one_split_only(no_libraries):
    config = tiny("render.train_rooms=9", "render.val_rooms=3", "render.test_rooms=4", furniture=no_libraries)
    tasks = [task for shard in plan_shards(config) for task in shard.rooms]
    assert [sum(t.split == split for t in tasks) for split in ("train", "val", "test")] == [9, 3, 4]
    houses = {split: {t.house for t in tasks if t.split == split} for split in ("train", "val", "test")}
    assert not houses["train"] & houses["val"]
    assert not houses["train"] & houses["test"]
    assert not houses["val"] & houses["test"]
    assert len({(t.house, t.index) for t in tasks}) == len(tasks)
    assert all(len(shard.rooms) <= 2 for shard in plan_shards(config))


def test_rooms_are_what_training_expects(rendered):
    manifest, store = rendered
    for split, count in [("train", 2), ("val", 1), ("test", 1)]:
        rooms = list(open_rooms(shard_paths(manifest, store), split))
        assert len(rooms) == count
        for room in rooms:
            empty = room.tsdf == TSDF_STEPS
            assert (room.label[empty] == 0).all()
            assert (room.rgb[empty] == 0).all()
            assert (room.label[~empty] > 0).mean() > 0.95
            assert 0.05 < (~empty).mean() < 0.6
            view = room.panoramas[0]
            hits = panorama_hits(room.tsdf, (view.camera_m - room.origin_m) / room.voxel_m, 64)
            seen = hits.voxel >= 0
            assert hits.hit_rate == pytest.approx(room.meta["hit_rate"], abs=1e-4)
            assert hits.hit_rate > 0.9
            assert (room.label.ravel()[hits.voxel[seen]] == view.label[seen]).mean() > 0.85


def test_the_audit_counts_what_is_there(rendered):
    manifest, store = rendered
    (entry,) = (file for file in manifest.files if file.name == "audit.json")
    audit = json.loads((store / entry.key).read_text())
    assert audit["rooms"] == {"train": 2, "val": 1, "test": 1}
    assert audit["houses_in_two_splits"] == 0
    labels = np.concatenate([room.label.ravel() for room in open_rooms(shard_paths(manifest, store), "train")])
    assert audit["class_voxels"]["train"]["floor"] == (labels == 20).sum()
    assert manifest.scores["rooms"] == 4


def test_the_number_of_workers_does_not_matter(rendered, no_libraries, tmp_path):
    again = render(tiny(workers=2, furniture=no_libraries), tmp_path)
    assert again.fingerprint == rendered[0].fingerprint
    assert again.files == rendered[0].files


def test_finished_shards_are_kept(rendered, no_libraries, tmp_path, monkeypatch):
    """An attempt that dies after the first shard: the next one renders only what is missing."""
    config = tiny(furniture=no_libraries)
    from roomseg.stages import render as stage

    write, written = stage.write_shard, []

    def dying(rooms, path):
        if written:
            raise KeyboardInterrupt
        written.append(path)
        write(rooms, path)

    monkeypatch.setattr(stage, "write_shard", dying)
    with pytest.raises(KeyboardInterrupt):
        render(config, tmp_path)
    monkeypatch.setattr(stage, "write_shard", write)
    drawn = []
    monkeypatch.setattr(stage, "_counted", lambda rooms, n, bar: drawn.append(n) or stage.islice(rooms, n))
    manifest = render(config, tmp_path)
    assert sum(drawn) == 2
    assert manifest.files == rendered[0].files


def test_another_furniture_is_another_fingerprint(rendered, no_libraries, tmp_path):
    (tmp_path / "Some.sh3f").write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"Some\.sh3f.*make furniture"):
        render(tiny(furniture=tmp_path), tmp_path / "store")


def test_a_missing_furniture_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="nowhere is not a folder"):
        furniture_dir(tiny(furniture=tmp_path / "nowhere"))
