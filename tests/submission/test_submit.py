"""``--submit`` with the real KFP client against a server on loopback that holds requests against KFP's own models."""

import json
import subprocess
from pathlib import Path

import kfp_server_api
import pytest
import yaml

from roomseg.profiles import demo
from submission import client
from submission.watch import watch
from tests.submission.server import REQUIRED, RUNS, TOKEN, KfpServer, faults, pipeline_faults, request_faults
from tests.test_pipeline import run_pipeline

DIGEST = "@sha256:" + "0123456789abcdef" * 4
IMAGES = ("--render-image", f"r.example/render{DIGEST}", "--train-image", f"r.example/train{DIGEST}")


@pytest.fixture
def kfp(server: KfpServer, monkeypatch: pytest.MonkeyPatch) -> client.Kfp:
    monkeypatch.setattr(client.time, "sleep", lambda _: None)
    return client.Kfp(client.KfpServer(host=server.url, token=TOKEN))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("package") / "pipeline.yaml"
    assert run_pipeline("--compile", str(path), "--cluster", "/dev/null").returncode == 0
    return path


def submit(server: KfpServer, *more: str) -> subprocess.CompletedProcess[str]:
    return run_pipeline("--submit", "--host", server.url, "--store", "s3://bucket/prefix", *IMAGES, *more)


def test_a_run_is_started_with_the_compiled_pipeline(server, tmp_path):
    cluster = tmp_path / "cluster.toml"
    cluster.write_text('kfp = {service_account = "trainer"}\n[pods.teacher]\ngpus = 4\n')
    options = ("--cluster", str(cluster), "--set", "teacher.epochs=3", "--run-name", "mine")
    done = submit(server, "--token", TOKEN, *options)
    assert done.returncode == 0, done.stderr
    assert f"started run run-1 (mine) on {server.url}" in done.stdout
    (run,) = server.runs
    assert (run["display_name"], run["experiment_id"], run["service_account"]) == ("mine", "e1", "trainer")
    spec = run["pipeline_spec"]["pipeline_spec"]
    defaults = {k: v["defaultValue"] for k, v in spec["root"]["inputDefinitions"]["parameters"].items()}
    assert json.loads(defaults["teacher"]) == demo().teacher.model_dump(mode="json") | {"epochs": 3}
    assert (defaults["store"], defaults["run_id"]) == ("s3://bucket/prefix", "mine")
    teacher = spec["deploymentSpec"]["executors"]["exec-teacher"]["container"]
    assert teacher["image"] == f"r.example/train{DIGEST}"
    assert teacher["resources"]["accelerator"]["resourceCount"] == "4"


@pytest.mark.parametrize("lost", ["504", "reset"])
def test_a_busy_server_is_asked_again_and_a_run_is_never_started_twice(server, kfp, package, lost):
    server.refusals.append(("POST /apis/v2beta1/experiments", 503, "starting"))
    server.loses_answer = lost
    assert kfp.start(package, "mine") == "run-1"
    assert [run["display_name"] for run in server.runs] == ["mine"]
    assert server.requests.count(f"POST {RUNS}") == 1


def test_an_older_run_of_that_name_is_not_taken_for_the_one_that_was_to_start(server, kfp, package):
    assert kfp.start(package, "mine") == "run-1"
    server.refusals.append((f"POST {RUNS}", 503, "starting"))
    assert kfp.start(package, "mine") == "run-2"


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ((f"POST {RUNS}", 401, "token is expired"), "the token has expired (401)"),
        ((f"POST {RUNS}", 403, "user has no create on runs"), "no right to do this in the run's namespace (403): user"),
        ((f"POST {RUNS}", 400, "exceeded quota: pods"), "the server answered 400 Bad Request: exceeded quota: pods"),
    ],
)
def test_a_refusal_is_one_clear_line(server, kfp, package, refusal, words):
    server.refusals.append(refusal)
    with pytest.raises(client.UserError) as error:
        kfp.start(package, "mine")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_server_that_stays_busy_is_given_up(server, kfp, package):
    server.refusals.extend([(f"POST {RUNS}", 500, "database is down")] * (len(client.AT_THE_START_S) + 1))
    with pytest.raises(client.UserError, match="answered 500 Internal Server Error: database is down"):
        kfp.start(package, "mine")
    assert server.runs == []


def test_a_wrong_token_is_one_clear_line_without_the_token(server):
    done = submit(server, "--token", "wrong-token-value")
    assert done.returncode == 1
    assert "refused us (401)" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "wrong-token-value" not in done.stderr + done.stdout


def test_another_kind_of_server_is_told(server):
    server.refusals.append(("GET /apis/v2beta1/healthz", 404, "nothing here"))
    done = submit(server, "--token", TOKEN)
    assert done.returncode == 1
    assert "answered 404 Not Found; is this the address of a KFP API server?" in done.stderr


def test_a_page_for_people_is_told(server):
    server.page = "<html>Sign in</html>"
    done = submit(server, "--token", TOKEN)
    assert done.returncode == 1
    words = "no KFP server answers there (the answer is no JSON); give the URL of its API"
    words = f"error: --host {server.url}: {words}"
    assert done.stderr.strip() == words


def test_a_tag_is_refused(server):
    done = run_pipeline("--submit", "--host", server.url, "--store", "s3://b/p", *IMAGES[:2])
    assert done.returncode == 2
    assert "/train:" in done.stderr
    assert "is a tag, whose content may change" in done.stderr
    assert server.requests == []


def test_a_dry_run_prints_what_would_be_sent_and_sends_nothing(server):
    done = submit(server, "--token", TOKEN, "--dry-run", "--run-name", "mine", "--set", "teacher.epochs=3")
    assert done.returncode == 0, done.stderr
    assert server.requests == []
    for words in (server.url, "mine", f"r.example/train{DIGEST}", "16, 8 at a time", '"epochs":3'):
        assert words in done.stdout
    assert TOKEN not in done.stdout


def test_what_the_cluster_cannot_hold_is_told_before_it_is_sent(server, tmp_path):
    cluster = tmp_path / "cluster.toml"
    cluster.write_text("[quota]\ngpus = 0\n[pods.distill]\nnodes = 2\n")
    for more in ((), ("--dry-run",)):
        done = submit(server, "--token", TOKEN, "--cluster", str(cluster), *more)
        assert done.returncode == 0
        assert "warning: teacher asks for 1 GPUs, the quota has 0 GPUs: it can never start" in done.stderr
        assert "warning: distill will fail: its 2 nodes have 2 processes, which cannot share" in done.stderr


def test_a_dry_run_shows_no_login(server):
    told = submit(server, "--dry-run", "--tracking-uri", "https://me:pa/ss@mlflow.example.org/x").stdout
    assert "https://mlflow.example.org/x" in told
    assert "pa/ss" not in told


def test_a_dry_run_counts_what_is_trained_to_be_compared(server):
    more = ("--set", 'evaluate.baselines=["unet3d"]', "--set", 'evaluate.ablations=["no_skip","ce_only"]')
    told = submit(server, "--token", TOKEN, "--dry-run", *more).stdout
    pods = {words[0]: words[1] for words in map(str.split, told.splitlines()) if len(words) > 2}
    assert (pods["teacher"], pods["pretrain"], pods["distill"]) == ("1", "3", "2")


def test_a_run_is_named_by_flag_before_environment_before_file(server, tmp_path, monkeypatch):
    cluster = tmp_path / "cluster.toml"
    cluster.write_text('kfp = {run_name = "of-the-file"}\n')

    def name(*more: str) -> str:
        done = submit(server, "--dry-run", "--cluster", str(cluster), *more)
        return next(line.split()[1] for line in done.stdout.splitlines() if line.startswith("run "))

    assert name() == "of-the-file"
    monkeypatch.setenv("KFP_RUN_NAME", "of-the-environment")
    assert name() == "of-the-environment"
    assert name("--run-name", "of-the-flag") == "of-the-flag"


def task(name: str, state: str, message: str = "") -> dict:
    error = {"error": {"code": 2, "message": message}} if message else {}
    return {"task_id": name, "display_name": name, "state": state, **error}


def test_watching_ends_with_the_run(server, kfp):
    server.states += [
        {
            "state": "RUNNING",
            "run_details": {"task_details": [task("render", "RUNNING"), task("root-driver", "RUNNING")]},
        },
        {"state": "RUNNING", "run_details": {"task_details": [task("render", "RUNNING")]}},
        {"state": "SUCCEEDED", "run_details": {"task_details": [task("render", "SUCCEEDED")]}},
    ]
    said: list[str] = []
    watch(kfp, "run-1", said.append, every_s=0)
    assert said == ["render: running", "render: succeeded"]


def test_watching_outlives_a_server_that_starts_anew(server, kfp):
    server.resets = 40  # urllib3 itself tries four times
    server.states += [{"state": "RUNNING"}, {"state": "SUCCEEDED"}]
    watch(kfp, "run-1", print, every_s=0)
    assert server.resets == 0


def test_watching_ends_if_the_server_stays_away(server, kfp):
    server.shutdown()
    server.server_close()
    with pytest.raises(client.UserError, match=r"no KFP server answers there .*run run-1 goes on without us"):
        watch(kfp, "run-1", print, every_s=0)
    assert sum(client.WATCHING_S) > 300


def test_watching_a_run_that_fails_fails_with_the_reason(server, kfp):
    tasks = [task("teacher", "FAILED", "OOMKilled")]
    error = {"code": 2, "message": "teacher failed"}
    server.states.append({"state": "FAILED", "error": error, "run_details": {"task_details": tasks}})
    said: list[str] = []
    with pytest.raises(client.UserError, match=r"run run-1 ended as failed \(teacher failed\)"):
        watch(kfp, "run-1", said.append, every_s=0)
    assert said == ["teacher: failed (OOMKilled)"]


@pytest.mark.parametrize(
    ("ends", "code", "words"),
    [("SUCCEEDED", 0, "run run-1 succeeded"), ("FAILED", 1, "ended as failed"), ("CANCELED", 1, "ended as canceled")],
)
def test_the_command_that_watches_ends_with_the_status_of_the_run(server, ends, code, words):
    waits = task("teacher", "PENDING", "exceeded quota: compute, requests.nvidia.com/gpu")
    server.states.append({"state": ends, "run_details": {"task_details": [waits]}})
    done = submit(server, "--token", TOKEN, "--watch")
    assert (done.returncode, words in done.stdout + done.stderr) == (code, True), done.stderr
    assert "teacher: pending (exceeded quota: compute, requests.nvidia.com/gpu)" in done.stdout


def test_a_token_that_expires_while_watching_says_that_the_run_goes_on(server, kfp):
    server.refusals.append((f"GET {RUNS}", 401, "token expired"))
    with pytest.raises(client.UserError, match=r"the token has expired .*run run-1 goes on without us"):
        watch(kfp, "run-1", print, every_s=0)


def test_the_server_of_these_tests_finds_faults(package):
    assert faults("V2beta1Run", {"display_name": 3, "name": "x"}, "run") == [
        "run.name is unknown to V2beta1Run",
        "run.display_name is int, expected str",
    ]
    spec, platform = yaml.safe_load_all(package.read_text())
    assert pipeline_faults({"pipeline_spec": spec, "platform_spec": platform}) == []
    assert "parrots" in pipeline_faults({"pipeline_spec": spec | {"parrots": 1}, "platform_spec": platform})[0]


RUN = {
    "display_name": "mine",
    "experiment_id": "e1",
    "pipeline_spec": {},
    "runtime_config": {},
}
PREDICATE = {"operation": "EQUALS", "key": "display_name", "string_value": "mine"}


@pytest.mark.parametrize(
    ("model", "whole"),
    [
        ("V2beta1Run", RUN),
        ("V2beta1Experiment", {"display_name": "roomseg"}),
        ("V2beta1Predicate", PREDICATE),
        ("V2beta1Filter", {"predicates": [PREDICATE]}),
    ],
)
def test_the_server_of_these_tests_misses_what_the_api_requires(model, whole):
    assert request_faults(model, whole, "it") == []
    for key in whole:
        (found,) = request_faults(model, {name: value for name, value in whole.items() if name != key}, "it")
        assert key in found.removeprefix("it has no ").split(" or ")


@pytest.mark.parametrize("model", REQUIRED)
def test_what_the_package_calls_required_is_required_here(model):
    fields = getattr(kfp_server_api, model)
    told = {name for name in fields.openapi_types if "Required input" in getattr(fields, name).fget.__doc__}
    assert told <= {key for keys in REQUIRED[model] for key in keys}
