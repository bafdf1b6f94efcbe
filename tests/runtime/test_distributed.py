"""A real stage in one process, and in two that share each step's batches."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from roomseg.config import Section, override
from roomseg.errors import UsageError, UserError
from roomseg.profiles import demo
from roomseg.runtime.artifacts import AttemptClock, StoreArtifactReader, StoreArtifactWriter
from roomseg.runtime.checkpoints import StoreCheckpoints
from roomseg.runtime.distributed import PROCESSES, team_size
from roomseg.runtime.manifest import Manifest, Origin
from roomseg.runtime.stage import STAGES, run_stage
from roomseg.runtime.storage import open_store
from tests.data.rooms import FolderArtifact
from tests.listening import listening
from tests.stages.distilling import bench, furnished
from tests.stages.rendered import tracking
from tests.stages.test_teacher import coloured, configured, rooms_of
from tests.waiting import wait_until


def rendered(folder: Path, store: Path) -> Manifest:
    """An artifact of five panoramas to train on."""
    return stored("render", rooms_of(folder, [*[coloured(n, "train") for n in range(5)], coloured(6, "val")]), store)


def stored(stage: str, made: FolderArtifact, store: Path) -> Manifest:
    opened = open_store(str(store))
    origin = Origin(stage=stage, fingerprint="given", code_version="1", config={}, parents={})
    writer = StoreArtifactWriter(opened, origin, AttemptClock(opened, origin.folder), store)
    for name in made.names():
        writer.add(name, made.path(name))
    return writer.finish({})


def train(store: Path, inputs: dict[str, Manifest], config: Section, stage: str = "teacher") -> StoreArtifactReader:
    where: dict[str, Any] = {"store": str(store), "run_id": "test", "tracking_uri": tracking()}
    manifest = run_stage(stage, config, inputs=inputs, **where)
    return StoreArtifactReader(open_store(str(store)), manifest, store)


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As ``torchrun`` gives its processes, so that all may be compared bit for bit."""
    for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    yield
    torch.set_num_threads(before[0])
    numba.set_num_threads(before[1])


class Stopped(BaseException):
    """As if the process had been killed."""


def test_neither_the_number_of_processes_nor_a_change_of_it_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    save, results = StoreCheckpoints.save, []

    def save_and_stop(self: StoreCheckpoints, step: int, state: Mapping[str, Any], steps: int) -> None:
        save(self, step, state, steps)
        raise Stopped

    for attempts in ((1,), (2,), (1, 2)):
        store = tmp_path / str(attempts)
        config, inputs = (
            configured("epochs=2", "accumulate=2", "drop_path=0.2"),
            {"rooms": rendered(tmp_path / f"rooms{attempts}", store)},
        )
        for processes in attempts[:-1]:
            monkeypatch.setenv(PROCESSES, str(processes))
            with monkeypatch.context() as patch:
                patch.setattr(StoreCheckpoints, "save", save_and_stop)
                with pytest.raises(Stopped):
                    train(store, inputs, config)
        monkeypatch.setenv(PROCESSES, str(attempts[-1]))
        results.append(train(store, inputs, config))
        assert not list(store.rglob("*rank-1*"))
    one, two, changed = results
    assert two.digest == one.digest, _difference(one, two)
    assert changed.digest == one.digest, _difference(one, changed)
    assert changed.manifest.attempts == 2
    history = json.loads(two.path("history.json").read_text())
    assert [entry["step"] for entry in history] == [2, 4, 4]  # of 3 batches an epoch, by two; logged once each


STUDENTS = {  # steps of two batches each, their order drawn anew each epoch
    "pretrain": ("epochs=2", "batch=1", "block_voxels=64", "cut=random", "validate_every_epochs=2"),
    "distill": ("iterations=4", "validate_every=4", 'augment=["yaw","colour"]', "feature_weight=0.5", "ema_decay=0.5"),
}


@pytest.mark.parametrize("stage", STUDENTS)
def test_a_student_learns_alike_in_one_process_and_in_two(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    rooms = [furnished(n) for n in range(4)]
    given = bench(tmp_path, [*rooms, furnished(6, "val")]).inputs
    settings = [*STUDENTS[stage], "accumulate=2", "drop_path=0.2"]
    config = override(demo(), [f"{stage}.{setting}" for setting in settings]).section(stage)
    results = []
    for processes in (1, 2):
        store = tmp_path / f"store{processes}"
        makers = STAGES[stage].inputs
        inputs = {name: stored(makers[name], given[name], store) for name in makers}
        monkeypatch.setenv(PROCESSES, str(processes))
        results.append(train(store, inputs, config, stage))
    one, two = results
    histories = [json.loads(each.path("history.json").read_text()) for each in results]
    assert histories[1] == histories[0]
    assert two.digest == one.digest, _difference(one, two, "model.safetensors")


def _difference(
    one: StoreArtifactReader, two: StoreArtifactReader, name: str = "teacher.safetensors"
) -> dict[str, float]:
    first, second = (load_file(artifact.path(name)) for artifact in (one, two))
    return {name: float((first[name] - second[name]).abs().max()) for name in first}


def test_a_process_that_dies_ends_the_run_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    monkeypatch.setenv(PROCESSES, "2")
    store = tmp_path / "store"
    inputs = {"rooms": rendered(tmp_path / "rooms", store)}
    places: set[tuple[str, int]] = set()
    killer = threading.Thread(target=_kill_second_member, args=[places])
    killer.start()
    with pytest.raises(UserError, match=r"^teacher: process 1 of the team was ended by SIGKILL; the same command"):
        train(store, inputs, configured("epochs=5000", "accumulate=2"))
    killer.join()
    assert places, "the members find each other by a socket"
    outside = [place for place in places if not place[0].startswith(("127.", "::ffff:127."))]
    assert outside == [], "a team of one machine listens on loopback only"


def _kill_second_member(places: set[tuple[str, int]]) -> None:
    """A while after the members meet. ``places`` gets where all of the team listen."""
    second = wait_until(_second_member, 600)
    wait_until(lambda: places.update(_listening()) or places, 600)
    time.sleep(5)  # it is at work
    places.update(_listening())
    os.kill(second, signal.SIGKILL)


def _listening() -> set[tuple[str, int]]:
    return set(listening([os.getpid(), *_children()]))


def _second_member() -> int | None:
    return next((int(each.name) for each in Path("/proc").glob("[0-9]*") if _is_second_member(each)), None)


def _children() -> list[int]:
    return [int(process.name) for process in Path("/proc").glob("[0-9]*") if _is_child(process)]


def _is_child(process: Path) -> bool:
    try:
        return int((process / "stat").read_text().rsplit(")", 1)[1].split()[1]) == os.getpid()
    except OSError:
        return False


def _is_second_member(process: Path) -> bool:
    try:
        return _is_child(process) and b"\0RANK=1\0" in b"\0" + (process / "environ").read_bytes()
    except OSError:
        return False


def test_an_error_of_a_member_is_the_error_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    monkeypatch.setenv(PROCESSES, "2")
    store = tmp_path / "store"
    inputs = {"rooms": rendered(tmp_path / "rooms", store)}
    config = configured("accumulate=2", "lr=1e38", "optimizer=sgd", "epochs=6", "max_bad_steps=1")
    with pytest.raises(UserError, match=r"teacher: the .* at step \d+ on rooms room\d.* 2 such steps, 1 are allowed"):
        train(store, inputs, config)
    kept = sorted(store.rglob("bad/batch-*.pt"))
    batch = torch.load(kept[0], weights_only=True)
    assert batch[0].shape[1:] == (3, 64, 128)
    assert np.unique(batch[1].numpy()).max() < 4


@pytest.mark.parametrize(("devices", "accumulate", "size"), [(1, 4, 1), (4, 1, 1), (2, 4, 2), (4, 6, 3), (8, 4, 4)])
def test_the_team_shares_the_batches_evenly(
    monkeypatch: pytest.MonkeyPatch, devices: int, accumulate: int, size: int
) -> None:
    monkeypatch.setenv(PROCESSES, str(devices))
    said: list[str] = []
    assert team_size(configured(f"accumulate={accumulate}"), said.append) == size
    assert bool(said) == (size < devices)


def test_a_number_of_processes_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PROCESSES, "two")
    with pytest.raises(UsageError, match="ROOMSEG_PROCESSES is 'two'; expected a number of processes, 1 at least"):
        team_size(configured(), print)
