"""The images really built, and two stages really run in them as KFP runs them, against a real S3 and MLflow server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from roomseg.config import PipelineConfig, override
from roomseg.profiles import demo
from roomseg.runtime.manifest import Manifest
from tests.e2e.test_local_pipeline import TINY
from tests.golden.update import GOLDEN
from tests.images import container
from tests.images.container import Image
from tests.images.storage import ROOT, Storage, open_storage
from tests.servers import MlflowServer

pytestmark = [
    pytest.mark.images,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(bool(container.missing()), reason=f"not here: {', '.join(container.missing())}"),
]
CACHES = {"ROOMSEG_CACHE_DIR": "/scratch", "NUMBA_CACHE_DIR": "/scratch/numba", "TMPDIR": "/scratch"}


@pytest.fixture(scope="module")
def storage() -> Iterator[Storage]:
    """With the base in it that both images are built on."""
    with open_storage() as opened:
        container.make_base(opened)
        yield opened


@pytest.fixture(scope="module")
def render_image(storage: Storage) -> Image:
    return container.build(storage, "render")


@pytest.fixture(scope="module")
def train_image(storage: Storage) -> Image:
    return container.build(storage, "train-cpu")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """As a pod's volume: the image's user may write it."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    os.chown(folder, 1000, 1000)
    tmp_path.chmod(0o755)
    return folder


@pytest.fixture
def mlflow_server(tmp_path: Path) -> Iterator[str]:
    server = MlflowServer(tmp_path)
    try:
        server.start()
        yield server.uri
    finally:
        server.kill()


@pytest.fixture(scope="module")
def tiny() -> PipelineConfig:
    return override(demo(), TINY)


def run_component(
    image: Image, stage: str, parameters: dict, inputs: dict[str, str], scratch: Path, **env: str
) -> dict:
    """The container's command of the compiled pipeline, with KFP's input; returns what it wrote for KFP."""
    spec = next(yaml.safe_load_all((GOLDEN / "pipeline_demo.yaml").read_text()))
    component = spec["components"][f"comp-{stage}"]
    executor = spec["deploymentSpec"]["executors"][f"exec-{stage}"]["container"]
    outputs = component["outputDefinitions"]["artifacts"]
    given = {
        "inputs": {
            "parameterValues": parameters,
            "artifacts": {name: _artifact(name, "system.Artifact", uri) for name, uri in inputs.items()},
        },
        "outputs": {
            "artifacts": {
                name: _artifact(name, output["artifactType"]["schemaTitle"], f"/scratch/out/{name}")
                for name, output in outputs.items()
            },
            "outputFile": "/scratch/out/executor_output.json",
        },
    }
    (scratch / "out").mkdir(exist_ok=True)
    os.chown(scratch / "out", 1000, 1000)
    arguments = [json.dumps(given) if each == "{{$}}" else each for each in executor["args"]]
    done = image.run(scratch, *executor["command"], *arguments, **CACHES, **env)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads((scratch / "out/executor_output.json").read_text())


def _artifact(name: str, schema: str, uri: str) -> dict:
    return {"artifacts": [{"name": name, "type": {"schemaTitle": schema}, "uri": uri, "metadata": {}}]}


def test_two_stages_run_inside(render_image, train_image, tiny, scratch, s3_store, mlflow_server):
    s3 = {name: os.environ[name] for name in os.environ if name.startswith("AWS_")}
    where = {"store": s3_store, "tracking_uri": mlflow_server, "run_id": "in-containers"}
    rendered = {"config": tiny.render.model_dump_json(), **where}
    run_component(render_image, "render", rendered, {}, scratch, **s3)
    rooms = Manifest.from_json((scratch / "out/rooms").read_text())
    assert (rooms.stage, rooms.scores["rooms"]) == ("render", 5)
    pretrained = {"config": tiny.pretrain.model_dump_json(), **where}
    told = run_component(train_image, "pretrain", pretrained, {"rooms": "/scratch/out/rooms"}, scratch, **s3)
    manifest = Manifest.from_json((scratch / "out/pretrained").read_text())
    assert manifest.parents["rooms"] == rooms.as_parent()
    logged = told["artifacts"]["metrics"]["artifacts"][0]["metadata"]
    assert logged["val_miou"] == pytest.approx(manifest.scores["val_miou"])


@pytest.mark.parametrize("name", ["render", "train"])
def test_the_user_is_nobody_special_and_the_root_is_read_only(name, request, scratch):
    image: Image = request.getfixturevalue(f"{name}_image")
    assert image.config()["User"] == "1000:1000"
    looked = image.run(scratch, "sh", "-c", "id -u; touch /opt/roomseg/x; touch /scratch/x && ls /scratch")
    assert looked.stdout.split() == ["1000", "x"]
    assert "Read-only file system" in looked.stderr
    assert image.run(scratch, "roomseg", "--help").returncode == 0


@pytest.mark.parametrize("name", ["render", "train"])
def test_what_is_inside(name, request, scratch):
    image: Image = request.getfixturevalue(f"{name}_image")
    compilers = image.run(scratch, "sh", "-c", "command -v gcc cc g++ clang make; true").stdout.split()
    assert compilers == []
    bill = image.run(scratch, "cat", image.config()["Labels"]["io.roomseg.sbom"])
    packages = {part["name"]: part.get("version") for part in json.loads(bill.stdout)["components"]}
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert packages["kfp"] == pinned["kfp"]
    strays = {p: v for p, v in packages.items() if p in pinned and v.partition("+")[0] != pinned[p].partition("+")[0]}
    assert strays == {}
    assert ("torch" in packages) == (name == "train")
