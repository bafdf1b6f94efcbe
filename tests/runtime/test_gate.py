"""The gate and ``register`` as a run has them: artifacts in a store, and the registry of a real MLflow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roomseg.config import RegisterConfig
from roomseg.runtime.artifacts import AttemptClock, StoreArtifactReader, StoreArtifactWriter, cache_dir
from roomseg.runtime.component import decide
from roomseg.runtime.manifest import Manifest, Origin, Parent
from roomseg.runtime.stage import run_stage
from roomseg.runtime.storage import open_store
from roomseg.runtime.tracking import MlflowRegistry, promote_version
from roomseg.runtime.tracking.client import connect
from roomseg.stages.room_results import NAME, RoomResults, packed
from tests.runtime.tracking.test_registry import model_dir
from tests.servers import MlflowServer

CLASSES = ("void", "wall", "bed")
DATA = "digest-of-rooms"


@dataclass
class Runs:
    """Students with the rights they got in two rooms, in one store, before one registry."""

    folder: Path
    uri: str
    model_name: str
    count: int = 0
    manifests: dict[int, tuple[Manifest, Manifest]] = field(default_factory=dict)

    def student(self, right: int, rooms: str = "ab") -> int:
        """Of ten beds a room, so many are right; the IoUs are (100 / (110 - right) + right / 10) / 2 on average."""
        self.count += 1
        files = model_dir(self.folder / f"student{self.count}", seed=self.count)
        distilled = self._artifact("distill", {path.name: path for path in files.iterdir()}, {}, {})
        matrix = np.array([[0, 0, 0], [0, 100, 0], [0, 10 - right, right]])
        results = self.folder / NAME
        results.write_bytes(packed(RoomResults(CLASSES, tuple(rooms), tuple(rooms), np.stack([matrix] * len(rooms)))))
        parents = {
            "distilled": distilled.as_parent(),
            "rooms": Parent(stage="render", fingerprint="r", digest=DATA),
        }
        scores = {"distilled_miou": right / 10, "constant_miou": 0.1, "distilled_macc": float("nan")}
        self.manifests[self.count] = distilled, self._artifact("evaluate", {NAME: results}, parents, scores)
        return self.count

    def _artifact(
        self, stage: str, files: dict[str, Path], parents: dict[str, Parent], scores: dict[str, float]
    ) -> Manifest:
        store = open_store(str(self.folder / "store"))
        origin = Origin(stage=stage, fingerprint=f"f{self.count}", code_version="", config={}, parents=parents)
        writer = StoreArtifactWriter(store, origin, AttemptClock(store, origin.folder), cache_dir(store))
        for name, path in files.items():
            writer.add(name, path)
        return writer.finish(scores)

    def gate(self, student: int, **settings: Any) -> tuple[str, str]:
        evaluation, page = self.folder / "evaluation", self.folder / "decision"
        evaluation.write_text(self.manifests[student][1].to_json())
        text = self._config(settings).model_dump_json()
        return decide(text, str(self.folder / "store"), self.uri, str(evaluation), str(page)), page.read_text()

    def register(self, student: int, **settings: Any) -> dict[str, Any]:
        """What ``registered.json`` says."""
        distilled, evaluation = self.manifests[student]
        store = str(self.folder / "store")
        inputs = {"distilled": distilled, "evaluation": evaluation}
        done = run_stage(
            "register", self._config(settings), store=store, inputs=inputs, run_id="run", tracking_uri=self.uri
        )
        opened = open_store(store)
        told = json.loads(StoreArtifactReader(opened, done, cache_dir(opened)).path("registered.json").read_text())
        assert done.scores == {"version": float(told["version"]), "champion": float(told["champion"])}
        return told

    @property
    def aliases(self) -> dict[str, str]:
        return MlflowRegistry(connect(self.uri), "", self.uri).aliases(self.model_name)

    def _config(self, settings: dict[str, Any]) -> RegisterConfig:
        return RegisterConfig(model_name=self.model_name, **settings)


@pytest.fixture(scope="module")
def server_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = MlflowServer(tmp_path_factory.mktemp("server"))
    server.start()
    try:
        yield server.uri
    finally:
        server.kill()


@pytest.fixture(params=["mlflow_uri", "server_uri"])
def runs(request: pytest.FixtureRequest, tmp_path: Path) -> Runs:
    return Runs(tmp_path, request.getfixturevalue(request.param), f"model-{request.function.__name__[:40]}")


def test_champion_challenger_and_previous(runs: Runs) -> None:
    first = runs.student(right=5)
    reason = "there was no champion to compare with"
    assert runs.gate(first) == ("register", f"**champion** {runs.model_name}: {reason}\n")
    told = {"name": runs.model_name, "version": "1", "champion": True, "reason": reason}
    assert runs.register(first) == told
    assert runs.aliases == {"champion": "1"}

    verdict, page = runs.gate(first)
    assert (verdict, "version 1, is this student" in page) == ("register", True)
    assert runs.register(first, licence="CC-BY-4.0") == told  # the reason is that of when it became champion
    assert runs.aliases == {"champion": "1"}

    worse = runs.student(right=3)
    verdict, page = runs.gate(worse)
    assert (verdict, page.partition(": ")[0]) == ("keep", f"**keep** {runs.model_name}")
    assert "mIoU 0.6173 against 0.7262 of the champion, version 1, on the same 2 test rooms: -0.1089" in page
    told = runs.register(worse)
    assert (told["version"], told["champion"], told["reason"] in page) == ("2", False, True)
    assert runs.aliases == {"champion": "1"}  # nobody is asked to promote it

    better = runs.student(right=9)
    assert runs.gate(better, class_floors={"bed": 0.95})[0] == "keep"
    verdict, page = runs.gate(better)
    assert verdict == "register"
    assert "+0.2189, 0.001 or more in 100.0% of 1000 bootstrap samples" in page
    assert runs.register(better)["champion"]
    assert runs.aliases == {"champion": "3", "previous": "1"}

    elsewhere = runs.student(right=10, rooms="bc")
    verdict, page = runs.gate(elsewhere)
    assert verdict == "register"
    assert "version 3, was tested on other rooms (2 here, 2 there, 1 of them the same)" in page
    assert not runs.register(elsewhere)["champion"]
    assert runs.aliases == {"champion": "3", "previous": "1", "challenger": "4"}
    assert not runs.register(worse)["champion"]
    assert runs.aliases["challenger"] == "4"  # it waits for a person still
    assert promote_version(runs.uri, runs.model_name) == ("4", "3")
    assert runs.aliases == {"champion": "4", "previous": "3"}
    assert runs.gate(better)[0] == "register"  # it was tested on other rooms than the champion is now


def test_a_version_is_linked_with_its_scores_rooms_and_run(runs: Runs) -> None:
    student = runs.student(right=5)
    runs.register(student, licence="CC-BY-4.0")
    client = connect(runs.uri)
    version = client.get_model_version(runs.model_name, "1")
    distilled, evaluation = runs.manifests[student]
    expected = {
        "distilled": distilled.digest,
        "evaluation": evaluation.digest,
        "rooms": DATA,
        "licence": "CC-BY-4.0",
        "gate": "there was no champion to compare with",
        "roomseg.promoted": "the first champion: there was none to compare with",
    }
    assert expected.items() <= version.tags.items()
    model = client.get_logged_model(version.tags["roomseg.model_id"])
    assert (model.source_run_id, str(model.status)) == (version.run_id, "READY")
    (metric,) = model.metrics  # the student's own, where it is a number
    assert (metric.key, metric.value) == ("test/miou", 0.5)
    assert (metric.dataset_name, metric.dataset_digest) == ("test rooms", version.tags["test_rooms"][:32])
    run = client.get_run(version.run_id)
    assert [one.model_id for one in run.outputs.model_outputs] == [model.model_id]
    (given,) = run.inputs.dataset_inputs
    assert (given.dataset.digest, given.dataset.source) == (metric.dataset_digest, version.tags["test_rooms"])
    champion = MlflowRegistry(client, "", runs.uri).champion(runs.model_name)
    assert champion is not None
    opened = open_store(str(runs.folder / "store"))
    kept = StoreArtifactReader(opened, evaluation, cache_dir(opened)).path(NAME).read_bytes()
    assert champion.results == kept
