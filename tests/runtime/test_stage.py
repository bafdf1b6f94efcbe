"""run_stage with stages that are small, over real stores and a real MLflow."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from roomseg.config import PipelineConfig, Section, override
from roomseg.errors import UsageError, UserError
from roomseg.ports import StageContext
from roomseg.profiles import profile
from roomseg.runtime.artifacts import seconds_in
from roomseg.runtime.finding import find_artifacts, find_inputs
from roomseg.runtime.manifest import Manifest, manifest_key
from roomseg.runtime.stage import run_shard, run_stage, stage_fingerprint
from roomseg.runtime.storage import open_store
from roomseg.runtime.tracking.client import connect
from tests.runtime.conftest import RunPython

CONFIG: PipelineConfig = profile("demo")


class Stages:
    """Stands in for ``roomseg.stages.*``: which were called, and what they do."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        self.contexts: list[StageContext] = []
        self.fail: set[str] = set()
        self.furniture = "oak"
        monkeypatch.setattr("roomseg.runtime.fingerprint.code_digest", lambda stage: "code")
        for name in ("render", "teacher", "pretrain", "distill"):
            module = ModuleType(f"roomseg.stages.{name}")
            module.run = self._stage(name)  # type: ignore[attr-defined]
            module.external_digests = lambda config: {"furniture": self.furniture}  # type: ignore[attr-defined]
            monkeypatch.setitem(sys.modules, module.__name__, module)

    def _stage(self, name: str) -> Any:
        def run(config: Section, ctx: StageContext) -> dict[str, float]:
            self.calls.append(name)
            self.contexts.append(ctx)
            found = ctx.checkpoints.latest()
            start = found[0] if found else 0
            (ctx.work_dir / "made").write_text(name)
            if f"{name}/a" not in ctx.outputs:
                ctx.outputs.add(f"{name}/a", ctx.work_dir / "made")
            ctx.checkpoints.save(start + 1, {"w": torch.ones(1)})
            ctx.tracker.log(start + 1, {"loss": 1.0})
            if name in self.fail:
                raise UserError("it failed: mend it")
            return {"start": start} if ctx.shard is None else None

        return run


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Stages:
    return Stages(monkeypatch)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("ROOMSEG_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "work"


def run(
    stage: str, store_url: str, uri: str, inputs: dict[str, Manifest] | None = None, config: PipelineConfig = CONFIG
) -> Manifest:
    return run_stage(
        stage, config.section(stage), store=store_url, inputs=inputs or {}, run_id="run-1", tracking_uri=uri
    )


def test_a_stage_runs_once_and_the_next_reads_it(
    stages: Stages, store_url: str, mlflow_uri: str, work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rooms = run("render", store_url, mlflow_uri)
    again = run("render", store_url, mlflow_uri)
    assert again == rooms
    assert f"render: already complete (fingerprint {rooms.fingerprint})" in capsys.readouterr().err
    teacher = run("teacher", store_url, mlflow_uri, {"rooms": rooms})
    assert stages.calls == ["render", "teacher"]
    reader = stages.contexts[1].inputs["rooms"]
    assert reader.path("render/a").read_text() == "render"
    assert reader.digest == rooms.digest
    assert teacher.parents["rooms"] == rooms.as_parent()
    assert rooms.config == json.loads(CONFIG.render.model_dump_json())
    assert open_store(store_url).list("checkpoints/") == []
    assert [path for path in work.rglob("*") if path.is_file()] == []


def test_it_is_noted_what_a_run_came_to(stages: Stages, tmp_path: Path, mlflow_uri: str, work: Path) -> None:
    rooms = run("render", str(tmp_path / "store"), mlflow_uri)
    (note,) = (tmp_path / "store/runs/run-1/stages").iterdir()
    told = json.loads(note.read_text())
    assert (told["stage"], told["digest"], told["scores"]) == ("render", rooms.digest, {"start": 0.0})


def test_a_failed_attempt_is_continued(stages: Stages, store_url: str, mlflow_uri: str, work: Path) -> None:
    stages.fail = {"render"}
    with pytest.raises(UserError, match="it failed: mend it"):
        run("render", store_url, mlflow_uri)
    client = connect(mlflow_uri)
    experiment = client.get_experiment_by_name("roomseg").experiment_id
    assert [run.info.status for run in client.search_runs([experiment])] == ["FAILED", "FAILED"]
    stages.fail = set()
    rooms = run("render", store_url, mlflow_uri)
    assert rooms.scores == {"start": 1.0}  # from the checkpoint of the first attempt
    assert rooms.attempts == 2
    runs = client.search_runs([experiment])
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    nested = next(run for run in runs if run.info.run_name == "render")
    assert nested.data.tags["roomseg.digest"] == rooms.digest
    assert nested.data.metrics == {"loss": 1.0, "final/start": 1.0}
    assert nested.data.params["train_rooms"] == str(CONFIG.render.train_rooms)


def test_the_time_until_a_checkpoint_is_kept_with_it(
    stages: Stages, tmp_path: Path, mlflow_uri: str, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, kept_s = open_store(str(tmp_path / "store")), []

    def train(config: Section, ctx: StageContext) -> dict[str, float]:
        time.sleep(0.2)
        ctx.checkpoints.save(1, {"w": torch.ones(1)})
        (attempt,) = (key for key in store.list("artifacts/") if "/attempts/" in key)
        kept_s.append(seconds_in(store.get_bytes(attempt)))
        return {}

    monkeypatch.setattr("roomseg.runtime.artifacts._BEAT_S", 0)
    monkeypatch.setattr(sys.modules["roomseg.stages.render"], "run", train)
    assert run("render", store.url, mlflow_uri).seconds >= kept_s[0] > 0.2


def test_a_shard_leaves_the_artifact_open(stages: Stages, store_url: str, mlflow_uri: str, work: Path) -> None:
    where = {"store": store_url, "inputs": {}, "run_id": "run-1", "tracking_uri": mlflow_uri}
    for i in (2, 1):
        run_shard("render", CONFIG.render, shard=(i, 2), **where)
    assert [ctx.shard for ctx in stages.contexts] == [(2, 2), (1, 2)]
    assert len({ctx.work_dir for ctx in stages.contexts}) == 2
    assert not any(ctx.work_dir.exists() for ctx in stages.contexts)
    assert not [key for key in open_store(store_url).list("artifacts/") if key.endswith("manifest.json")]
    with pytest.raises(UserError, match="run `roomseg render` first"):
        find_artifacts(["render"], CONFIG, store_url)
    rooms = run("render", store_url, mlflow_uri)
    assert stages.contexts[2].shard is None
    assert [entry.name for entry in rooms.files] == ["render/a"]
    assert rooms.attempts == 3
    run_shard("render", CONFIG.render, shard=(1, 2), **where)
    assert len(stages.calls) == 3  # complete: nothing is left to do


def test_other_stages_have_no_shards(stages: Stages, tmp_path: Path, mlflow_uri: str, work: Path) -> None:
    with pytest.raises(UsageError, match="teacher runs as a whole; in shards runs render"):
        run_shard("teacher", CONFIG.teacher, store=str(tmp_path), inputs={}, run_id="run-1", shard=(1, 2))
    assert stages.calls == []


def test_what_is_outside_counts(stages: Stages, tmp_path: Path, mlflow_uri: str, work: Path) -> None:
    first = run("render", str(tmp_path / "store"), mlflow_uri)
    stages.furniture = "pine"
    second = run("render", str(tmp_path / "store"), mlflow_uri)
    assert first.fingerprint != second.fingerprint
    assert stages.calls == ["render", "render"]


def test_a_killed_attempt_is_continued(
    stages: Stages, tmp_path: Path, mlflow_uri: str, work: Path, run_python: RunPython
) -> None:
    store = str(tmp_path / "store")
    ended = run_python(
        """
        import os, signal, sys, types
        import torch
        from roomseg.config import parse_section
        from roomseg.runtime import fingerprint
        from roomseg.runtime.stage import run_stage

        def run(config, ctx):
            (ctx.work_dir / "made").write_text("render")
            ctx.outputs.add("render/a", ctx.work_dir / "made")
            ctx.checkpoints.save(7, {"w": torch.ones(1)})
            (ctx.work_dir / "half").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)

        module = types.ModuleType("roomseg.stages.render")
        module.run, module.external_digests = run, lambda config: {"furniture": "oak"}
        sys.modules["roomseg.stages.render"] = module
        fingerprint.code_digest = lambda stage: "code"
        section = parse_section("render", sys.argv[3])
        run_stage("render", section, store=sys.argv[1], inputs={}, run_id="run-1", tracking_uri=sys.argv[2])
        """,
        store,
        mlflow_uri,
        CONFIG.render.model_dump_json(),
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    rooms = run("render", store, mlflow_uri)
    assert rooms.scores == {"start": 7.0}
    assert [entry.name for entry in rooms.files] == ["render/a"]
    assert rooms.attempts == 2
    client = connect(mlflow_uri)
    runs = client.search_runs([client.get_experiment_by_name("roomseg").experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]


def test_killed_between_the_manifest_and_the_end_of_its_run_it_is_ended_by_the_next(
    stages: Stages, tmp_path: Path, mlflow_uri: str, work: Path, run_python: RunPython
) -> None:
    store = str(tmp_path / "store")
    ended = run_python(
        """
        import os, signal, sys, types
        from roomseg.config import parse_section
        from roomseg.runtime import fingerprint
        from roomseg.runtime.stage import run_stage
        from roomseg.runtime.storage import DirectoryStore

        put = DirectoryStore.put_if_absent

        def put_and_die(self, key, data):
            version = put(self, key, data)
            if key.endswith("/manifest.json"):
                os.kill(os.getpid(), signal.SIGKILL)
            return version

        module = types.ModuleType("roomseg.stages.render")
        module.run, module.external_digests = lambda config, ctx: {"rooms": 7}, lambda config: {"furniture": "oak"}
        sys.modules["roomseg.stages.render"] = module
        fingerprint.code_digest = lambda stage: "code"
        DirectoryStore.put_if_absent = put_and_die
        section = parse_section("render", sys.argv[3])
        run_stage("render", section, store=sys.argv[1], inputs={}, run_id="run-1", tracking_uri=sys.argv[2])
        """,
        store,
        mlflow_uri,
        CONFIG.render.model_dump_json(),
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    for _ in range(2):  # the second finds nothing left to tell
        assert run("render", store, mlflow_uri).scores == {"rooms": 7.0}
        client = connect(mlflow_uri)
        runs = client.search_runs([client.get_experiment_by_name("roomseg").experiment_id])
        assert [each.info.status for each in runs] == ["FINISHED", "FINISHED"]
        (nested,) = (each for each in runs if each.info.run_name == "render")
        assert [figure.value for figure in client.get_metric_history(nested.info.run_id, "final/rooms")] == [7.0]
    assert stages.calls == []
    assert not list((tmp_path / "store").rglob("figures/*"))


def test_a_complete_stage_imports_neither_torch_nor_mlflow(
    stages: Stages, tmp_path: Path, mlflow_uri: str, work: Path, run_python: RunPython
) -> None:
    store = str(tmp_path / "store")
    rooms = run("render", store, mlflow_uri)
    run("teacher", store, mlflow_uri, {"rooms": rooms})
    (tmp_path / "rooms.json").write_text(rooms.to_json())
    ended = run_python(
        """
        import pathlib, sys
        from roomseg.config import parse_section
        from roomseg.runtime import fingerprint
        from roomseg.runtime.manifest import Manifest
        from roomseg.runtime.stage import run_stage

        fingerprint.code_digest = lambda stage: "code"
        section = parse_section("teacher", sys.argv[3])
        rooms = Manifest.from_json(pathlib.Path(sys.argv[2]).read_text())
        run_stage("teacher", section, store=sys.argv[1], inputs={"rooms": rooms}, run_id="run-2")
        assert not {"torch", "mlflow", "boto3", "kfp"} & set(sys.modules), "imported"
        """,
        store,
        str(tmp_path / "rooms.json"),
        CONFIG.teacher.model_dump_json(),
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.startswith("teacher: already complete (fingerprint ")


def test_find_inputs(stages: Stages, tmp_path: Path, mlflow_uri: str, work: Path) -> None:
    store = str(tmp_path / "store")
    with pytest.raises(UserError, match=r"manifest.json is not there: run `roomseg render` first, with the same"):
        find_inputs("distill", CONFIG, store)
    rooms = run("render", store, mlflow_uri)
    teacher = run("teacher", store, mlflow_uri, {"rooms": rooms})
    with pytest.raises(UserError, match=r"run `roomseg pretrain` first"):
        find_inputs("distill", CONFIG, store)
    pretrained = run("pretrain", store, mlflow_uri, {"rooms": rooms})
    assert find_inputs("distill", CONFIG, store) == {"rooms": rooms, "teacher": teacher, "pretrained": pretrained}
    assert find_inputs("render", CONFIG, store) == {}
    assert find_artifacts(["pretrain"], CONFIG, store) == {"render": rooms, "pretrain": pretrained}


def test_evaluate_reads_what_it_compares(stages: Stages, tmp_path: Path, mlflow_uri: str, work: Path) -> None:
    store = str(tmp_path / "store")
    rooms = run("render", store, mlflow_uri)
    inputs = {"rooms": rooms, "teacher": run("teacher", store, mlflow_uri, {"rooms": rooms})}
    inputs["pretrained"] = run("pretrain", store, mlflow_uri, {"rooms": rooms})
    students = {**inputs, "distilled": run("distill", store, mlflow_uri, inputs)}
    assert find_inputs("evaluate", CONFIG, store) == students
    both = override(CONFIG, ['evaluate.ablations=["ce_only","no_skip"]'])
    with pytest.raises(UserError, match=r"run `roomseg pretrain --set pretrain.skip=false` first, with the same"):
        find_inputs("evaluate", both, store)
    other = override(both, ["pretrain.skip=false"])
    no_skip = run("pretrain", store, mlflow_uri, {"rooms": rooms}, other)
    with pytest.raises(UserError, match=r"run `roomseg distill --set distill.weight=0.0` first, with the same"):
        find_inputs("evaluate", both, store)
    other = override(both, ["distill.weight=0.0"])
    ce_only = run("distill", store, mlflow_uri, find_inputs("distill", other, store), other)
    compared = {"ablation_no_skip": no_skip, "ablation_ce_only": ce_only}
    assert find_inputs("evaluate", both, store) == students | compared


def test_a_truncated_manifest_is_named(stages: Stages, tmp_path: Path, mlflow_uri: str, work: Path) -> None:
    store = str(tmp_path / "store")
    rooms = run("render", store, mlflow_uri)
    path = tmp_path / "store" / manifest_key("render", rooms.fingerprint)
    path.write_text(rooms.to_json()[:200])
    with pytest.raises(UserError, match=f"{path} is no valid manifest .*: delete it and run the stage again"):
        run("render", store, mlflow_uri)
    path.unlink()
    assert run("render", store, mlflow_uri).digest == rooms.digest


def test_wrong_inputs(stages: Stages, tmp_path: Path, mlflow_uri: str, work: Path) -> None:
    store = str(tmp_path / "store")
    rooms = run("render", store, mlflow_uri)
    with pytest.raises(UserError, match=r"teacher: got the inputs \[\], expected \['rooms'\]"):
        run("teacher", store, mlflow_uri)
    teacher = run("teacher", store, mlflow_uri, {"rooms": rooms})
    with pytest.raises(UserError, match="pretrain: input 'rooms' is the artifact of teacher, expected render's"):
        run("pretrain", store, mlflow_uri, {"rooms": teacher})


def test_an_s3_store_wants_a_tracking_server(stages: Stages, s3_store: str, work: Path) -> None:
    with pytest.raises(UsageError, match="give --tracking-uri or set MLFLOW_TRACKING_URI"):
        run_stage("render", CONFIG.render, store=s3_store, inputs={}, run_id="run-1")
    assert open_store(s3_store).list("") == []


def test_a_directory_store_has_its_own_tracking(stages: Stages, tmp_path: Path, mlflow_tables: Path) -> None:
    shutil.copyfile(mlflow_tables, tmp_path / "mlflow.db")
    run_stage("render", CONFIG.render, store=str(tmp_path), inputs={}, run_id="run-1")
    assert connect(f"sqlite:///{tmp_path}/mlflow.db").get_experiment_by_name("roomseg") is not None
    assert not list((tmp_path / "work").rglob("made"))


def test_fingerprints_follow_the_inputs(stages: Stages, tmp_path: Path, mlflow_uri: str, work: Path) -> None:
    rooms = run("render", str(tmp_path / "store"), mlflow_uri)
    other = rooms.model_copy(update={"files": ()})
    marks = {stage_fingerprint("teacher", CONFIG.teacher, {"rooms": each}) for each in (rooms, other)}
    assert len(marks) == 2
