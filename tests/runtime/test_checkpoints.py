from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from roomseg.runtime.checkpoints import StoreCheckpoints
from roomseg.runtime.storage import Store
from tests.runtime.conftest import RunPython

FOLDER = "checkpoints/teacher/abcd"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def checkpoints(store: Store, tmp_path: Path, said: list[str]) -> StoreCheckpoints:
    return StoreCheckpoints(store, "teacher", "abcd", tmp_path / "scratch", said.append)


def state_at(step: int) -> dict[str, Any]:
    return {"model": {"w": torch.arange(6.0).view(2, 3) + step}, "step": step}


def test_none_at_the_start(checkpoints: StoreCheckpoints) -> None:
    assert checkpoints.latest() is None


def test_everything_a_state_may_hold_comes_back(checkpoints: StoreCheckpoints) -> None:
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "numpy_rng": np.random.Generator(np.random.PCG64(7)).bit_generator.state,  # integers of 128 bits
        "torch_rng": torch.Generator().manual_seed(3).get_state(),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "plain": [1, 2.5, "x", None, True, (1, 2)],
    }
    checkpoints.save(5, state)
    found = checkpoints.latest()
    assert found is not None
    step, loaded = found
    assert step == 5
    torch.testing.assert_close(loaded["model"], dict(state["model"]), rtol=0, atol=0)
    torch.testing.assert_close(loaded["optimizer"]["state"], state["optimizer"]["state"], rtol=0, atol=0)
    assert loaded["optimizer"]["param_groups"] == state["optimizer"]["param_groups"]
    assert loaded["numpy_rng"] == state["numpy_rng"]
    assert torch.equal(loaded["torch_rng"], state["torch_rng"])
    assert loaded["half"].dtype == torch.bfloat16
    assert loaded["plain"] == state["plain"]


@pytest.mark.parametrize("value", [np.float64(1), np.ones(2), {1, 2}, Path("x"), lambda: 0])
def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path, value: Any) -> None:
    from roomseg.runtime.storage import DirectoryStore

    checkpoints = StoreCheckpoints(DirectoryStore(tmp_path), "teacher", "abcd", tmp_path / "scratch", print)
    with pytest.raises(TypeError, match=r"state\['a'\]\[1\] is a "):
        checkpoints.save(1, {"a": [0, value]})


def test_a_full_disk_is_one_line(tmp_path: Path, run_python: RunPython) -> None:
    ended = run_python(
        """
        import errno, io, os, pathlib, sys, torch
        from roomseg.runtime.checkpoints import StoreCheckpoints
        from roomseg.runtime.storage import DirectoryStore

        class Full(io.FileIO):
            def write(self, data):
                if self.tell() + len(data) > 1 << 20:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                return super().write(data)

        folder = pathlib.Path(sys.argv[1])
        pathlib.Path.open = lambda self, mode="r": Full(self, mode)
        try:
            StoreCheckpoints(DirectoryStore(folder), "t", "f", folder, print).save(1, {"w": torch.ones(1 << 20)})
        except ValueError as error:
            print(type(error).__name__, error)
        """,
        str(tmp_path),
    )
    assert ended.stdout == f"UserError disk full at {tmp_path}: free space or choose another --store\n", ended.stderr


def test_a_checkpoint_for_which_there_is_no_memory_is_not_passed_over(tmp_path: Path, run_python: RunPython) -> None:
    """Else the training would begin anew, and its next save remove what was there."""
    ended = run_python(
        """
        import pathlib, resource, sys, torch
        from roomseg.models import weight_files  # now, while there is room for it
        from roomseg.runtime.checkpoints import StoreCheckpoints
        from roomseg.runtime.storage import DirectoryStore

        folder = pathlib.Path(sys.argv[1])
        checkpoints = StoreCheckpoints(DirectoryStore(folder), "t", "f", folder / "scratch", print)
        checkpoints.save(1, {"w": torch.ones(100 << 20, dtype=torch.uint8)})
        used = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (50 << 20), resource.RLIM_INFINITY))
        try:
            checkpoints.latest()
        except MemoryError:
            print("no room")
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print(checkpoints.latest()[0])
        """,
        str(tmp_path),
    )
    assert ended.stdout == "no room\n1\n", ended.stderr


def test_the_newest_two_are_kept(checkpoints: StoreCheckpoints, store: Store) -> None:
    for step in (1, 20, 300, 1234):
        checkpoints.save(step, state_at(step))
    assert store.list(FOLDER) == [
        f"{FOLDER}/step-00000300/manifest.json",
        f"{FOLDER}/step-00000300/state.pt",
        f"{FOLDER}/step-00001234/manifest.json",
        f"{FOLDER}/step-00001234/state.pt",
    ]
    checkpoints.clear()
    assert store.list("") == []


def damage_state(store: Store, step: str) -> None:
    data = store.get_bytes(f"{FOLDER}/step-{step}/state.pt")
    store.put_bytes(f"{FOLDER}/step-{step}/state.pt", data[:-1] + bytes([data[-1] ^ 1]))


def truncate_state(store: Store, step: str) -> None:
    store.put_bytes(f"{FOLDER}/step-{step}/state.pt", store.get_bytes(f"{FOLDER}/step-{step}/state.pt")[:100])


def remove_state(store: Store, step: str) -> None:
    store.delete(f"{FOLDER}/step-{step}/state.pt")


def truncate_manifest(store: Store, step: str) -> None:
    store.put_bytes(f"{FOLDER}/step-{step}/manifest.json", b'{"step": 20, "si')


@pytest.mark.parametrize("damage", [damage_state, truncate_state, remove_state, truncate_manifest])
def test_a_corrupt_one_is_passed_over(
    checkpoints: StoreCheckpoints, store: Store, said: list[str], damage: Any
) -> None:
    checkpoints.save(10, state_at(10))
    checkpoints.save(20, state_at(20))
    damage(store, "00000020")
    found = checkpoints.latest()
    assert found is not None
    step, state = found
    assert step == 10
    assert torch.equal(state["model"]["w"], state_at(10)["model"]["w"])
    assert len(said) == 1
    assert said[0].startswith("checkpoint of step 20 passed over: ")
    checkpoints.save(15, state_at(15))  # the corrupt one makes room, the valid ones stay
    assert [key for key in store.list(FOLDER) if key.endswith("state.pt")] == [
        f"{FOLDER}/step-00000010/state.pt",
        f"{FOLDER}/step-00000015/state.pt",
    ]


def test_all_corrupt_is_a_fresh_start(checkpoints: StoreCheckpoints, store: Store, said: list[str]) -> None:
    checkpoints.save(10, state_at(10))
    damage_state(store, "00000010")
    assert checkpoints.latest() is None
    assert len(said) == 1


def test_killed_between_state_and_manifest(
    checkpoints: StoreCheckpoints, store: Store, tmp_path: Path, run_python: RunPython
) -> None:
    checkpoints.save(10, state_at(10))
    ended = run_python(
        """
        import os, pathlib, signal, sys, torch
        from roomseg.runtime.checkpoints import StoreCheckpoints
        from roomseg.runtime.storage import open_store

        store = open_store(sys.argv[1])
        store.put_bytes = lambda key, data: os.kill(os.getpid(), signal.SIGKILL)
        StoreCheckpoints(store, "teacher", "abcd", pathlib.Path(sys.argv[2]), print).save(20, {"w": torch.ones(9)})
        """,
        store.url,
        str(tmp_path / "other"),
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert store.exists(f"{FOLDER}/step-00000020/state.pt")
    found = checkpoints.latest()
    assert found is not None
    assert found[0] == 10
    checkpoints.save(30, state_at(30))
    assert not store.exists(f"{FOLDER}/step-00000020/state.pt")


def test_a_stale_listing_does_not_cost_the_newest(
    checkpoints: StoreCheckpoints, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2):
        checkpoints.save(step, state_at(step))
    true = store.list
    listings = iter([[key for key in true(FOLDER) if "step-00000001" in key], true(FOLDER)])
    with monkeypatch.context() as patch:
        patch.setattr(store, "list", lambda prefix: next(listings))
        checkpoints.save(3, state_at(3))
    found = checkpoints.latest()
    assert found is not None
    assert found[0] == 3
