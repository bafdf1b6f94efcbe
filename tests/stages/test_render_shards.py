"""The render stage in parts: the same bytes for any number of processes and shards; lost rooms stop nothing."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from roomseg.data import index
from roomseg.data.dataset import find_room, open_rooms
from roomseg.data.summary import ShardSummary
from roomseg.errors import UserError
from roomseg.ports import RoomKey
from roomseg.runtime.manifest import Manifest
from roomseg.stages import render as stage
from roomseg.stages.rendering.workers import DIED
from tests.stages.rendered import configured, names, reader, render, render_part, scripted
from tests.stages.scripted_source import TURNED_AWAY, hollow_room, open_scripted, write_script

GOOD = [(f"room-{n}", split, "") for n, split in enumerate(["train"] * 5 + ["val"] * 2 + ["test"])]


@pytest.fixture(scope="module", autouse=True)
def _scripted() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stage, "open_source", open_scripted)
        patch.setattr("roomseg.stages.sources.open_source", open_scripted)
        for module in ("fingerprint", "stage"):
            patch.setattr(f"roomseg.runtime.{module}.code_digest", lambda stage: "code")
        yield


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("script")
    failing = {0: "raises", 3: "memory", 5: "bad label"}
    write_script(folder, [(room, split, failing.get(n, "")) for n, (room, split, _) in enumerate(GOOD)])
    return folder


@pytest.fixture(scope="module")
def whole(script: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Path]:
    """In one go, by one process."""
    store = tmp_path_factory.mktemp("whole")
    return render(scripted(script, "workers=1"), store), store


def test_shards_in_any_order_make_the_same_artifact(script: Path, whole: tuple[Manifest, Path], tmp_path: Path) -> None:
    assert names(whole[0]) == [
        "audit.json",
        "rejected.json",
        "rooms/index.parquet",
        *(f"rooms/{shard}.{kind}" for shard in ("test-00000", "train-00000", "train-00001", "train-00002", "val-00000")
          for kind in ("json", "parquet")),
    ]  # fmt: skip
    for i in (3, 1, 2):
        render_part(scripted(script), tmp_path, (i, 3))
        assert not list(tmp_path.rglob("manifest.json"))
    parts = render(scripted(script), tmp_path)
    assert parts.files == whole[0].files
    assert parts.digest == whole[0].digest


def test_a_shard_makes_only_its_part(script: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    render_part(scripted(script), tmp_path, (2, 3))  # of train-0, train-1, train-2, val-0, test-0
    added = {path.name for path in tmp_path.glob("artifacts/render/*/added/*")}
    assert len(added) == 4
    assert all("train-00001" in name or "test-00000" in name for name in added)
    assert "shard 2/3 is done, 2 of 5 files of rooms; when all are, run it without --shard" in capsys.readouterr().err


def test_what_an_attempt_has_stored_is_kept(
    script: Path, whole: tuple[Manifest, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt that dies after the rooms of the second shard, before its summary: the next one makes that again."""
    config = scripted(script)
    write, written = stage.write_shard, []

    def dying(outcomes, path):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path.name)
        return write(outcomes, path)

    monkeypatch.setattr(stage, "write_shard", dying)
    with pytest.raises(KeyboardInterrupt):
        render(config, tmp_path)
    assert written == ["train-00000.parquet", "train-00001.parquet"]
    (summary,) = tmp_path.glob("artifacts/render/*/added/rooms%2Ftrain-00001.json.json")
    summary.unlink()
    monkeypatch.setattr(stage, "write_shard", lambda outcomes, path: written.append(path.name) or write(outcomes, path))
    again = render(config, tmp_path)
    assert written[2:] == ["train-00001.parquet", "train-00002.parquet", "val-00000.parquet", "test-00000.parquet"]
    assert again.digest == whole[0].digest


def test_failed_rooms_are_quarantined_with_their_reasons(whole: tuple[Manifest, Path]) -> None:
    manifest, artifact = whole[0], reader(*whole)
    lost = {
        each.id: each.reason
        for name in names(manifest)
        if name.startswith("rooms/") and name.endswith(".json")
        for each in ShardSummary.from_json(artifact.path(name).read_bytes()).quarantined
    }
    assert lost["room-0"] == "room-0.obj: has no faces"
    assert lost["room-3"] == "out of memory: Unable to allocate 9.00 TiB"
    assert "class id 255" in lost["room-5"]
    assert len(lost) == 3
    assert len(open_rooms(artifact, "train")) == 3
    assert find_room(artifact, "room-1").load().id == "room-1"
    audit = json.loads(artifact.path("audit.json").read_text())
    assert audit["rooms"] == {"train": 3, "val": 1, "test": 1}
    assert audit["quarantined"] == manifest.scores["quarantined"] == 4  # one before it was loaded
    assert ShardSummary.from_json(artifact.path("rejected.json").read_bytes()).quarantined == (TURNED_AWAY,)


def test_a_dying_worker_costs_only_its_room(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a fault of our own in between: the others come out, whatever was in flight."""
    what = {1: "dies", 3: "dies once", 4: "bug"}
    write_script(tmp_path, [(room, split, what.get(n, "")) for n, (room, split, _) in enumerate(GOOD)])
    manifest = render(scripted(tmp_path), tmp_path / "store")
    artifact = reader(manifest, tmp_path / "store")
    first, third = (ShardSummary.from_json(artifact.path(f"rooms/train-0000{n}.json").read_bytes()) for n in (0, 2))
    assert [(each.id, each.reason) for each in first.quarantined] == [("room-1", DIED)]
    assert third.quarantined[0].reason.startswith("internal error: KeyError: 'room-4' (scripted_source.py, line ")
    assert [room.id for room in open_rooms(artifact, "train")] == ["room-0", "room-2", "room-3"]
    said = capsys.readouterr().err
    assert f"render: quarantined room-1: {DIED}" in said
    assert "this is a fault of roomseg, please report it:\nTraceback" in said
    assert "return {}[key.id]" in said


def test_workers_end_with_a_process_that_is_killed(tmp_path: Path) -> None:
    """Else they wait for ever, and whoever reads the output of the killed process with them."""
    write_script(tmp_path, [("room-0", "train", "waits"), ("room-1", "train", ""), ("room-2", "train", "")])
    config = scripted(tmp_path, "workers=2").model_dump_json()
    code = """
import sys
from functools import partial
from roomseg.config import parse_section
from roomseg.stages.rendering.workers import Workers, work
from tests.stages.scripted_source import open_scripted
config = parse_section("render", sys.argv[1])
if __name__ == "__main__":
    workers = Workers(partial(work, open_scripted, config), 2)
    list(workers.in_order(open_scripted(config).plan()[0]))
"""
    script = tmp_path / "main.py"
    script.write_text(code)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, str(script), config], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    while not (tmp_path / "room-0").exists():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.05)
    process.kill()
    process.communicate(timeout=300)  # ends with the last process that holds the pipe


def test_too_many_lost_rooms_fail_the_stage(script: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"3 of 8 rooms are quarantined .*the first: room-0: room-0.obj: has no faces"):
        render(scripted(script, "max_quarantined_share=0.3"), tmp_path)
    assert list(tmp_path.glob("artifacts/render/*/added/audit.json.json"))
    assert not list(tmp_path.rglob("manifest.json"))
    assert len(open_rooms(reader(render(scripted(script), tmp_path), tmp_path), "val")) == 1  # how much is not what


def test_an_empty_split_fails_the_stage(tmp_path: Path) -> None:
    write_script(tmp_path, [("a", "train", ""), ("b", "val", "raises"), ("c", "test", "")])
    with pytest.raises(UserError, match=r"1 of 3 rooms are quarantined, and val is empty .*the first: b: b.obj"):
        render(scripted(tmp_path), tmp_path / "store")


def test_a_split_that_the_source_lacks_is_named_at_once(tmp_path: Path) -> None:
    write_script(tmp_path, [("a", "train", ""), ("b", "train", "")])
    with pytest.raises(UserError, match=r"rgbd has no room for val \(2 rooms in all, 1 turned away, the first, house"):
        render(scripted(tmp_path), tmp_path / "store")
    alone = render(scripted(tmp_path, "val_rooms=0", "test_rooms=0"), tmp_path / "store")
    assert alone.scores["rooms"] == 2


def test_counts_are_the_most_that_is_taken() -> None:
    keys = [RoomKey(f"{split}-{n}", "h", split) for split in ("test", "train", "val") for n in range(9)]
    config = configured("train_rooms=5", "val_rooms=9", "test_rooms=20", "rooms_per_shard=4")
    shards = stage.plan_shards(config, keys, [])
    assert [(shard.rooms, len(shard.keys)) for shard in shards] == [
        ("rooms/train-00000.parquet", 4),
        ("rooms/train-00001.parquet", 1),
        ("rooms/val-00000.parquet", 4),
        ("rooms/val-00001.parquet", 4),
        ("rooms/val-00002.parquet", 1),
        ("rooms/test-00000.parquet", 4),
        ("rooms/test-00001.parquet", 4),
        ("rooms/test-00002.parquet", 1),
    ]
    assert shards[1].summary == "rooms/train-00001.json"
    assert [key.id for key in shards[1].keys] == ["train-4"]


def test_the_index_has_the_shards_in_their_order(whole: tuple[Manifest, Path]) -> None:
    rows = index.open_index(reader(*whole).path(index.NAME)).read().to_pylist()
    assert [row["id"] for row in rows] == ["room-1", "room-2", "room-4", "room-6", "room-7"]
    assert {row["hit_rate"] for row in rows} == {1.0}
    assert hollow_room(RoomKey("room-1", "h", "train")).shape == tuple(rows[0]["shape"])
