import json

import pytest

from roomseg.config import fingerprint_fields, override, parse_section
from roomseg.errors import UsageError
from roomseg.profiles import demo, paper, profile


def test_paper_holds_the_numbers_of_the_paper():
    config = paper()
    assert (config.render.train_rooms, config.render.val_rooms, config.render.test_rooms) == (5325, 297, 295)
    assert config.render.voxel_m == 0.04
    assert config.render.camera_height_m == (1.4, 1.8)
    assert config.render.panorama_height == 512
    assert config.teacher.epochs == 200
    assert (config.pretrain.block_voxels, config.pretrain.batch, config.pretrain.lr) == (128, 8, 1e-3)
    assert (config.distill.iterations, config.distill.validate_every, config.distill.tau) == (45_000, 1_500, 20)
    assert (config.distill.weight, config.distill.solid_angle, config.pretrain.void_weight) == (1.0, False, 1.0)


def test_demo_changes_only_what_it_says():
    assert demo().render.voxel_m == paper().render.voxel_m
    assert demo().distill.tau == paper().distill.tau
    assert demo().profile == "demo"


def test_unknown_profile_is_named():
    with pytest.raises(UsageError, match="unknown profile 'nope'; there are demo and paper"):
        profile("nope")


def test_override_changes_one_value():
    changed = override(demo(), ["teacher.epochs=3", 'render.room_types=["bedroom"]', "teacher.backbone=tiny"])
    assert changed.teacher.epochs == 3
    assert changed.render.room_types == ("bedroom",)
    assert changed.teacher.backbone == "tiny"
    assert changed.pretrain == demo().pretrain


def test_overrides_that_hold_only_together():
    floors = 'register.class_floors={"sofa": 0.1, "bookshelf": 0.2}'  # classes of two label sets
    changed = override(demo(), ["render.room_size_m=[8,9]", "register.model_name=other", floors])
    assert changed.render.room_size_m == (8, 9)
    assert changed.section("register").model_name == "other"
    own = ["render.source=rgbd", "render.rgbd_labels=mine.toml", 'register.class_floors={"gripper": 0.1}']
    assert override(demo(), own).register_.class_floors == {"gripper": 0.1}


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("teacher.epoch=3", "teacher has no 'epoch'; did you mean 'epochs'?"),
        ("teachr.epochs=3", "unknown section 'teachr'; did you mean 'teacher'?"),
        ("teacher.epochs=0", "epochs: Input should be greater than 0 (got 0)"),
        ("teacher.epochs=many", "got 'many'"),
        ("teacher.epochs", "expected SECTION.KEY=VALUE"),
        ("epochs=3", "expected SECTION.KEY=VALUE"),
        ("distill.tau=NaN", "finite"),
        ("render.room_size_m=[3,2]", "expected 0 < low <= high"),
        ("pretrain.block_voxels=100", "multiple of 64"),
        ('register.class_floors={"sofas": 0.1}', "got 'sofas'; did you mean 'sofa'?"),
        ('register.class_floors={"void": 0.1}', "expected names of classes, got 'void'"),
        ('register.class_floors={"sofa": 10}', "class_floors.sofa: Input should be less than 1"),
    ],
)
def test_bad_overrides_are_refused_in_one_line(setting, words):
    with pytest.raises(UsageError) as caught:
        override(demo(), [setting])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sections_survive_json():
    for name in ("render", "teacher", "pretrain", "distill", "evaluate", "register"):
        section = demo().section(name)
        assert parse_section(name, section.model_dump_json()) == section
    with pytest.raises(UsageError, match="configuration of teacher"):
        parse_section("teacher", "{")


def test_how_to_run_is_not_in_the_fingerprint():
    few = override(demo(), ["render.workers=1"]).render
    many = override(demo(), ["render.workers=8", "render.furniture_dir=elsewhere"]).render
    assert fingerprint_fields(few) == fingerprint_fields(many)
    assert fingerprint_fields(few) != fingerprint_fields(override(demo(), ["render.seed=1"]).render)
    json.dumps(fingerprint_fields(few))


def test_run_id_names_profile_and_values():
    assert demo().run_id == demo().run_id
    assert demo().run_id.startswith("demo-")
    assert override(demo(), ["teacher.seed=1"]).run_id != demo().run_id


def test_baselines_are_not_compiled():
    with pytest.raises(UsageError, match="compile is for the student; unet3d runs as it is"):
        override(paper(), ["pretrain.compile=true", "pretrain.network=unet3d"])
    compiled = override(paper(), ["pretrain.compile=true"]).pretrain
    assert (compiled.compile, compiled.for_baseline("unet3d").compile) == (True, False)


def test_label_files_are_known_by_their_ending_and_count_where_they_are_read():
    with pytest.raises(UsageError, match=r"rgbd_labels: expected panorooms3d, scannet20, nyu40 or a file that ends"):
        override(demo(), ["render.rgbd_labels=ade20k"])
    own = ["render.rgbd_labels=s3://bucket/labels.toml"]
    assert override(demo(), own).render.outside_files() == {}
    assert override(demo(), [*own, "render.source=rgbd"]).render.outside_files() == {
        "rgbd_labels": "s3://bucket/labels.toml"
    }
    assert override(demo(), ["render.source=rgbd"]).render.outside_files() == {}
