from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from roomseg.data.audit import audit_report
from roomseg.data.check import Check, check_rooms, damage
from roomseg.data.rooms import Room
from roomseg.data.shards import write_shard
from roomseg.errors import UserError
from roomseg.labels import PANOROOMS3D
from roomseg.ports import Rejected
from tests.data.rooms import FolderArtifact, small_room, write_rooms


def audited(root: Path, **shards: list[Room | Rejected]) -> FolderArtifact:
    artifact, summaries = write_rooms(root, {f"rooms/{name}.parquet": items for name, items in shards.items()})
    (root / "audit.json").write_text(json.dumps(audit_report(summaries.values()), sort_keys=True))
    return artifact


def sound(root: Path) -> FolderArtifact:
    return audited(
        root,
        a=[small_room(0), small_room(1, hit_rate=0.7)],
        b=[small_room(2, "val", hit_rate=0.9), Rejected("x", "/tmp/x1.obj: got 0 faces"), small_room(4, "test")],
        c=[Rejected("y", "/tmp/y2.obj: got 0 faces")],
    )


def test_the_audit_counts_what_is_there(tmp_path: Path) -> None:
    artifact = sound(tmp_path / "artifact")
    audit = json.loads(artifact.path("audit.json").read_text())
    rooms = {"train": [small_room(0), small_room(1)], "val": [small_room(2)], "test": [small_room(4)]}
    assert audit["rooms"] == {"train": 2, "val": 1, "test": 1}
    assert audit["houses"] == {"train": 1, "val": 1, "test": 1}
    assert audit["houses_in_two_splits"] == 0
    assert audit["room_types"] == {"office": 4}
    for split, of_split in rooms.items():
        counts = [audit["class_voxels"][split][name] for name in PANOROOMS3D.names]
        assert counts == np.bincount(np.concatenate([r.label.ravel() for r in of_split]), minlength=30).tolist()
    every = [room for of_split in rooms.values() for room in of_split]
    full, labelled = (
        sum(int(plane(r).sum()) for r in every) for plane in (lambda r: r.tsdf < 127, lambda r: r.label > 0)
    )
    assert audit["labelled_share"] == pytest.approx(labelled / full)
    assert audit["unlabelled_share"] == pytest.approx(1 - labelled / full)
    assert audit["hit_rate"] == pytest.approx((0.5 + 0.7 + 0.9 + 0.5) / 4)
    assert audit["surface_seen"] is None
    assert (audit["quarantined"], audit["quarantine_reasons"]) == (2, {"… got … faces": 2})
    assert (audit["credits"], audit["licences"]) == (["Ann, chairs, CC0"], {"CC0": 1})
    assert (audit["labels"], audit["rooms_without_panorama"]) == ("panorooms3d", 0)


def test_licences_are_named_without_their_holders(tmp_path: Path) -> None:
    credits = ["A, lib, CC-BY 3.0  Copyright © 2003 A", "B, lib, CC-BY 3.0", "C, lib, CC-BY  © C", "D"]
    summary = write_shard([small_room(0, credits=credits)], tmp_path / "a")
    assert audit_report([summary])["licences"] == {"CC-BY": 1, "CC-BY 3.0": 2, "not stated": 1}


def test_an_audit_of_nothing(tmp_path: Path) -> None:
    audit = audit_report([write_shard([Rejected("x", "why")], tmp_path / "a")])
    assert (audit["rooms"], audit["labels"], audit["hit_rate"]) == ({"train": 0, "val": 0, "test": 0}, None, None)
    assert audit["class_voxels"] == {"train": {}, "val": {}, "test": {}}


def test_label_sets_do_not_mix(tmp_path: Path) -> None:
    summaries = [write_shard([small_room(0, labels=name)], tmp_path / name) for name in ("panorooms3d", "scannet20")]
    with pytest.raises(UserError, match="shards have the labels panorooms3d and scannet20: render them apart"):
        audit_report(summaries)


def test_a_sound_artifact_has_no_fault(tmp_path: Path) -> None:
    artifact = sound(tmp_path / "artifact")
    checked = check_rooms(artifact)
    assert checked.faults == []
    assert checked.shards == 2  # the third has no rooms
    assert checked.hit_rates["lowest"] == 0.5
    assert checked.hit_rates["median"] == pytest.approx(0.6)
    assert checked.warnings == ["2 of 6 rooms are in quarantine"]
    assert artifact.asked == ["audit.json", "rooms/index.parquet"]
    assert list(damage(artifact)) == []
    assert checked.to_json()["fit"] is True


def faults(artifact: FolderArtifact) -> list[str]:
    return check_rooms(artifact).faults


def test_an_empty_split_and_leaking_houses_are_faults(tmp_path: Path) -> None:
    artifact = audited(tmp_path / "a", a=[small_room(n, "val" if n % 2 else "train") for n in range(8)])
    assert faults(artifact) == [
        "the test split is empty",
        "4 houses have rooms in two splits, such as house0, house1, house2, house3",
    ]


def test_an_id_of_two_rooms_is_a_fault(tmp_path: Path) -> None:
    artifact = audited(tmp_path / "a", a=[small_room(0), small_room(2, "val"), small_room(4, "test"), small_room(0)])
    assert faults(artifact) == ["1 ids belong to two rooms or more, such as room0"]


def test_an_audit_of_other_rooms_is_a_fault(tmp_path: Path) -> None:
    artifact = sound(tmp_path / "artifact")
    audit = json.loads(artifact.path("audit.json").read_text())
    audit["rooms"]["train"] = 7
    audit["class_voxels"]["val"]["roof"] = 3
    (artifact.root / "audit.json").write_text(json.dumps(audit))
    assert faults(artifact) == [
        "val has labels that panorooms3d does not know: roof",
        "the index has 2 train rooms, the audit 7",
    ]
    (artifact.root / "audit.json").write_text(json.dumps(audit | {"labels": "ade20k"}))
    assert "label set 'ade20k' is unknown; there are panorooms3d, scannet20" in faults(artifact)


def warnings(checked: Check) -> str:
    return "\n".join(checked.warnings)


def test_what_one_should_know_is_said(tmp_path: Path) -> None:
    def plain(seed: int, split: str, class_id: int) -> Room:
        room = small_room(seed, split, hit_rate=0.4, credits=[])
        room.label[:] = np.where((room.tsdf < 127) & (room.tsdf > 0), class_id, 0)
        return room

    rooms = [plain(0, "train", 17), plain(2, "val", 17), plain(4, "test", 23)]
    checked = check_rooms(audited(tmp_path / "a", a=[*rooms[:2], Room(**(vars(rooms[2]) | {"panoramas": ()}))]))
    assert checked.faults == []
    assert "3 panoramas hit less than 50% of their room" in warnings(checked)
    assert "% of the voxels that are not empty have no label" in warnings(checked)
    assert "1 rooms have no panorama" in warnings(checked)
    assert "classes that are tested and never trained on: stair" in warnings(checked)
    assert "no room names its creators and licences" in warnings(checked)


def test_damaged_files_of_an_audit_are_named(tmp_path: Path) -> None:
    artifact = sound(tmp_path / "artifact")
    (artifact.root / "audit.json").write_text('{"rooms": ')
    with pytest.raises(UserError, match=r"audit\.json: not an audit of rooms"):
        check_rooms(artifact)
    (artifact.root / "audit.json").write_text("{}")
    with pytest.raises(UserError, match="no field 'quarantined'"):
        check_rooms(artifact)


def test_rows_that_the_index_does_not_know_are_damage(tmp_path: Path) -> None:
    artifact = sound(tmp_path / "artifact")
    write_shard([small_room(0), small_room(1), small_room(6)], artifact.root / "rooms/a.parquet")
    (artifact.root / "rooms/b.parquet").write_bytes(b"PAR1")
    said = list(damage(artifact))
    assert said[0] == "rooms/a.parquet: has 3 rooms that are not the 2 of the index"
    assert "b.parquet: not a readable shard" in said[1]
    (artifact.root / "rooms/a.parquet").unlink()
    assert "has no rooms/a.parquet" in next(damage(artifact))
