"""``roomseg predict``, ``export`` and ``import`` as a person meets them: files in, files out, and help for bad ones."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from roomseg.cli import app
from roomseg.errors import UsageError, UserError
from roomseg.geometry.surface import Surface
from roomseg.labels import PANOROOMS3D
from roomseg.models.networks import build_network
from roomseg.stages.networks import NetworkCard
from roomseg.stages.predicting.models import LoadedModel, save_model
from tests.commands.test_data import render
from tests.data.rooms import small_room
from tests.scenes.scans.box_room import DEPTH_LENS, DEPTH_SIZE, one_camera_rig, takes
from tests.scenes.scans.recordings import write_open3d
from tests.scenes.user_scan.box import as_cloud, box_room

Z_TO_Y_UP = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]])


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained student, with opinions that differ from place to place."""
    network = build_network("T", 30, seed=3).eval()
    with torch.no_grad():
        network.output.weight.mul_(6)  # type: ignore[union-attr, operator]
    card = NetworkCard("T", True, "panorooms3d", PANOROOMS3D.names, 0.04, 5)
    folder = tmp_path_factory.mktemp("model")
    save_model(LoadedModel(card, network, "a test"), folder)
    return folder


def roomseg(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def predicted(given: object, model: Path, out: Path, *options: str) -> dict[str, Any]:
    result = roomseg("predict", given, "-o", out, "--model", model, *options)
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert {path.name for path in out.iterdir()} == {"labeled.ply", "labels.npz", "summary.json", "view.html"}
    assert (out / "view.html").stat().st_size < 10_000_000
    return json.loads((out / "summary.json").read_text())


def refused(*arguments: object) -> str:
    result = roomseg(*arguments)
    assert isinstance(result.exception, UserError), repr(result.exception)
    assert "\n" not in str(result.exception)
    return str(result.exception)


def write_glb(surface: Surface, path: Path, scale: float = 1.0) -> Path:
    points = scale * surface.points @ Z_TO_Y_UP.T
    trimesh.Trimesh(points, surface.faces, vertex_colors=surface.color, process=False).export(path)
    return path


def test_a_phone_scan_gets_labels_at_its_own_vertices(model: Path, tmp_path: Path) -> None:
    room = box_room(0.06)
    summary = predicted(write_glb(room, tmp_path / "scan.glb"), model, tmp_path / "out")
    labels = np.load(tmp_path / "out" / "labels.npz")
    assert labels["label"].shape == labels["confidence"].shape == (len(room.points),)
    labelled = trimesh.load(tmp_path / "out" / "labeled.ply", process=False)
    np.testing.assert_allclose(labelled.vertices, room.points @ Z_TO_Y_UP.T, atol=1e-6)
    np.testing.assert_array_equal(labelled.faces, room.faces)
    np.testing.assert_array_equal(
        labelled.visual.vertex_colors[:, :3], np.array(PANOROOMS3D.colors, np.uint8)[labels["label"]]
    )
    vertex = labelled.metadata["_ply_raw"]["vertex"]["data"]
    np.testing.assert_array_equal(vertex["label"].ravel(), labels["label"])
    np.testing.assert_allclose(vertex["confidence"].ravel(), labels["confidence"])
    assert (labels["label"] > 0).mean() > 0.96  # the floor under the bed was seen by no one
    assert summary["input"]["units"].startswith("m (")
    assert summary["input"]["up"] == "+Y (as glTF specifies)"
    whole = 2 * (3.6 * 3.0 + 3.6 * 2.5 + 3.0 * 2.5) + 1.9 * 1.2 + 2 * 0.5 * (1.9 + 1.2)
    assert 0.96 * whole < summary["area_m2"] < whole
    assert sum(each["share"] for each in summary["classes"]) == pytest.approx(1, abs=1e-3)
    assert sum(each["points"] for each in summary["classes"]) + summary["unlabelled_points"] == len(room.points)
    known = labels["label"] > 0
    assert summary["mean_confidence"] == pytest.approx(labels["confidence"][known].mean(), abs=1e-4)


@pytest.mark.heavy
def test_units_and_way_up_do_not_change_the_labels(model: Path, tmp_path: Path) -> None:
    room = box_room(0.1)
    predicted(write_glb(room, tmp_path / "m.glb"), model, tmp_path / "a")
    write_glb(room, tmp_path / "mm.glb", scale=1000.0)
    predicted(tmp_path / "mm.glb", model, tmp_path / "b")
    trimesh.Trimesh(room.points, room.faces, vertex_colors=room.color, process=False).export(tmp_path / "z.obj")
    predicted(tmp_path / "z.obj", model, tmp_path / "c", "--up", "+z", "--units", "m")
    first, *others = (np.load(tmp_path / name / "labels.npz")["label"] for name in "abc")
    for other in others:
        assert (first == other).mean() > 0.8  # rounding moves the grid, and an untrained network feels that


def test_a_cloud_with_strays_keeps_each_of_its_points(model: Path, tmp_path: Path) -> None:
    cloud = as_cloud(box_room(), 60_000)
    strays = np.random.default_rng(0).uniform(-30, 30, (5000, 3))
    points = np.concatenate([cloud.points, strays])
    colors = np.concatenate([cloud.color, np.zeros((5000, 3), np.uint8)])
    trimesh.PointCloud(points, colors=colors).export(tmp_path / "scan.ply")
    summary = predicted(tmp_path / "scan.ply", model, tmp_path / "out")
    label = np.load(tmp_path / "out" / "labels.npz")["label"]
    assert len(label) == 65_000
    assert (label[:60_000] > 0).mean() > 0.99
    assert (label[60_000:] == 0).mean() > 0.99
    assert summary["area_m2"] == pytest.approx(54, rel=0.12)
    assert summary["input"]["kind"] == "point cloud"


def test_what_is_a_guess_is_printed_and_in_the_summary(model: Path, tmp_path: Path) -> None:
    room = box_room(0.1, ceiling=False)
    points = room.points * (1, -1, -1) / 0.3048
    trimesh.Trimesh(points, room.faces, vertex_colors=room.color, process=False).export(tmp_path / "scan.ply")
    result = roomseg("predict", tmp_path / "scan.ply", "-o", tmp_path / "out", "--model", model)
    assert result.exit_code == 0, repr(result.exception)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["input"]["units"].startswith("ft (it is then 2.")
    assert summary["input"]["up"].startswith("-Z (")
    (warning,) = summary["warnings"]
    assert warning.startswith("taken to be in ft, for it is ")
    assert f"warning {warning}" in result.output


def test_map_coordinates_in_single_precision_are_told(model: Path, tmp_path: Path) -> None:
    cloud = as_cloud(box_room(), 20_000)
    far = cloud.points + np.array([2e5, 3e5, 100])  # a PLY file of trimesh has float32
    trimesh.PointCloud(far, colors=cloud.color).export(tmp_path / "scan.ply")
    (warning,) = predicted(tmp_path / "scan.ply", model, tmp_path / "out", "--units", "m", "--up", "+z")["warnings"]
    assert warning.startswith("it lies so far from the origin that its coordinates are rounded to 0.031 m")


def test_strays_alone_are_labelled_with_a_warning(model: Path, tmp_path: Path) -> None:
    points, rng = np.random.default_rng(0).uniform(-30, 30, (20_000, 3)), np.random.default_rng(1)
    trimesh.PointCloud(points, colors=rng.integers(0, 256, (20_000, 3), np.uint8)).export(tmp_path / "scan.ply")
    summary = predicted(tmp_path / "scan.ply", model, tmp_path / "out", "--units", "cm")
    (warning,) = summary["warnings"]
    assert warning.endswith("it was looked at from outside; expected a room: are units and up right?")


def test_recordings_stored_rooms_and_published_rooms(model: Path, tmp_path: Path) -> None:
    rig = one_camera_rig(DEPTH_LENS, DEPTH_SIZE)
    write_open3d(tmp_path / "recording", takes(rig, 4), "json", DEPTH_LENS)
    summary = predicted(tmp_path / "recording", model, tmp_path / "a", "--up", "+z")
    assert summary["input"]["kind"] == "RGB-D frames (open3d)"
    assert summary["input"]["points"] > 500

    room = small_room(2, shape=(20, 24, 18))
    render(str(tmp_path / "store"), tmp_path / "scratch", room)
    summary = predicted("room2", model, tmp_path / "b", "--store", str(tmp_path / "store"))
    assert summary["input"]["volume_voxels"] == [20, 24, 18]

    x, y, z = np.meshgrid(*map(np.arange, (24, 20, 16)), indexing="ij")
    sdf = np.clip((z - 6 + 0 * x * y) / 5, -1, 1).astype(np.float32)
    np.savez(
        tmp_path / "uuid_1.npz",
        sdf128=sdf,
        color128=np.full(sdf.shape, 1000, np.float32),
        semanticlabel=0 * sdf.astype(int),
    )
    summary = predicted(tmp_path / "uuid_1.npz", model, tmp_path / "c")
    assert summary["area_m2"] == pytest.approx(23 * 19 * 0.04**2, rel=0.15)


def test_bad_input_gets_help(model: Path, tmp_path: Path) -> None:
    room, out = box_room(), tmp_path / "out"
    ask = ("-o", out, "--model", model, "--store", tmp_path / "store")
    trimesh.Trimesh(room.points, room.faces, process=False).export(tmp_path / "grey.ply")
    assert "grey.ply has no colours; expected a colour" in refused("predict", tmp_path / "grey.ply", *ask)
    (tmp_path / "notes.txt").write_text("hello")
    assert "notes.txt is not one of .ply, .obj, .glb, .gltf" in refused("predict", tmp_path / "notes.txt", *ask)
    assert re.search("nowhere is no file or folder here, and no room of .* either: .*run `roomseg render`",
                     refused("predict", "nowhere", *ask))  # fmt: skip
    (tmp_path / "empty").mkdir()
    assert "no recording in it or 2 folders below" in refused("predict", tmp_path / "empty", *ask)
    huge = write_glb(replace(room, points=room.points * 300), tmp_path / "huge.glb")
    text = refused("predict", huge, *ask, "--units", "m")
    assert "got a scan of 1080 x 900 x 750 m; expected at most 120 m a side: cut it into parts" in text
    text = refused("predict", "scan.glb", "-o", tmp_path / "notes.txt" / "out")
    assert (
        text
        == f"--out {tmp_path}/notes.txt/out: {tmp_path}/notes.txt is not a folder that can be written; choose another"
    )
    (tmp_path / "bad.npz").write_bytes(b"no")
    assert str(tmp_path / "bad.npz") in refused("predict", tmp_path / "bad.npz", *ask)
    trimesh.PointCloud([[1.0, 2.0, 3.0]], colors=[[9, 9, 9, 255]]).export(tmp_path / "one.ply")
    assert "got a cloud of 1 finite points" in refused("predict", tmp_path / "one.ply", *ask)
    assert not out.exists()


@pytest.mark.parametrize(
    ("given", "options", "says"),
    [
        ("room2", ("--units", "mm", "--up", "+x", "--frame-stride", "5"),
         "got --units, --up, --frame-stride for a room of a store, expected none of them: leave out what"),
        ("uuid.npz", ("--units", "cm"), "got --units for a published room, expected none of them"),
        ("scan.glb", ("--max-depth-m", "3"), "got --max-depth-m for a mesh or a cloud, expected --units, --up: leave"),
        ("scan.glb", ("--depth-units-per-m", "1000"), "got --depth-units-per-m for a mesh or a cloud"),
        ("", ("--units", "mm"), "got --units for a recording, expected --up, --depth-units-per-m, --frame-stride, "),
        ("", ("--up", "+x"), "--up +x: of a recording's poses expected auto, +z, +y or -y"),
    ],
)  # fmt: skip
def test_options_of_another_kind_of_input_are_refused(
    given: str, options: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    result = roomseg("predict", given or tmp_path, "-o", tmp_path / "out", "--model", tmp_path / "none", *options)
    assert isinstance(result.exception, UsageError), repr(result.exception)  # no model was looked for
    assert says in str(result.exception)


def test_a_model_that_is_not_there_gets_help(tmp_path: Path) -> None:
    scan, store = write_glb(box_room(), tmp_path / "scan.glb"), tmp_path / "store"
    ask = ("predict", scan, "-o", tmp_path / "out", "--store", store)
    for spec in ("", "distill", "models:/roomseg@champion"):
        text = refused(*ask, "--model", spec)
        assert text.startswith("no model is trained yet: ")
        assert f"`python pipeline.py --local --profile demo` trains a small one in minutes with --store {store}" in text
    assert "gone.pth is not there; expected a folder with model.json" in refused(*ask, "--model", tmp_path / "gone.pth")
    torch.save({"state_dict": {"a": torch.ones(2)}}, tmp_path / "other.pth")
    assert "other.pth has no weights of a 3D Segmenter" in refused(*ask, "--model", tmp_path / "other.pth")


def test_import_says_why_a_store_cannot_be_one(model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    text = refused("import", model, "--store", tmp_path / "file")
    assert text.startswith(f"cannot write {tmp_path}/file: a part of the path is a file, expected a directory")


@pytest.mark.heavy
def test_export_and_import_give_the_same_model_back(model: Path, tmp_path: Path) -> None:
    store = ("--store", tmp_path / "store")
    result = roomseg("export", "-o", tmp_path / "exported", "--model", model, *store)
    assert result.exit_code == 0, repr(result.exception)
    weights = load_file(tmp_path / "exported" / "model.safetensors")
    original = load_file(model / "model.safetensors")
    assert weights.keys() == original.keys()
    assert all(torch.equal(weights[name], original[name]) for name in weights)
    script = torch.jit.load(tmp_path / "exported" / "model.torchscript.pt")
    assert script(torch.zeros(1, 4, 9, 10, 11)).shape == (1, 30, 9, 10, 11)

    state = {f"module.{name}": tensor for name, tensor in weights.items()}
    torch.save({"epoch": 3, "state_dict": state, "optimizer": {}}, tmp_path / "3DSeg-T.pth")
    for _ in range(2):  # the same file again is the same version
        result = roomseg("import", tmp_path / "3DSeg-T.pth", *store)
        assert "registered a 3D Segmenter T (30 classes, 4 cm) as roomseg version 1" in result.output, repr(
            result.exception
        )
    scan = write_glb(box_room(), tmp_path / "scan.glb")
    predicted(scan, model, tmp_path / "a")
    out = tmp_path / "b"
    result = roomseg("predict", scan, "-o", out, "--model", "models:/roomseg@published", *store)
    assert result.exit_code == 0, repr(result.exception)
    first, second = (np.load(folder / "labels.npz") for folder in (tmp_path / "a", out))
    for name in ("label", "confidence", "voxel_label"):
        np.testing.assert_array_equal(first[name], second[name])
    text = refused("predict", scan, "-o", out, "--model", "models:/roomseg@nobody", *store)
    assert "nobody" in text
