"""``roomseg data`` on a real store of small rooms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from roomseg.commands.data import app
from roomseg.data import index
from roomseg.data.audit import audit_report
from roomseg.data.rooms import Room
from roomseg.data.shards import write_shard
from roomseg.errors import UsageError, UserError
from roomseg.labels import PANOROOMS3D
from roomseg.ports import Rejected
from roomseg.runtime.artifacts import AttemptClock, StoreArtifactWriter
from roomseg.runtime.manifest import Manifest, Origin
from roomseg.runtime.storage import open_store
from tests.data.rooms import small_room

SPLITS = ("train", "val", "test")


def render(store_url: str, scratch: Path, *rooms: Room | Rejected, fingerprint: str = "f00d") -> Manifest:
    """A render artifact of one shard."""
    store = open_store(store_url)
    origin = Origin(stage="render", fingerprint=fingerprint, code_version="", config={}, parents={})
    writer = StoreArtifactWriter(store, origin, AttemptClock(store, origin.folder), scratch)
    scratch.mkdir(exist_ok=True)
    name, path = "rooms/train-00000.parquet", scratch / "file"
    summary = write_shard(rooms, path)
    writer.add(name, path)
    index.write_index([(name, summary)], path)
    writer.add(index.NAME, path)
    path.write_text(json.dumps(audit_report([summary]), sort_keys=True))
    writer.add("audit.json", path)
    return writer.finish({})


def sound_rooms(first: int = 0) -> list[Room]:
    return [small_room(first + 2 * n, split, shape=(12, 11, 10)) for n, split in enumerate(SPLITS)]


@pytest.fixture(params=["directory", "s3"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "store") if request.param == "directory" else request.getfixturevalue("s3_store")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"})


def test_a_sound_store_is_fit_for_training(store_url: str, tmp_path: Path) -> None:
    render(store_url, tmp_path / "scratch", *sound_rooms(), Rejected("x", "/a/b7.obj: got 0 faces"))
    done = run("check", store_url, "--deep", "--json", str(tmp_path / "check.json"))
    assert done.exit_code == 0
    assert "3 rooms: fit for training" in done.stdout
    assert "1 x … got … faces" in done.stdout
    assert "1, by licence: CC0 (1)" in done.stdout
    listed = [line.split("  ")[1].strip() for line in done.stdout.splitlines() if line.startswith("  ")]
    assert set(PANOROOMS3D.names) - set(listed) == {"void"}
    written = json.loads((tmp_path / "check.json").read_text())
    assert (written["fit"], written["faults"], written["audit"]["rooms"]["val"]) == (True, [], 1)


def test_faults_exit_with_1(tmp_path: Path) -> None:
    render(str(tmp_path), tmp_path / "scratch", small_room(0), small_room(1, "val"))
    done = run("check", str(tmp_path), "--json", str(tmp_path / "check.json"))
    assert done.exit_code == 1
    assert "2 rooms: not fit for training: 2 faults" in done.stdout
    assert json.loads((tmp_path / "check.json").read_text())["faults"] == [
        "the test split is empty",
        "1 houses have rooms in two splits, such as house0",
    ]


def test_a_damaged_shard_is_found_by_deep_only(tmp_path: Path) -> None:
    made = render(str(tmp_path), tmp_path / "scratch", *sound_rooms())
    key = next(file.key for file in made.files if file.name == "rooms/train-00000.parquet")
    data = bytearray((tmp_path / key).read_bytes())
    data[len(data) // 3] ^= 1
    (tmp_path / key).write_bytes(data)
    assert run("check", str(tmp_path)).exit_code == 0
    done = run("check", str(tmp_path), "--deep")
    assert done.exit_code == 1
    assert f"fault {tmp_path}/{key} (rooms/train-00000.parquet) is damaged: delete" in done.stdout


def test_the_newest_artifact_is_meant_or_the_one_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = render(str(tmp_path), tmp_path / "scratch", *sound_rooms(), fingerprint="aaaa")
    render(str(tmp_path), tmp_path / "scratch", *sound_rooms(), sound_rooms(10)[0], fingerprint="bbbb")
    path = tmp_path / "artifacts/render/aaaa/manifest.json"
    path.write_text(old.model_copy(update={"created": "2020-01-01T00:00:00+00:00"}).to_json())
    assert "4 rooms" in run("check", str(tmp_path)).stdout
    assert "3 rooms" in run("check", str(tmp_path), "--artifact", "aaaa").stdout
    with pytest.raises(UserError, match="has no complete render artifact cccc: run `roomseg render` with this store"):
        run("check", str(tmp_path), "--artifact", "cccc")
    with pytest.raises(UserError, match="no complete render artifact: run"):
        run("check", str(tmp_path / "elsewhere"))


def test_show_writes_a_sheet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roomseg.report.room_sheet.TOP_VIEW", (64, 96))  # few rays
    render(str(tmp_path), tmp_path / "scratch", *sound_rooms())
    done = run("show", "room2", "--store", str(tmp_path), "--out", str(tmp_path / "room.png"))
    assert done.exit_code == 0
    assert done.stdout.strip() == str(tmp_path / "room.png")
    with Image.open(tmp_path / "room.png") as sheet:
        assert sheet.width == 1920
    with pytest.raises(UserError, match="there is no room 'room1'"):
        run("show", "room1", "--store", str(tmp_path))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError, match="file is not there; make it, or choose another"):
        run("show", "room2", "--store", str(tmp_path), "--out", str(tmp_path / "file" / "room.png"))


@pytest.mark.parametrize(("command", "option"), [(("check", "STORE"), "--json"), (("show", "room2"), "--out")])
def test_where_a_file_cannot_go_is_said_before_the_work(
    command: tuple[str, str], option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "no" / "folder.json"
    with pytest.raises(UserError) as error:  # the store, which is not there either, was not looked at
        run(*command, option, str(gone))
    assert str(error.value) == f"{option} {gone}: the folder {gone.parent} is not there; make it, or choose another"
    with pytest.raises(UserError, match=f"^{option} {tmp_path} is a folder; name a file"):
        run(*command, option, str(tmp_path))


@pytest.mark.parametrize("mark", ["../../x", "..", "a/b", "/etc", "a.b"])
def test_what_is_no_fingerprint_is_a_usage_error(mark: str, store_url: str) -> None:
    for command in (("check", store_url), ("show", "room2", "--store", store_url)):
        with pytest.raises(
            UsageError, match=r"^'.*' is no fingerprint; expected letters and digits: a name in .*render"
        ):
            run(*command, "--artifact", mark)
