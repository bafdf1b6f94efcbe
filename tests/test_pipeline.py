"""The compiled pipeline, and what the command says to a person who errs."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from roomseg.profiles import demo
from tests.golden.update import GOLDEN, PROFILES, compile_profile

ROOT = Path(__file__).parent.parent
NO_CLUSTER = {"ROOMSEG_CLUSTER": os.devnull, "KUBECONFIG": "", "KFP_HOST": "", "KFP_TOKEN": ""}


def run_pipeline(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Without the cluster file and the kubeconfig of whoever runs the tests."""
    command = [sys.executable, str(ROOT / "pipeline.py"), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, env=os.environ | NO_CLUSTER)


@pytest.mark.parametrize("name", PROFILES)
def test_golden_pipeline(name, tmp_path):
    compile_profile(name, tmp_path / "now.yaml")
    now, golden = (
        (folder / file).read_text() for folder, file in [(tmp_path, "now.yaml"), (GOLDEN, f"pipeline_{name}.yaml")]
    )
    assert list(yaml.safe_load_all(now)) == list(yaml.safe_load_all(golden)), (
        "the DAG changed: if that is wanted, `python -m tests.golden.update` and read the diff"
    )


def golden(profile="demo"):
    return next(yaml.safe_load_all((GOLDEN / f"pipeline_{profile}.yaml").read_text()))


def test_the_arrows():
    spec = golden()
    assert sorted(spec["root"]["dag"]["tasks"]) == ["exit-handler-1", "finish"]
    after = {
        name: sorted(task.get("dependentTasks", []))
        for name, task in spec["components"]["comp-exit-handler-1"]["dag"]["tasks"].items()
    }
    (parts,) = (name for name in after if name.startswith("for-loop"))
    (better,) = (name for name in after if name.startswith("condition"))
    assert after == {
        parts: [],
        "render": [parts],
        "teacher": ["render"],
        "pretrain": ["render"],
        "distill": ["pretrain", "render", "teacher"],
        "evaluate": ["distill", "pretrain", "render", "teacher"],
        "gate": ["evaluate"],
        better: ["distill", "evaluate", "gate"],
    }
    assert list(spec["components"][f"comp-{better}"]["dag"]["tasks"]) == ["register"]
    assert spec["root"]["dag"]["tasks"]["finish"]["triggerPolicy"]["strategy"] == "ALL_UPSTREAM_TASKS_COMPLETED"


def test_what_is_compared_is_trained_side_by_side_with_the_student(tmp_path):
    wanted = ('evaluate.baselines=["sparse_unet"]', 'evaluate.ablations=["no_skip","ce_only"]')
    settings = [word for setting in wanted for word in ("--set", setting)]
    done = run_pipeline("--compile", str(tmp_path / "pipeline.yaml"), *settings)
    assert done.returncode == 0, done.stderr
    spec, platform = yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text())
    tasks = spec["components"]["comp-exit-handler-1"]["dag"]["tasks"]
    named = {task["taskInfo"]["name"]: task for task in tasks.values()}
    changes = {
        "pretrain-sparse_unet": ("pretrain", {"network": "sparse_unet"}, "baseline_sparse_unet"),
        "pretrain-no_skip": ("pretrain", {"skip": False}, "ablation_no_skip"),
        "distill-ce_only": ("distill", {"weight": 0.0}, "ablation_ce_only"),
    }
    executors = spec["deploymentSpec"]["executors"]
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for name, (stage, change, port) in changes.items():
        task, student = named[name], named[stage]
        section = json.loads(task["inputs"]["parameters"]["config"]["runtimeValue"]["constant"])
        assert section == demo().section(stage).model_dump(mode="json") | change
        assert task["inputs"]["artifacts"] == student["inputs"]["artifacts"]
        assert task["dependentTasks"] == student["dependentTasks"]
        same = [spec["components"][each["componentRef"]["name"]]["executorLabel"] for each in (task, student)]
        assert executors[same[0]]["container"] == executors[same[1]]["container"]
        assert pods[same[0]] == pods[same[1]]
        reads = named["evaluate"]["inputs"]["artifacts"][port]["taskOutputArtifact"]
        assert tasks[reads["producerTask"]] is task


def test_nothing_is_installed_at_run_time():
    assert "pip install" not in (GOLDEN / "pipeline_demo.yaml").read_text()
    executors = golden()["deploymentSpec"]["executors"]
    images = {name.removeprefix("exec-"): executor["container"]["image"] for name, executor in executors.items()}
    assert {name for name, image in images.items() if "/render:" in image} == {"render", "render-part"}


def test_compile_writes_the_package(tmp_path):
    done = run_pipeline("--compile", str(tmp_path / "pipeline.yaml"), "--profile", "demo", "--set", "teacher.epochs=3")
    assert done.returncode == 0, done.stderr
    spec = next(yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text()))
    teacher = spec["root"]["inputDefinitions"]["parameters"]["teacher"]["defaultValue"]
    assert json.loads(teacher) == demo().teacher.model_dump(mode="json") | {"epochs": 3}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "give one of --local, --compile FILE, --submit and --plan"),
        (["--local", "--profile", "nope"], 2, "unknown profile 'nope'; there are demo and paper"),
        (["--local", "--set", "render.test_rooms=0"], 2, "render.test_rooms is 0; expected 1 at least"),
        (["--local", "--set", "teacher.epoch=3"], 2, "did you mean 'epochs'?"),
        (
            ["--local", "--set", "teacher.backbone=vit_small_patch14_dinov"],
            2,
            "of timm, such as vit_small_patch14_dinov2",
        ),
        (
            ["--compile", "x.yaml", "--set", 'evaluate.ablations=["no_skip"]', "--set", "pretrain.skip=false"],
            2,
            "evaluate.ablations has no_skip, which is what pretrain trains already",
        ),
        (["--compile", "x.txt"], 2, "expected a file that ends in .yaml"),
        (["--compile", "/nowhere/x.yaml"], 1, "No such file or directory"),
        (["--submit"], 2, "--submit needs --host URL"),
        (["--submit", "--host", "http://127.0.0.1:9"], 2, "give s3://BUCKET/PREFIX"),
        (["--submit", "--host", "http://127.0.0.1:9", "--store", "s3://b/p"], 2, "is a tag, whose content may change"),
        (
            ["--submit", "--host", "http://127.0.0.1:9", "--store", "s3://b/p", "--allow-tags"],
            1,
            "no KFP server answers",
        ),
        (["--submit", "--host", "http://127.0.0.1:9", "--store", "gs://b/p"], 2, "expected a directory or s3://bucket"),
        (["--submit", "--host", "http://127.0.0.1:9", "--store", "s3://"], 2, "expected a directory or s3://bucket"),
        (["--submit", "--host", "http://127.0.0.1:9", "--store", "file:///x"], 2, "expected a directory or s3://"),
        (["--submit", "--host", "http://127.0.0.1:9", "--render-image", "a b"], 2, "images.render: got 'a b'"),
        (["--compile", "x.yaml", "--store", "s3:///p"], 2, "--store s3:///p: expected a directory or s3://bucket"),
        (["--local", "--store", "gs://b/p"], 2, "--store gs://b/p: expected a directory or s3://bucket/prefix"),
        (["--local", "--store", ""], 2, "--store is empty: expected a directory or s3://bucket/prefix"),
        (["--local", "--dry-run"], 2, "--dry-run is for --submit"),
        (["--compile", "/nowhere/x.yaml", "--dry-run"], 2, "--dry-run is for --submit"),
        (["--local", "--watch"], 2, "--watch is for --submit"),
        (["--compile", "x.yaml", "--cluster", "/nowhere.toml"], 2, "/nowhere.toml: cannot be read"),
        (["--local", "--store", "/proc/nowhere"], 1, "/proc/nowhere"),
    ],
)
def test_mistakes_get_one_line(arguments, code, words):
    done = run_pipeline(*arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr


def test_help_says_what_a_newcomer_needs():
    text = run_pipeline("--help").stdout
    for word in ("--local", "--compile", "--submit", "--profile", "--set", "--store"):
        assert word in text


def test_ui_names_a_port_in_use(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "roomseg", "ui", "--store", str(tmp_path), "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.strip() == f"error: port {port} is in use; give another one by --port"
