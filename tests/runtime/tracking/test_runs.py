from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from roomseg.errors import UsageError, UserError
from roomseg.runtime.storage import DirectoryStore
from roomseg.runtime.tracking import Journal, MlflowRegistry, StageRun, default_tracking_uri, open_tracking
from roomseg.runtime.tracking.client import connect, serve_ui
from roomseg.runtime.tracking.runs import flattened
from tests.conftest import free_ports


@pytest.fixture
def client(mlflow_uri: str) -> Any:
    return connect(mlflow_uri)


def opened(uri: str, run_id: str = "run-1", stage: str = "teacher", mark: str = "abc", **params: Any) -> StageRun:
    journal = Journal(DirectoryStore(Path(tempfile.mkdtemp())), "folder")
    return open_tracking(uri, run_id, stage, mark, params, {"roomseg.code_version": "0+1"}, pytest.fail, journal)


def all_runs(client: Any) -> list[Any]:
    return client.search_runs([client.get_experiment_by_name("roomseg").experiment_id])


def test_one_parent_and_one_nested_run(mlflow_uri: str, client: Any) -> None:
    with opened(mlflow_uri, lr=0.1, sizes=[1, 2], start="random", nested={"deep": {"x": None}}) as run:
        assert {found.info.status for found in all_runs(client)} == {"RUNNING"}
        run.conclude({"miou": 0.25}, {"roomseg.manifest": "there"})
    parent, nested = sorted(all_runs(client), key=lambda run: "mlflow.parentRunId" in run.data.tags)
    assert parent.data.tags["roomseg.run_id"] == "run-1"
    assert nested.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert (parent.info.run_name, nested.info.run_name) == ("run-1", "teacher")
    assert nested.data.params == {"lr": "0.1", "sizes": "[1, 2]", "start": "random", "nested.deep.x": "null"}
    assert nested.data.tags["roomseg.manifest"] == "there"
    assert nested.data.tags["roomseg.code_version"] == "0+1"
    assert nested.data.metrics == {"final/miou": 0.25}
    assert (parent.info.status, nested.info.status) == ("FINISHED", "FINISHED")


def test_a_retry_finds_its_run_and_doubles_no_step(mlflow_uri: str, client: Any) -> None:
    first = opened(mlflow_uri, workers=1)
    for step in range(1, 6):
        first.log(step, {"loss": 1 / step})
    first.log(4, {"val/miou": 0.1})
    with pytest.raises(RuntimeError), first:
        raise RuntimeError
    assert [run.info.status for run in all_runs(client)] == ["FAILED", "FAILED"]
    with opened(mlflow_uri, workers=2) as second:  # continues from the checkpoint of step 3
        assert [run.info.status for run in all_runs(client)] == ["RUNNING", "RUNNING"]
        for step in range(4, 9):
            second.log(step, {"loss": 1 / step})
        second.log(4, {"val/miou": 0.1})
        second.log(8, {"val/miou": 0.2, "new": 1.0})
    assert second.run_id == first.run_id
    assert len(all_runs(client)) == 2
    history = client.get_metric_history(first.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(step, 1 / step) for step in range(1, 9)]
    assert [metric.step for metric in client.get_metric_history(first.run_id, "val/miou")] == [4, 8]
    assert client.get_run(first.run_id).data.params == {"workers": "1"}


def test_another_pipeline_run_or_fingerprint_is_another_run(mlflow_uri: str) -> None:
    ids = []
    for run_id, mark in (("run-1", "a"), ("run-1", "b"), ("run-2", "a"), ("run-1", "a")):
        with opened(mlflow_uri, run_id=run_id, mark=mark) as run:
            ids.append(run.run_id)
    assert len(set(ids)) == 3
    assert ids[0] == ids[3]


def test_the_parent_is_what_its_stages_are(mlflow_uri: str, client: Any) -> None:
    def parent_status() -> str:
        return next(run.info.status for run in all_runs(client) if "roomseg.run_id" in run.data.tags)

    with opened(mlflow_uri, stage="teacher", mark="t"):
        with pytest.raises(KeyboardInterrupt), opened(mlflow_uri, stage="pretrain", mark="p") as pretrain:
            raise KeyboardInterrupt
        assert client.get_run(pretrain.run_id).info.status == "KILLED"
        assert parent_status() == "RUNNING"
    assert parent_status() == "KILLED"
    with opened(mlflow_uri, stage="pretrain", mark="p"):
        pass
    assert parent_status() == "FINISHED"


def test_a_run_that_kfp_made_is_the_parent_and_stays_kfps(
    mlflow_uri: str, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = client.create_run(client.create_experiment("kfp"), run_name="theirs")
    monkeypatch.setenv("MLFLOW_RUN_ID", theirs.info.run_id)
    for _ in range(2):
        with opened(mlflow_uri) as run:
            pass
    assert client.get_experiment_by_name("roomseg") is None
    nested = client.get_run(run.run_id)
    assert nested.data.tags["mlflow.parentRunId"] == theirs.info.run_id
    assert nested.info.experiment_id == theirs.info.experiment_id
    assert client.get_run(theirs.info.run_id).info.status == "RUNNING"
    assert len(client.search_runs([theirs.info.experiment_id])) == 2


def test_a_server_that_goes_away_loses_no_figure(mlflow_uri: str, client: Any, tmp_path: Path) -> None:
    said: list[str] = []
    store = DirectoryStore(tmp_path / "store")

    def tracked() -> StageRun:
        journal = Journal(store, "folder")
        return open_tracking(mlflow_uri, "run-1", "teacher", "abc", {}, {}, said.append, journal)

    def fail(*_: Any, **__: Any) -> None:
        raise ConnectionError("gone\nwith details")

    run = tracked()
    run.client.log_batch = run.client.set_tag = run.client.set_terminated = fail
    with run:
        for step in range(1000):
            run.log(step, {"loss": 1 / (1 + step)})
        run.conclude({}, {"a": "b"})
    assert said == [
        "MLflow: the run's end (FINISHED) was not recorded: gone",
        "MLflow does not take the figures: 1000 of them wait in the store for the next attempt",
    ]
    with tracked() as again:
        for step in range(990, 1010):  # from a checkpoint
            again.log(step, {"loss": 2.0})
    history = client.get_metric_history(run.run_id, "loss")
    assert [metric.step for metric in history] == list(range(1010))
    assert [metric.value for metric in history] == [1 / (1 + step) if step < 1000 else 2.0 for step in range(1010)]
    assert store.list("") == []


def test_log_does_not_wait_for_the_server(mlflow_uri: str, client: Any) -> None:
    run = opened(mlflow_uri)
    send, may_send = run.client.log_batch, threading.Event()
    run.client.log_batch = lambda *a, **k: (may_send.wait(30), send(*a, **k))
    with run:
        for step in range(2000):
            run.log(step, {"loss": float(step), "lr": 0.1})
        may_send.set()  # a log() that waits would never get here
    history = client.get_metric_history(run.run_id, "loss")
    assert sorted(metric.step for metric in history) == list(range(2000))


def test_metrics_are_sent_while_the_stage_runs(mlflow_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roomseg.runtime.tracking.runs._SEND_EVERY_S", 0.1)
    sent = threading.Event()
    with opened(mlflow_uri) as run:
        send = run.client.log_batch
        run.client.log_batch = lambda *a, **k: (send(*a, **k), sent.set())
        run.log(1, {"loss": 1.0})
        assert sent.wait(120)


def test_two_stages_that_start_together_share_the_parent_and_are_quiet(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/new/mlflow.db"  # its tables are not made yet
    script = """if True:
        import pathlib, sys
        from roomseg.runtime.storage import DirectoryStore
        from roomseg.runtime.tracking import Journal, open_tracking
        journal = Journal(DirectoryStore(pathlib.Path(sys.argv[3])), sys.argv[2])
        with open_tracking(sys.argv[1], "run-1", sys.argv[2], sys.argv[2], {}, {}, print, journal) as run:
            run.log(1, {"loss": 1.0})
    """
    stages = [
        subprocess.Popen(
            [sys.executable, "-c", script, uri, stage, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for stage in ("teacher", "pretrain")
    ]
    assert [stage.communicate(timeout=500)[0] for stage in stages] == ["", ""]
    assert [stage.returncode for stage in stages] == [0, 0]
    runs = all_runs(connect(uri))
    assert sorted(run.info.run_name for run in runs) == ["pretrain", "run-1", "teacher"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert all(run.info.artifact_uri.startswith(f"file://{tmp_path}/new/mlartifacts/") for run in runs)


def test_no_server_is_a_warning_and_a_registry_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("roomseg.runtime.tracking.client.time.sleep", lambda _: None)
    uri, said = f"http://user:hush@127.0.0.1:{free_ports(1)[0]}", list[str]()
    store = DirectoryStore(tmp_path)
    with open_tracking(uri, "run-1", "teacher", "abc", {}, {}, said.append, Journal(store, "folder")) as run:
        run.log(1, {"loss": 0.5})
        run.keep()
        assert [figure[:2] for figure in Journal(store, "folder").read()] == [("loss", 0.5)]
        with pytest.raises(UserError, match=r"MLflow at http://127.* did not answer: start it and run"):
            MlflowRegistry(run.client, run.run_id, uri).champion("roomseg")
    assert len(said) == 3
    assert re.search(r"does not answer .*refused.*: start it, or give another --tracking-uri; until then", said[0])
    assert said[2] == "MLflow does not take the figures: 1 of them wait in the store for the next attempt"
    assert "hush" not in " ".join(said)
    assert len(Journal(store, "folder").read()) == 1


def test_a_database_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write the MLflow database in .*: start it, or give another"):
        opened(f"sqlite:///{tmp_path}/file/mlflow.db")


def test_default_tracking_uri(tmp_path: Path) -> None:
    assert default_tracking_uri(str(tmp_path)) == f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(UsageError, match="give --tracking-uri or set MLFLOW_TRACKING_URI"):
        default_tracking_uri("s3://bucket/x")


def test_no_page_without_runs(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there are no runs yet: .*mlflow.db is not there"):
        serve_ui(default_tracking_uri(str(tmp_path)), 5000)


def test_flattened() -> None:
    assert flattened({"a": {"b": 1, "c": "x"}, "d": [True, 0.5]}) == {"a.b": "1", "a.c": "x", "d": "[true, 0.5]"}
