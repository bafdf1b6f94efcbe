"""The distill stage as a whole: what it writes, what it keeps for other runs, what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from roomseg.data.dataset import open_rooms
from roomseg.data.rooms import Panorama, Room
from roomseg.errors import UsageError, UserError
from roomseg.geometry.cube import stitched_hits
from roomseg.geometry.projection import Caster, panorama_hits
from roomseg.geometry.raycast_torch import torch_caster
from roomseg.metrics import all_scores
from roomseg.models.student import Student
from roomseg.stages.distillation import views
from roomseg.stages.distillation.judging import camera_voxel, examine, fault_of
from roomseg.stages.networks import load_student, network_confusions
from roomseg.training import training_device
from tests.stages.distilling import HEIGHT, SIZES, Bench, bench, configured, furnished, teacher_artifact


@pytest.fixture
def small(tmp_path: Path) -> Bench:
    rooms = [furnished(n, views=2) for n in range(3)]
    return bench(tmp_path, [*rooms, furnished(6, "val")])


def test_what_it_writes(small: Bench) -> None:
    scores, artifact = small.distill("iterations=5", "validate_every=2")
    best = load_student(artifact)
    stored = all_scores(network_confusions(best, open_rooms(small.inputs["rooms"], "val")))
    assert scores == {"val_miou": pytest.approx(stored["miou"]), "rooms_left_out": 0, "views_left_out": 0}
    assert load_file(artifact.path("last.safetensors")).keys() == best.state_dict().keys()
    history = json.loads(artifact.path("history.json").read_text())
    assert [line["step"] for line in history if "val_miou" in line] == [2, 4, 5]
    figures = [line for step, line in small.tracker.entries if "ce" in line]
    assert figures[0]["loss"] == pytest.approx(figures[0]["ce"] + figures[0]["kd"], rel=1e-5)
    assert [step for step, line in small.tracker.entries if "ce" in line] == [1, 2, 3, 4, 5]
    assert all({"ce", "kd", "lr", "rooms_per_s", "data_wait_share"} <= line.keys() for line in figures)
    assert json.loads(artifact.path("left_out.json").read_text()) == []


def test_another_run_takes_the_views_from_the_store(small: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    small.distill()
    kept = {key: small.store.get_bytes(key) for key in small.store.list("cache/")}
    assert sorted(key.split("/")[1] for key in kept) == ["hits"] * 3 + ["logits"] * 3
    assert sum(map(len, kept.values())) < 3 * 20_000
    monkeypatch.setattr(views, "load_teacher", _never)
    monkeypatch.setattr(views, "examine", _never)
    small.distill("tau=5", "weight=0.5")
    assert {key: small.store.get_bytes(key) for key in small.store.list("cache/")} == kept


def test_what_is_lost_or_damaged_is_made_again(small: Bench) -> None:
    small.distill()
    kept = {key: small.store.get_bytes(key) for key in small.store.list("cache/")}
    hits = [key for key in kept if "/hits/" in key]
    small.store.delete(hits[0])
    small.store.put_bytes(hits[1], kept[hits[1]][:70])
    small.store.put_bytes(hits[2], kept[hits[0]])  # of another room, and whole
    small.distill("tau=3")
    assert {key: small.store.get_bytes(key) for key in small.store.list("cache/")} == kept
    assert len(small.said) >= 1
    assert hits[1] in small.said[0]


def test_making_views_goes_on_where_it_stopped(small: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fails_at_the_third(room: Room, panorama: Panorama, *how: Any) -> Any:
        asked.append(room.id)
        if len(asked) == 3:
            raise UserError("the power is gone")
        return examine(room, panorama, *how)

    monkeypatch.setattr(views, "examine", fails_at_the_third)
    monkeypatch.setattr(views, "given_cores", lambda: 1)
    with pytest.raises(UserError, match="the power is gone"):
        small.distill()
    small.distill()
    assert asked == ["room0", "room1", "room2", "room2"]


def test_another_teacher_has_other_logits_and_the_same_hits(small: Bench, tmp_path: Path) -> None:
    small.distill()
    small.inputs["teacher"] = teacher_artifact(tmp_path / "other", seed=1)
    small.distill()
    kinds = [key.split("/")[1] for key in small.store.list("cache/")]
    assert (kinds.count("hits"), kinds.count("logits")) == (3, 6)


def test_a_map_cast_with_torch_is_that_of_the_kernels(small: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a GPU would make it."""
    small.distill()
    kept = {key: small.store.get_bytes(key) for key in small.store.list("cache/hits/")}
    for key in kept:
        small.store.delete(key)
    asked: list[torch.device] = []

    def caster(device: torch.device) -> Caster:
        asked.append(device)
        return torch_caster(device)

    monkeypatch.setattr(views, "caster_on", caster)
    small.distill()
    assert asked == [training_device()] * 3
    assert {key: small.store.get_bytes(key) for key in small.store.list("cache/hits/")} == kept


def test_the_papers_way_to_the_hits_has_maps_of_its_own(small: Bench) -> None:
    small.distill()
    small.distill("hits=cube")
    assert [key.split("/")[1] for key in small.store.list("cache/")].count("hits") == 6
    rooms, cache = open_rooms(small.inputs["rooms"], "train"), small.context().cache
    teacher = views.TeacherOf(small.inputs["teacher"])
    maps = {}
    for way in ("direct", "cube"):
        made = views.RoomViews(rooms, teacher, cache, configured(f"hits={way}"))
        maps[way] = [made.read(place, 0).voxel for place in range(3)]
    for place, room in enumerate(rooms):
        at = camera_voxel(room, room.panoramas[0])
        np.testing.assert_array_equal(maps["direct"][place], panorama_hits(room.tsdf, at, HEIGHT).voxel)
        np.testing.assert_array_equal(maps["cube"][place], stitched_hits(room.tsdf, at, HEIGHT, HEIGHT // 2).voxel)
        assert (maps["cube"][place] != maps["direct"][place]).any()


def test_the_control_arm_asks_no_teacher(small: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "load_teacher", _never)
    small.distill("weight=0")
    assert {key.split("/")[1] for key in small.store.list("cache/")} == {"hits"}
    assert all("kd" not in line for _, line in small.tracker.entries)


def test_all_switches_at_once_and_bit_by_bit_again(small: Bench) -> None:
    switches = [
        "views=2",
        "views_per_step=2",
        'augment=["yaw","flip","colour"]',
        "band_weight=0.5",
        "lovasz_weight=0.5",
        "feature_weight=0.5",
        "ema_decay=0.5",
        "solid_angle=true",
        "iterations=2",
    ]
    states = [load_file(small.distill(*switches)[1].path("model.safetensors")) for _ in range(2)]
    figures = next(line for _, line in small.tracker.entries if "ce" in line)
    assert {"ce", "kd", "band_ce", "lovasz", "feature"} <= figures.keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert load_student_names(small) == set(states[0])


@pytest.mark.parametrize("compiled", [False, True])
def test_the_switch_compiles_the_student(small: Bench, monkeypatch: pytest.MonkeyPatch, compiled: bool) -> None:
    calls: list[Student] = []
    monkeypatch.setattr(Student, "compile", lambda student: calls.append(student))
    small.distill(f"compile={str(compiled).lower()}", "ema_decay=0.5", "iterations=1")
    assert len(calls) == compiled


def load_student_names(small: Bench) -> set[str]:
    return set(load_student(small.inputs["pretrained"]).state_dict())


def moved(room: Room, camera_voxel: tuple[float, float, float]) -> Room:
    """Its panorama says another place."""
    view = replace(room.panoramas[0], camera_m=room.origin_m + room.voxel_m * np.array(camera_voxel))
    return replace(room, panoramas=(view,))


def of_another_room(room: Room, other: Room) -> Room:
    """The floor of a room is where the other's ceiling is, and its walls are of another class."""
    view = other.panoramas[0]
    strange = Panorama(room.panoramas[0].camera_m, view.rgb, np.where(view.label == 1, 20, view.label[::-1]))
    return replace(room, panoramas=(strange,))


def in_a_crate(room: Room) -> Room:
    """A closed box of 0.5 m round the camera, with the label that is seen."""
    grid = np.stack(np.meshgrid(*map(np.arange, SIZES), indexing="ij"), axis=-1)
    camera = np.array([20.0, 20.0, 20.0])
    shell = np.clip(np.round((6 - np.abs(grid - camera).max(-1)) / 5 * 127), -127, 127)
    tsdf = np.where(shell > -127, shell, 127).astype(np.int8)
    label = np.where(tsdf < 127, 9, 0).astype(np.uint8)
    view = Panorama(
        np.zeros(3), np.zeros((HEIGHT, 2 * HEIGHT, 3), np.uint8), np.full((HEIGHT, 2 * HEIGHT), 9, np.uint8)
    )
    return moved(replace(room, tsdf=tsdf, label=label, rgb=np.zeros_like(room.rgb), panoramas=(view,)), tuple(camera))


def open_above(room: Room) -> Room:
    """Without a ceiling and most of the walls."""
    tsdf, label, rgb = room.tsdf.copy(), room.label.copy(), room.rgb.copy()
    tsdf[:, :, 12:], label[:, :, 12:], rgb[:, :, 12:] = 127, 0, 0
    return replace(room, tsdf=tsdf, label=label, rgb=rgb)


BAD = {
    "outside": (
        lambda room: moved(room, (20, 20, 90)),
        r"the camera at .* lies outside the volume of 40 x 46 x 34 voxels",
    ),
    "wall": (lambda room: moved(room, (4, 20, 20)), r"the camera at voxel \(.*\) lies behind a surface"),
    "crate": (in_a_crate, r"99\.8% of its rays end within 0\.4 m, expected 50% at most"),
    "misses": (open_above, r"\d\d\.\d% of its rays hit the room, expected 80\.0% \(min_hit_rate\)"),
    "other": (
        lambda room: of_another_room(room, furnished(77)),
        r"of its pixels have the label of the voxel that they see, expected 50\.0% .*another room, or its camera",
    ),
    "none": (lambda room: replace(room, panoramas=()), r"the room has no panorama"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_views_are_left_out_or_stop_it(case: str, tmp_path: Path) -> None:
    spoil, reason = BAD[case]
    small = bench(tmp_path, [furnished(0), spoil(furnished(1)), furnished(6, "val")])
    scores, artifact = small.distill("min_hit_rate=0.8")
    assert (scores["rooms_left_out"], scores["views_left_out"]) == (1, 1)
    (left_out,) = json.loads(artifact.path("left_out.json").read_text())
    assert (left_out["room"], left_out["view"]) == ("room1", 0)
    with pytest.raises(UserError, match=rf"^distill: room room1, panorama 0: .*{reason}.*on_bad_view=skip$"):
        small.distill("on_bad_view=stop", "min_hit_rate=0.8")


def test_a_view_that_sees_nothing_is_left_out_whatever_the_bound(tmp_path: Path) -> None:
    room = furnished(1)
    tsdf, nothing = np.full_like(room.tsdf, 127), {"rgb": np.zeros_like(room.rgb), "label": np.zeros_like(room.label)}
    empty = replace(room, tsdf=tsdf, **nothing)
    small = bench(tmp_path, [furnished(0), empty, furnished(6, "val")])
    scores, artifact = small.distill("min_hit_rate=0")
    assert scores["views_left_out"] == 1
    (left_out,) = json.loads(artifact.path("left_out.json").read_text())
    assert left_out == {"room": "room1", "view": 0, "reason": "none of its rays hits the room"}


def test_a_share_just_below_its_bound_does_not_read_as_the_bound() -> None:
    noted = {"misplaced": None, "hit_rate": 0.99996, "near_share": 0.0, "label_agreement": 0.79999}
    assert (
        fault_of(noted, configured("min_hit_rate=1"))
        == "99.9% of its rays hit the room, expected 100.0% (min_hit_rate)"
    )
    reason = fault_of(noted, configured("min_label_agreement=0.8"))
    assert reason is not None
    assert reason.startswith("79.9% of its pixels")


def test_nothing_to_learn_from(tmp_path: Path) -> None:
    small = bench(tmp_path, [moved(furnished(0), (20, 20, 90)), furnished(6, "val")])
    with pytest.raises(UserError, match=r"no panorama of 1 training rooms can be learnt from.*\(room room0\).*outside"):
        small.distill()


def test_a_teacher_of_other_classes(tmp_path: Path) -> None:
    small = bench(tmp_path, [furnished(0), furnished(6, "val")], teacher_labels="scannet20")
    with pytest.raises(UserError, match=r"the teacher knows the 21 classes of scannet20, the rooms .* 30 of panorooms"):
        small.distill()


def test_more_views_a_step_than_there_are() -> None:
    with pytest.raises(UsageError, match=r"views_per_step is 3; expected 2 \(views\) at most"):
        configured("views=2", "views_per_step=3")


def _never(*_: object) -> None:
    raise AssertionError("asked for again")
