from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import mlflow
import mlflow.pyfunc
import pytest
from safetensors.torch import save_file

from roomseg.errors import UsageError, UserError
from roomseg.labels import PANOROOMS3D
from roomseg.models.student import build_student
from roomseg.ports import Champion
from roomseg.runtime.storage import DirectoryStore
from roomseg.runtime.tracking import (
    Journal,
    MlflowRegistry,
    StageRun,
    download_model,
    open_tracking,
    promote_version,
    register_published,
    roll_back,
)
from roomseg.runtime.tracking.client import connect
from roomseg.runtime.tracking.model_card import model_card
from roomseg.runtime.tracking.registry import folder_digest


def model_dir(folder: Path, seed: int) -> Path:
    folder.mkdir()
    save_file(build_student("T", seed=seed).state_dict(), folder / "model.safetensors")
    description = {
        "network": "T",
        "labels": PANOROOMS3D.name,
        "classes": list(PANOROOMS3D.names),
        "skip": True,
        "voxel_m": 0.04,
        "truncation_voxels": 5,
    }
    (folder / "model.json").write_text(json.dumps(description))
    return folder


@pytest.fixture
def run(mlflow_uri: str, tmp_path: Path) -> StageRun:
    journal = Journal(DirectoryStore(tmp_path / "store"), "folder")
    return open_tracking(mlflow_uri, "run-1", "register", "abc", {}, {}, pytest.fail, journal)


def test_register_promote_and_predict(
    run: StageRun, mlflow_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = MlflowRegistry(run.client, run.run_id, mlflow_uri)
    folder = model_dir(tmp_path / "model", seed=1)
    assert registry.champion("roomseg") is None
    version = registry.register("roomseg", folder, {"miou": 0.1 + 0.2, "iou/door/window": 0.5}, {"why": "test"})
    assert version == "1"
    assert registry.champion("roomseg") is None
    registry.promote("roomseg", version)
    tags = run.client.get_model_version("roomseg", "1").tags
    assert registry.champion("roomseg") == Champion("1", tags, None)
    assert (tags["roomseg.score.miou"], tags["roomseg.score.iou/door/window"]) == (repr(0.1 + 0.2), "0.5")
    assert tags["why"] == "test"
    assert run.client.get_model_version("roomseg", "1").run_id == run.run_id


def test_a_version_says_what_it_is(run: StageRun, mlflow_uri: str, tmp_path: Path) -> None:
    registry = MlflowRegistry(run.client, run.run_id, mlflow_uri)
    scores = {"distilled_miou": 0.25, "teacher_miou": float("nan")}
    registry.register("roomseg", model_dir(tmp_path / "model", seed=1), scores, {"distilled": "sha-of-weights"})
    source = run.client.get_model_version_download_uri("roomseg", "1")
    packed = Path(mlflow.artifacts.download_artifacts(artifact_uri=source, dst_path=str(tmp_path)))
    metadata = mlflow.models.Model.load(str(packed)).metadata
    assert metadata["classes"] == list(PANOROOMS3D.names)
    red, green, blue = PANOROOMS3D.colors[-1]
    assert metadata["palette"][-1] == f"#{red:02x}{green:02x}{blue:02x}"
    assert (metadata["network"], metadata["voxel_m"], metadata["truncation_voxels"]) == ("T", 0.04, 5)
    card = (packed / "README.md").read_text()
    assert "| distilled_miou | 0.2500 |" in card
    assert "teacher_miou" not in card
    assert "| distilled | sha-of-weights |" in card
    assert "| licence | not stated |" in card
    assert "| licence | CC0-1.0 |" in model_card("roomseg", metadata, scores, {"licence": "CC0-1.0"})
    last = len(PANOROOMS3D.names) - 1
    assert f"| {last} | {PANOROOMS3D.names[last]} | `{metadata['palette'][last]}` |" in card


def test_a_download_leaves_the_server_of_the_process_alone(run: StageRun, mlflow_uri: str, tmp_path: Path) -> None:
    registry = MlflowRegistry(run.client, run.run_id, mlflow_uri)
    folder = model_dir(tmp_path / "model", seed=1)
    version = registry.register("roomseg", folder, {}, {}, alias="published")
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri(), os.environ.get("MLFLOW_TRACKING_URI")
    for number, uri in enumerate((f"models:/roomseg/{version}", "models:/roomseg@published")):
        found = download_model(uri, mlflow_uri, tmp_path / str(number))
        assert found is not None
        assert folder_digest(found) == folder_digest(folder)
    assert download_model("models:/roomseg@nobody", mlflow_uri, tmp_path / "none", missing_ok=True) is None
    with pytest.raises(UserError, match="'models:/roomseg', expected models:/NAME@ALIAS or models:/NAME/VERSION"):
        download_model("models:/roomseg", mlflow_uri, tmp_path / "none")
    assert (mlflow.get_tracking_uri(), mlflow.get_registry_uri(), os.environ.get("MLFLOW_TRACKING_URI")) == before


def test_the_same_folder_again_is_the_same_version(run: StageRun, mlflow_uri: str, tmp_path: Path) -> None:
    registry = MlflowRegistry(run.client, run.run_id, mlflow_uri)
    folder = model_dir(tmp_path / "model", seed=1)
    assert registry.register("roomseg", folder, {"miou": 0.1}, {}) == "1"
    assert registry.register("roomseg", folder, {"miou": 0.2}, {}) == "1"
    other = model_dir(tmp_path / "other", seed=2)
    assert folder_digest(folder) != folder_digest(other)
    assert registry.register("roomseg", other, {"miou": 0.3}, {}) == "2"
    assert len(run.client.search_model_versions("name='roomseg'")) == 2
    tags = [run.client.get_model_version("roomseg", version).tags["roomseg.score.miou"] for version in "12"]
    assert tags == ["0.2", "0.3"]


def test_challenger_champion_and_previous(run: StageRun, mlflow_uri: str, tmp_path: Path) -> None:
    registry = MlflowRegistry(run.client, run.run_id, mlflow_uri)
    with pytest.raises(UserError, match="roomseg has no version with the alias challenger: give --version N"):
        promote_version(mlflow_uri, "roomseg")
    first, second = model_dir(tmp_path / "first", seed=1), model_dir(tmp_path / "second", seed=2)
    registry.register("roomseg", first, {}, {})
    assert registry.aliases("roomseg") == {"challenger": "1"}
    assert promote_version(mlflow_uri, "roomseg") == ("1", None)
    assert registry.aliases("roomseg") == {"champion": "1"}
    assert "first champion" in run.client.get_model_version("roomseg", "1").tags["roomseg.promoted"]
    with pytest.raises(UserError, match="no version with the alias previous"):
        roll_back(mlflow_uri, "roomseg")
    registry.register("roomseg", first, {}, {})
    assert registry.aliases("roomseg") == {"champion": "1"}
    registry.register("roomseg", second, {}, {})
    assert promote_version(mlflow_uri, "roomseg", "2") == ("2", "1")
    assert registry.aliases("roomseg") == {"champion": "2", "previous": "1"}
    assert roll_back(mlflow_uri, "roomseg") == ("1", "2")
    assert registry.aliases("roomseg") == {"champion": "1", "previous": "2"}
    with pytest.raises(UserError, match="refuses"):
        promote_version(mlflow_uri, "roomseg", "9")
    assert registry.aliases("roomseg") == {"champion": "1", "previous": "2"}


def test_a_promotion_that_was_killed_is_completed(run: StageRun, mlflow_uri: str, tmp_path: Path) -> None:
    """Whatever call of the server was the last, the same promotion again leaves the aliases of an undisturbed one."""
    folders = [model_dir(tmp_path / name, seed) for seed, name in enumerate(("first", "second"))]
    for calls in range(1, 5):
        name = f"roomseg-{calls}"
        registry = MlflowRegistry(run.client, run.run_id, mlflow_uri)
        for folder in folders:
            registry.register(name, folder, {}, {})
        registry.promote(name, "1")
        registry.register(name, folders[1], {}, {})
        dying = MlflowRegistry(DyingClient(run.client, calls), run.run_id, mlflow_uri)
        with pytest.raises(Died):
            dying.promote(name, "2")
        registry.register(name, folders[1], {}, {})
        registry.promote(name, "2")
        assert registry.aliases(name) == {"champion": "2", "previous": "1"}, f"it had died after {calls} calls"


def test_published_weights_have_their_licence_and_a_run_that_ended(mlflow_uri: str, tmp_path: Path) -> None:
    folder = model_dir(tmp_path / "model", seed=1)
    assert register_published(mlflow_uri, "others", folder, "3DSeg-T.pth", "MIT") == "1"
    assert register_published(mlflow_uri, "others", folder, "3DSeg-T.pth") == "1"
    client = connect(mlflow_uri)
    version = client.get_model_version("others", "1")
    assert (version.tags["licence"], version.tags["source"]) == ("MIT", "3DSeg-T.pth")
    packed = mlflow.artifacts.download_artifacts(
        artifact_uri=client.get_model_version_download_uri("others", "1"), dst_path=str(tmp_path)
    )
    assert "| licence | MIT |" in (Path(packed) / "README.md").read_text()
    assert statuses(client) == ["FINISHED", "FINISHED"]


@pytest.mark.parametrize("name", ["a'b", "a/b", "", "a b", "a\n"])
def test_a_name_that_is_none_leaves_nothing_behind(name: str, mlflow_uri: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"got the model name .*; expected letters, digits and any of _ . - alone"):
        register_published(mlflow_uri, name, model_dir(tmp_path / "model", seed=1), "3DSeg-T.pth")
    client = connect(mlflow_uri)
    assert client.search_registered_models() == []
    assert statuses(client) == []


def test_an_import_that_fails_ends_its_run(mlflow_uri: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text("{}")  # says nothing of its labels
    with pytest.raises(KeyError):
        register_published(mlflow_uri, "others", tmp_path / "model", "3DSeg-T.pth")
    assert statuses(connect(mlflow_uri)) == ["FAILED"]


def statuses(client: Any) -> list[str]:
    """Of all runs."""
    experiments = [each.experiment_id for each in client.search_experiments()]
    return [run.info.status for run in client.search_runs(experiments)]


class Died(BaseException):
    pass


class DyingClient:
    """MLflow's client up to its ``calls``-th writing call, after which nothing of the process goes on."""

    def __init__(self, client: Any, calls: int) -> None:
        self._client, self._calls = client, calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        if not name.startswith(("set_", "delete_")):
            return method

        def call(*args: Any) -> None:
            method(*args)
            self._calls -= 1
            if self._calls == 0:
                raise Died

        return call
