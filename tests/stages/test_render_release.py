"""``roomseg render`` on a small published release: its rooms come out, its damaged one is told."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from roomseg.data.dataset import open_rooms
from roomseg.data.panorooms3d import read_room
from roomseg.errors import UserError
from roomseg.runtime.artifacts import StoreArtifactReader
from roomseg.runtime.manifest import read_manifest
from roomseg.runtime.storage import open_store
from tests.data.releases import HOUSES, annotation, save_release
from tests.stages.rendered import configured, render, tracking


def roomseg(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "roomseg", *arguments], capture_output=True, text=True, timeout=300)


def test_the_command_makes_its_rooms_ours(tmp_path: Path) -> None:
    release, store = save_release(tmp_path / "release"), tmp_path / "store"
    damaged = release / "rooms" / f"{HOUSES[0]}_12.npz"
    damaged.write_bytes(damaged.read_bytes()[:2000])
    settings = ("render.source=panorooms3d", f"render.panorooms3d_root={release}", "render.rooms_per_shard=2")
    done = roomseg(
        "render",
        *(part for each in settings for part in ("--set", each)),
        "--store",
        str(store),
        "--tracking-uri",
        tracking(),
    )
    assert done.returncode == 0, done.stderr
    assert f"quarantined {HOUSES[0]}_12: {damaged}: damaged" in done.stderr
    (folder,) = (store / "artifacts" / "render").iterdir()
    opened = open_store(str(store))
    artifact = StoreArtifactReader(opened, read_manifest(opened, "render", folder.name), store)
    train, test = open_rooms(artifact, "train"), open_rooms(artifact, "test")
    assert [room.id for room in train] == [f"{HOUSES[0]}_3", f"{HOUSES[1]}_0"]
    for ours, theirs in zip(
        (test[0].tsdf, test[0].rgb, test[0].label), read_room(_npz(release, test[0].id)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(train[0].panoramas[0].label, annotation())
    audit = json.loads(artifact.path("audit.json").read_text())
    assert audit["rooms"] == {"train": 2, "val": 1, "test": 1}
    assert audit["quarantined"] == 1
    assert audit["houses_in_two_splits"] == 1  # as published
    assert audit["rooms_without_panorama"] == 1
    assert audit["hit_rate"] == 1.0
    checked = roomseg("data", "check", str(store))
    assert checked.returncode == 1
    assert f"1 houses have rooms in two splits, such as {HOUSES[1]}" in checked.stdout


def _npz(release: Path, room: str) -> Path:
    return release / "rooms" / f"{room}.npz"


def test_blocks_have_no_test_split(tmp_path: Path) -> None:
    release = save_release(tmp_path / "release")
    settings = ("source=panorooms3d", f"panorooms3d_root={release}", "panorooms3d_parts=blocks", "workers=1")
    with pytest.raises(UserError, match=r"panorooms3d has no room for test .*render.test_rooms=0 does without"):
        render(configured(*settings), tmp_path / "store")
    blocks = render(configured(*settings, "test_rooms=0"), tmp_path / "store")
    assert blocks.scores["rooms"] == 2
