"""The render stage with the generator, really run: what comes out is what training expects."""

import json
from pathlib import Path

import numpy as np
import pytest

from roomseg.config import RenderConfig
from roomseg.data.dataset import open_rooms
from roomseg.data.rooms import TSDF_STEPS
from roomseg.errors import UserError
from roomseg.geometry.projection import panorama_hits
from roomseg.runtime.artifacts import StoreArtifactReader
from roomseg.runtime.manifest import Manifest
from tests.stages.rendered import configured, reader, render

TINY = [
    "train_rooms=2",
    "val_rooms=1",
    "test_rooms=1",
    "rooms_per_house=2",
    "room_size_m=[2.2,2.8]",
    "frames_per_room=40",
    "frame_width=96",
    "frame_height=72",
    "panorama_height=64",
    "rooms_per_shard=2",
]


def tiny(furniture: Path, workers: int = 1) -> RenderConfig:
    return configured(*TINY, f"workers={workers}", f"furniture_dir={furniture}")


@pytest.fixture(scope="module")
def no_libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("furniture")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory, no_libraries: Path) -> tuple[Manifest, StoreArtifactReader]:
    store = tmp_path_factory.mktemp("store")
    manifest = render(tiny(no_libraries), store)
    return manifest, reader(manifest, store)


def test_rooms_are_what_training_expects(rendered: tuple[Manifest, StoreArtifactReader]) -> None:
    for split, count in [("train", 2), ("val", 1), ("test", 1)]:
        rooms = list(open_rooms(rendered[1], split))
        assert len(rooms) == count
        for room in rooms:
            empty = room.tsdf == TSDF_STEPS
            assert (room.label[empty] == 0).all()
            assert (room.rgb[empty] == 0).all()
            assert (room.label[~empty] > 0).mean() > 0.95
            assert 0.05 < (~empty).mean() < 0.6
            assert room.meta["surface_seen"] > 0.8
            view = room.panoramas[0]
            hits = panorama_hits(room.tsdf, (view.camera_m - room.origin_m) / room.voxel_m, 64)
            seen = hits.voxel >= 0
            assert hits.hit_rate == pytest.approx(room.meta["hit_rate"], abs=1e-4)
            assert hits.hit_rate > 0.9
            assert (room.label.ravel()[hits.voxel[seen]] == view.label[seen]).mean() > 0.85


def test_the_audit_counts_what_is_there(rendered: tuple[Manifest, StoreArtifactReader]) -> None:
    manifest, artifact = rendered
    audit = json.loads(artifact.path("audit.json").read_text())
    rooms = list(open_rooms(artifact, "train"))
    assert audit["rooms"] == {"train": 2, "val": 1, "test": 1}
    assert audit["houses_in_two_splits"] == 0
    assert audit["class_voxels"]["train"]["floor"] == sum((room.label == 20).sum() for room in rooms)
    everything = [room for split in ("train", "val", "test") for room in open_rooms(artifact, split)]
    for name in ("hit_rate", "surface_seen"):
        mean = np.mean([room.meta[name] for room in everything])
        assert audit[name] == manifest.scores[name] == pytest.approx(mean)
    assert manifest.scores["rooms"] == 4
    assert manifest.scores["quarantined"] == 0


def test_the_number_of_workers_does_not_matter(
    rendered: tuple[Manifest, StoreArtifactReader], no_libraries: Path, tmp_path: Path
) -> None:
    again = render(tiny(no_libraries, workers=2), tmp_path)
    assert again.fingerprint == rendered[0].fingerprint
    assert again.files == rendered[0].files


def test_a_damaged_furniture_library_is_named_and_no_room_is_blamed(tmp_path: Path) -> None:
    (tmp_path / "Some.sh3f").write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"Some\.sh3f.*make furniture"):
        render(tiny(tmp_path), tmp_path / "store")
    assert not list((tmp_path / "store").glob("shards/*/*"))
