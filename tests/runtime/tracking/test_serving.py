"""A registered model answers requests: here, in a process without our package, and behind MLflow's server."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from roomseg.data import index
from roomseg.data.rooms import Room
from roomseg.data.shards import write_shard
from roomseg.runtime.artifacts import AttemptClock, StoreArtifactWriter
from roomseg.runtime.manifest import Origin
from roomseg.runtime.storage import open_store
from roomseg.runtime.tracking import model_card, served_model
from roomseg.runtime.tracking.client import connect
from roomseg.runtime.tracking.registry import MlflowRegistry, save_pyfunc
from roomseg.stages.networks import predict_room
from roomseg.stages.predicting.models import load_model
from tests.conftest import free_ports
from tests.data.rooms import small_room
from tests.runtime.tracking.test_registry import model_dir
from tests.servers import wait_for_answer

PATIENT = {"MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": "300"}  # 60 s, within which the first request compiles
SERVING_PAGE = Path(__file__).parents[3] / "docs" / "serving.md"


@pytest.fixture(scope="module")
def packed_model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The model's own folder, and what MLflow makes of it."""
    folder = tmp_path_factory.mktemp("serving")
    own = model_dir(folder / "own", seed=1)
    save_pyfunc(own, folder / "packed", model_card.metadata_of(json.loads((own / "model.json").read_text())))
    return own, folder / "packed"


def room_of(shape: tuple[int, int, int], seed: int = 0) -> Room:
    rng = np.random.default_rng(seed)
    tsdf, rgb = np.full(shape, 127, np.int8), np.zeros((*shape, 3), np.uint8)
    tsdf[:, :, 4:8], rgb[:, :, 4:8] = rng.integers(-127, 127, (*shape[:2], 4)), rng.integers(0, 256, (*shape[:2], 4, 3))
    return Room("a", "a", "test", np.zeros(3), 0.04, tsdf, rgb, np.zeros(shape, np.uint8))


def packed(**arrays: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    return content.getvalue()


def as_volume(room: Room) -> bytes:
    return packed(tsdf=room.tsdf, rgb=room.rgb)


def labels_in(answer: bytes) -> np.ndarray:
    return np.load(io.BytesIO(answer), allow_pickle=False)["label"]


def test_rows_of_volumes_are_answered_as_a_direct_prediction_is(packed_model: tuple[Path, Path]) -> None:
    own, folder = packed_model
    rooms = [room_of((24, 20, 16)), room_of((10, 30, 17), seed=1)]
    answer = mlflow.pyfunc.load_model(str(folder)).predict(pd.DataFrame({"volume": list(map(as_volume, rooms))}))
    for room, labels in zip(rooms, answer["labels"], strict=True):
        np.testing.assert_array_equal(labels_in(labels), predict_room(load_model(own).network, room))


def test_the_example_is_a_request(packed_model: tuple[Path, Path]) -> None:
    model = mlflow.pyfunc.load_model(str(packed_model[1]))
    answer = model.predict(model.input_example)
    assert labels_in(answer["labels"][0]).shape == (16, 16, 16)


SMALL = np.zeros((8, 8, 8), np.int8)
COLOURS = np.zeros((8, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"volume": b"no archive"}, "the .npz: damaged"),
        ({"volume": packed(tsdf=SMALL)}, "the .npz has no rgb; expected tsdf, rgb"),
        ({"volume": packed(tsdf=SMALL.astype(np.float32), rgb=COLOURS)}, "got tsdf of float32 with shape (8, 8, 8)"),
        ({"volume": packed(tsdf=SMALL, rgb=COLOURS[:4])}, "expected uint8 (X, Y, Z, 3) of the same X, Y, Z"),
        ({"volume": packed(tsdf=SMALL[:0], rgb=COLOURS[:0])}, "got a room of 0 x 8 x 8 voxels; expected 1 to"),
        ({"room": "/etc/passwd#a"}, "expected s3://BUCKET/PREFIX#ROOM"),
        ({"room": "s3://bucket/prefix"}, "expected s3://BUCKET/PREFIX#ROOM"),
        ({"room": "s3://bucket/prefix#a", "volume": b"x"}, "got a row with both; expected volume or room"),
        ({}, "got a row with neither; expected volume or room"),
        ({"room": float("nan"), "volume": float("nan")}, "got a row with neither; expected volume or room"),
    ],
)  # fmt: skip
def test_what_is_no_room_is_told(packed_model: tuple[Path, Path], row: dict, says: str) -> None:
    model = served_model.ServedModel(load_model(packed_model[0]))
    with pytest.raises(MlflowException) as error:
        model.predict(pd.DataFrame([row]) if row else pd.DataFrame([{"volume": None}]))
    assert says in error.value.message
    assert error.value.get_http_status_code() == 400


def test_a_room_that_is_too_large_is_refused(packed_model: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_model, "MOST_VOXELS", 1000)
    model = served_model.ServedModel(load_model(packed_model[0]))
    with pytest.raises(
        MlflowException, match=r"^the .npz: tsdf: its header says 24 x 20 x 16 values; expected at most"
    ):
        model.predict(pd.DataFrame({"volume": [as_volume(room_of((24, 20, 16)))]}))


def test_it_needs_no_package_of_ours(packed_model: tuple[Path, Path], tmp_path: Path) -> None:
    """A process that cannot find the installed package loads the code that lies beside the model."""
    script = """
import sys
sys.path = [place for place in sys.path if not place.rstrip("/").endswith("src")]
try:
    import roomseg
except ModuleNotFoundError:
    import mlflow.pyfunc
    model = mlflow.pyfunc.load_model(sys.argv[1])
    print(len(model.predict(model.input_example)), sys.modules["roomseg"].__file__)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", script, str(packed_model[1])]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split()[-2:] == ["1", str(packed_model[1] / "code" / "roomseg" / "__init__.py")]


@pytest.fixture(scope="module")
def server(packed_model: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a real `mlflow models serve` of the champion of a registry."""
    folder, uri = tmp_path_factory.mktemp("server"), f"http://127.0.0.1:{free_ports(1)[0]}"
    database = registry_with(packed_model[0], folder)
    champion = ["-m", "models:/roomseg@champion", "--env-manager", "local"]
    command = [sys.executable, "-m", "mlflow", "models", "serve", *champion]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # it looks for uvicorn there
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", uri.rpartition(":")[2]],
            stdout=log,
            stderr=log,
            cwd=folder,
            env={**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": database, **PATIENT},
            start_new_session=True,
        )
    try:
        wait_for_answer(f"{uri}/ping", process, folder / "log")
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def registry_with(model: Path, folder: Path) -> str:
    """The URI of a registry that has the model as its champion."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = connect(uri)
    run_id = client.create_run(client.create_experiment("served", str(folder / "artifacts"))).info.run_id
    registry = MlflowRegistry(client, run_id, uri)
    registry.promote("roomseg", registry.register("roomseg", model, {}, {}))
    return uri


def ask(uri: str, row: dict[str, str]) -> bytes:
    body = json.dumps({"dataframe_records": [row]}).encode()
    request = urllib.request.Request(f"{uri}/invocations", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return base64.b64decode(json.load(answer)["predictions"][0]["labels"])


def test_a_room_through_the_server(server: str, packed_model: tuple[Path, Path]) -> None:
    """Run with -s to see how long it takes beside a direct prediction."""
    room, network = room_of((128, 128, 128)), load_model(packed_model[0]).network
    volume = base64.b64encode(as_volume(room)).decode()
    ways = {"served": lambda: labels_in(ask(server, {"volume": volume})), "direct": lambda: predict_room(network, room)}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    answers = {}
    for _ in range(6):
        for way, act in ways.items():
            start = time.perf_counter()
            answers[way] = act()
            seconds[way].append(time.perf_counter() - start)
    np.testing.assert_array_equal(answers["served"], answers["direct"])
    medians = {way: float(np.median(each[1:])) for way, each in seconds.items()}  # the first compiles
    print(f"\n128^3: served {medians['served']:.3f} s, direct {medians['direct']:.3f} s")


def test_the_server_says_what_is_wrong(server: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        ask(server, {"volume": base64.b64encode(b"no archive").decode()})
    assert error.value.code == 400
    assert "the .npz: damaged" in error.value.read().decode()


def test_the_client_of_the_page_on_serving_runs(server: str, tmp_path: Path) -> None:
    (script,) = re.findall(r"```python\n(.*?)```", SERVING_PAGE.read_text(), re.S)
    assert "http://127.0.0.1:5001/" in script
    script = script.replace("http://127.0.0.1:5001/", f"{server}/")
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "(96, 80, 64) uint8\n"), done.stderr


def test_a_room_of_a_store_on_s3(
    packed_model: tuple[Path, Path], s3_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room, store = small_room(0), open_store(s3_store)
    origin = Origin(stage="render", fingerprint="f", code_version="", config={}, parents={})
    writer = StoreArtifactWriter(store, origin, AttemptClock(store, origin.folder), tmp_path / "cache", lambda: None)
    summary = write_shard([room], tmp_path / "shard")
    index.write_index([("rooms/train-00000.parquet", summary)], tmp_path / "index")
    writer.add("rooms/train-00000.parquet", tmp_path / "shard")
    writer.add("rooms/index.parquet", tmp_path / "index")
    writer.finish({})
    model = load_model(packed_model[0])
    request = pd.DataFrame({"room": [f"{s3_store}#{room.id}"]})
    answer = served_model.ServedModel(model).predict(request)
    np.testing.assert_array_equal(labels_in(answer["labels"][0]), predict_room(model.network, room))
    monkeypatch.setattr(served_model, "MOST_VOXELS", 100)
    with pytest.raises(MlflowException, match="voxels; expected 1 to 100: send it in parts"):
        served_model.ServedModel(model).predict(request)


def test_a_store_that_does_not_answer_is_no_fault_of_the_request(
    packed_model: tuple[Path, Path], s3_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = served_model.ServedModel(load_model(packed_model[0]))
    with pytest.raises(MlflowException, match="has no complete render artifact") as missing:
        model.predict(pd.DataFrame({"room": [f"{s3_store}#a"]}))
    assert missing.value.get_http_status_code() == 400
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(MlflowException, match="does not answer") as outage:
        model.predict(pd.DataFrame({"room": [f"{s3_store}#a"]}))
    assert outage.value.get_http_status_code() == 503
