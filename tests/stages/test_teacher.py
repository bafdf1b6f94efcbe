"""The teacher stage on small panoramas whose colours tell the classes."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from roomseg.config import TeacherConfig, override
from roomseg.data.dataset import open_rooms
from roomseg.data.panoramas import IGNORED
from roomseg.data.rooms import Panorama, Room
from roomseg.errors import UsageError, UserError
from roomseg.labels import label_set
from roomseg.metrics import miou
from roomseg.models.teacher import build_teacher
from roomseg.models.vit import NORMALIZATIONS, SegmenterVit
from roomseg.ports import StageContext
from roomseg.profiles import demo
from roomseg.runtime.cache import StoreCache
from roomseg.runtime.checkpoints import StoreCheckpoints
from roomseg.runtime.outside import fetch_outside
from roomseg.runtime.progress import open_progress
from roomseg.runtime.stage import stage_fingerprint
from roomseg.runtime.storage import DirectoryStore
from roomseg.stages.teacher import TeacherTask, load_teacher, read_teacher_card, run, teacher_confusions
from tests.data.rooms import FolderArtifact, small_room, write_rooms
from tests.models.test_teacher_start import VARIANT, save_segmenter

HEIGHT = 64


def configured(*settings: str) -> TeacherConfig:
    few = ["epochs=1", "validate_every_epochs=1", "batch=2", "scale_range=[0.5,2]"]
    return override(demo(), [f"teacher.{setting}" for setting in (*few, *settings)]).teacher


def coloured(seed: int, split: str, labels: str = "panorooms3d", views: int = 1) -> Room:
    """Each panorama has patches of four classes, each of one colour."""
    rng = np.random.default_rng(seed)
    colours = np.array([(0, 0, 0), (230, 40, 40), (40, 220, 60), (50, 60, 240)], np.uint8)

    def view() -> Panorama:
        label = rng.integers(0, 4, (HEIGHT // 16, HEIGHT // 8)).repeat(16, 0).repeat(16, 1).astype(np.uint8)
        return Panorama(np.zeros(3), colours[label], label)

    return replace(small_room(seed, split, labels=labels), panoramas=tuple(view() for _ in range(views)))


def rooms_of(folder: Path, rooms: list[Room]) -> FolderArtifact:
    return write_rooms(folder, {"rooms/a.parquet": rooms})[0]


@pytest.fixture
def rooms(tmp_path: Path) -> FolderArtifact:
    train = [coloured(n, "train", views=2) for n in range(6)]
    return rooms_of(tmp_path / "rooms", [*train, coloured(6, "val"), coloured(7, "val")])


@dataclass(frozen=True)
class FolderWriter:
    """``ports.ArtifactWriter`` over a folder."""

    root: Path

    def __contains__(self, name: str) -> bool:
        return (self.root / name).exists()

    def path(self, name: str) -> Path:
        return self.root / name

    def add(self, name: str, path: Path) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, self.root / name)


class NoTracker:
    def log(self, step: int, metrics: Any) -> None:
        pass


def run_in(folder: Path, config: TeacherConfig, rooms: FolderArtifact) -> tuple[dict[str, float], FolderArtifact]:
    work = folder / "work"
    work.mkdir(parents=True)
    context = StageContext(
        inputs={"rooms": rooms},
        outputs=FolderWriter(folder / "artifact"),
        checkpoints=StoreCheckpoints(DirectoryStore(folder / "store"), "teacher", "mark", work, print),
        cache=StoreCache(DirectoryStore(folder / "store"), folder / "cache", print),
        tracker=NoTracker(),
        progress=open_progress(),
        registry=None,  # type: ignore[arg-type]  # a teacher is never registered
        work_dir=work,
        fetch=lambda uri: fetch_outside(uri, folder / "cache", folder / "work"),
    )
    return run(config, context), FolderArtifact(folder / "artifact")


def test_the_score_is_that_of_the_stored_teacher(rooms: FolderArtifact, tmp_path: Path) -> None:
    scores, artifact = run_in(tmp_path / "run", configured("epochs=3", "decoder=linear"), rooms)
    teacher = load_teacher(artifact)
    stored = miou(np.stack(teacher_confusions(teacher, open_rooms(rooms, "val"))))
    assert scores["val_miou"] == pytest.approx(stored)
    card = json.loads(artifact.path("teacher.json").read_text())
    assert card == {
        "backbone": "micro",
        "decoder": "linear",
        "patch": 16,
        "height": HEIGHT,
        "labels": "panorooms3d",
        "classes": list(label_set("panorooms3d").names),
        "normalization": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    }
    assert not teacher.training
    history = json.loads(artifact.path("history.json").read_text())
    assert [line["step"] for line in history if "val_miou" in line] == [3, 6, 9]


def test_it_learns_colours(rooms: FolderArtifact, tmp_path: Path) -> None:
    config = configured("epochs=15", "validate_every_epochs=15", "scale_range=[1,1]")
    scores, _ = run_in(tmp_path / "run", config, rooms)
    assert scores["val_miou"] > 0.6


def test_the_classes_are_those_of_the_rooms(tmp_path: Path) -> None:
    scans = [coloured(0, "train", "scannet20"), coloured(1, "val", "scannet20")]
    _, artifact = run_in(tmp_path / "run", configured(), rooms_of(tmp_path / "rooms", scans))
    card = read_teacher_card(artifact)
    assert (card.labels, len(card.classes), card.classes[1]) == ("scannet20", 21, "wall")
    assert load_teacher(artifact).decoder.classes == 21


def test_a_vit_of_timm(rooms: FolderArtifact, tmp_path: Path) -> None:
    config = configured("backbone=test_vit")
    scores, artifact = run_in(tmp_path / "run", config, rooms)
    assert read_teacher_card(artifact).patch == 16
    stored = teacher_confusions(load_teacher(artifact), open_rooms(rooms, "val"))
    assert scores["val_miou"] == pytest.approx(miou(np.stack(stored)))


def test_a_start_from_a_segmenter_checkpoint_brings_its_colours(rooms: FolderArtifact, tmp_path: Path) -> None:
    published = build_teacher("micro", 30, image_size=(64, 64), seed=3)
    checkpoint, _ = save_segmenter(published, tmp_path, VARIANT.replace("n_cls: 5", "n_cls: 30"))
    config = configured(f"start={checkpoint}", "lr=1e-12", "optimizer=sgd")  # trained by next to nothing
    _, artifact = run_in(tmp_path / "run", config, rooms)
    assert read_teacher_card(artifact).normalization == NORMALIZATIONS["deit"]
    trained = load_teacher(artifact)
    assert trained.normalization == NORMALIZATIONS["deit"]
    for name, value in published.decoder.state_dict().items():
        torch.testing.assert_close(trained.decoder.state_dict()[name], value, atol=1e-6, rtol=0, msg=name)


def test_a_start_from_a_distilled_checkpoint_stays_distilled(rooms: FolderArtifact, tmp_path: Path) -> None:
    published = build_teacher("micro", 30, image_size=(64, 64), seed=3)
    assert isinstance(published.encoder, SegmenterVit)
    published.encoder.add_distillation_token()
    variant = VARIANT.replace("n_cls: 5", "n_cls: 30").replace("distilled: false", "distilled: true")
    checkpoint, _ = save_segmenter(published, tmp_path, variant)
    scores, artifact = run_in(tmp_path / "run", configured(f"start={checkpoint}", "epochs=2"), rooms)
    trained = load_teacher(artifact)
    assert trained.state_dict()["encoder.dist_token"].abs().max() > 0  # it was zero
    stored = teacher_confusions(trained, open_rooms(rooms, "val"))
    assert scores["val_miou"] == pytest.approx(miou(np.stack(stored)))


def task(rooms: FolderArtifact, *settings: str) -> TeacherTask:
    config = configured(*settings)
    train, val = open_rooms(rooms, "train"), open_rooms(rooms, "val")
    return TeacherTask(build_teacher("micro", 30, image_size=(HEIGHT, 2 * HEIGHT)), train, val, config)


def test_batches_depend_on_the_step_alone(rooms: FolderArtifact) -> None:
    first, again = task(rooms), task(rooms)
    images, labels = first.batch(4)
    assert (images.dtype, images.shape) == (torch.uint8, (2, 3, HEIGHT, 2 * HEIGHT))
    assert (labels.dtype, labels.shape) == (torch.int64, (2, HEIGHT, 2 * HEIGHT))
    for other, expected in zip(again.batch(4), (images, labels), strict=True):
        assert torch.equal(other, expected)
    assert not torch.equal(first.batch(5)[0], images)
    assert task(rooms, "crop=[48,80]").batch(0)[0].shape == (2, 3, 48, 80)


def test_pixels_beyond_the_poles_do_not_count(rooms: FolderArtifact) -> None:
    shrunk = task(rooms, "scale_range=[0.5,0.5]")
    images, labels = shrunk.batch(0)
    assert (labels == IGNORED).float().mean() == pytest.approx(0.5)
    shrunk.model.eval()
    with torch.no_grad():
        loss = shrunk.loss((images, labels))[0]
        chosen = shrunk.model(images).permute(0, 2, 3, 1)[labels != IGNORED]
    expected = torch.nn.functional.cross_entropy(chosen, labels[labels != IGNORED])
    torch.testing.assert_close(loss, expected)


def test_rooms_without_panoramas_leave_their_turn(tmp_path: Path) -> None:
    full = [coloured(n, "train") for n in (0, 3)]
    bare = [replace(small_room(n, "train"), panoramas=()) for n in (1, 2, 4)]
    val = [coloured(5, "val"), replace(small_room(6, "val"), panoramas=())]
    some = task(rooms_of(tmp_path / "some", [*full, *bare, *val]), "batch=5", "scale_range=[1,1]")
    assert some.batch(0)[0].shape[0] == 5
    assert len(teacher_confusions(some.model.eval(), some.val)) == 1
    none = rooms_of(tmp_path / "none", [*bare, *val])
    with pytest.raises(UserError, match=r"no room of the train split has a panorama.*render\.panoramas_per_room"):
        run_in(tmp_path / "run", configured(), none)


def test_the_start_file_counts_in_the_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "vit.safetensors"
    save_file({"a": torch.zeros(1)}, path)
    config = configured(f"start={path}")
    first = stage_fingerprint("teacher", config, {})
    assert stage_fingerprint("teacher", config, {}) == first
    save_file({"a": torch.ones(1)}, path)
    assert stage_fingerprint("teacher", config, {}) != first
    path.unlink()
    with pytest.raises(UserError, match=rf"teacher \(start\): {path} is not there"):
        stage_fingerprint("teacher", config, {})


def test_the_variant_counts_with_its_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pth").write_bytes(b"weights")
    config = configured(f"start={tmp_path}/checkpoint.pth")
    with pytest.raises(UserError, match=r"teacher \(variant\): .*/variant.yml is not there"):
        stage_fingerprint("teacher", config, {})
    marks = set()
    for text in ("a", "b"):
        (tmp_path / "variant.yml").write_text(text)
        marks.add(stage_fingerprint("teacher", config, {}))
    assert len(marks) == 2


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("start=imagenet", r"expected random, imagenet21k, hub or a file that ends with \.safetensors, \.npz, \.pth"),
        ("scale_range=[2,1]", "expected low <= high"),
        ("crop=[0,64]", "greater than 0"),
        ("backbone=Seg-B", "backbone"),
        ("decoder=unet", "'mask' or 'linear'"),
    ],
)
def test_settings_that_are_refused(setting: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        configured(setting)
