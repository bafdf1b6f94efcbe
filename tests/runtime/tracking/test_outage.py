"""A real MLflow server that is away at the start, goes away in the middle and comes back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from roomseg.runtime.storage import DirectoryStore
from roomseg.runtime.tracking import Journal, StageRun, open_tracking
from roomseg.runtime.tracking.client import connect
from tests.servers import MlflowServer
from tests.waiting import wait_until

STEPS = 300


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MlflowServer]:
    made = MlflowServer(tmp_path)
    yield made
    made.kill()


@pytest.mark.heavy
def test_no_figure_is_lost_or_doubled(server: MlflowServer, tmp_path: Path) -> None:
    store, said = DirectoryStore(tmp_path / "store"), list[str]()

    def tracked() -> StageRun:
        return open_tracking(server.uri, "run-1", "teacher", "f", {"lr": 1}, {}, said.append, Journal(store, "a"))

    def log(run: StageRun, first: int, stop: int) -> None:
        for step in range(first, stop):
            run.log(step, {"loss": 1 / (1 + step), "lr": 0.1})

    first = tracked()  # the server is away
    assert "does not answer" in said[0]
    log(first, 0, 100)
    server.start()
    wait_until(lambda: not first._sender.waiting())  # it is back: what waited is sent
    log(first, 100, 150)
    wait_until(lambda: not first._sender.waiting())
    server.kill()  # in the middle
    log(first, 150, 220)
    first.keep()  # a checkpoint of step 220; then the attempt is killed
    log(first, 220, 230)
    first._sender._link = first._sender.linked = None  # type: ignore[assignment]

    with tracked() as second:  # still away, to the end
        log(second, 220, 260)
        second.conclude({"miou": 0.5}, {"roomseg.manifest": "there"})
    server.start()
    with tracked() as third:
        log(third, 255, STEPS)
        third.conclude({"miou": 0.5}, {"roomseg.manifest": "there"})
    client = connect(server.uri)
    for name in ("loss", "lr"):
        history = client.get_metric_history(third.run_id, name)
        assert [metric.step for metric in history] == list(range(STEPS))
    assert len(client.get_metric_history(third.run_id, "final/miou")) == 1
    runs = client.search_runs([client.get_experiment_by_name("roomseg").experiment_id])
    assert sorted(run.info.run_name for run in runs) == ["run-1", "teacher"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert store.list("") == []
