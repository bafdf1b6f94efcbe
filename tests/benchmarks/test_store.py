"""The benchmark's store of many tiny rooms, with fewer of them: what must not grow faster than their number."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pytest

from roomseg.data import index
from roomseg.data.check import check_rooms, damage
from roomseg.data.dataset import find_room, open_rooms
from roomseg.runtime.artifacts import StoreArtifactReader, open_render
from tests.benchmarks.loading import load_benchmark

ROOMS, ROOMS_PER_SHARD = 2000, 64
SHARDS = -(-ROOMS // ROOMS_PER_SHARD)


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    return load_benchmark("store")


@pytest.fixture(scope="module")
def root(benchmark: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("roomseg.runtime.storage.os.fsync", lambda _: None)
        benchmark.write_store(root, ROOMS)
    return root


def test_objects_and_manifest_are_bounded(root: Path) -> None:
    files = [path.relative_to(root) for path in root.rglob("*") if path.is_file()]
    # A shard, its summary, and a note in the journal for each; index, audit, their notes; manifest and clock.
    assert len(files) <= 4 * SHARDS + 6
    assert (root / "artifacts/render/be7c/manifest.json").stat().st_size < 300 * (2 * SHARDS + 2) + 500
    assert reader(root).path(index.NAME).stat().st_size < 40 * ROOMS


def test_opening_reads_the_index_alone_and_holds_little(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact, asked = reader(root), []
    path = artifact.path
    monkeypatch.setattr(artifact, "path", lambda name: asked.append(name) or path(name))
    before = pa.total_allocated_bytes()
    rooms = open_rooms(artifact, "train")
    assert asked == ["rooms/index.parquet"]
    assert 0.8 * ROOMS < len(rooms) < ROOMS
    assert pa.total_allocated_bytes() - before < 64 * len(rooms)


def test_rooms_at_random_are_what_was_written(benchmark: ModuleType, root: Path) -> None:
    rooms = open_rooms(reader(root), "train")
    for place in np.random.default_rng(0).integers(len(rooms), size=20).tolist():
        room = rooms[place]
        house, number = room.id.removeprefix("g0h").split("-")
        expected = benchmark.tiny_room(4 * int(house) + int(number))
        assert (room.id, room.house_id) == (expected.id, expected.house_id)
        np.testing.assert_array_equal(room.tsdf, expected.tsdf)
    assert find_room(reader(root), benchmark.tiny_room(ROOMS - 1).id).row == (ROOMS - 1) % ROOMS_PER_SHARD


def test_the_check_finds_nothing(root: Path) -> None:
    checked = check_rooms(reader(root))
    assert (checked.faults, checked.shards, sum(checked.audit["rooms"].values())) == ([], SHARDS, ROOMS)
    assert list(damage(reader(root))) == []


def reader(root: Path) -> StoreArtifactReader:
    return open_render(str(root))
