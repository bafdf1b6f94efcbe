"""``--submit`` with the real KFP client against a server on loopback that answers as KFP's API does."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from roomseg.profiles import demo
from tests.test_pipeline import run_pipeline

TOKEN = "secret-token"
EXPERIMENT = {"experiment_id": "e1", "display_name": "roomseg"}


class KfpApi(BaseHTTPRequestHandler):
    """Experiments and runs, as far as starting a run needs them; a wrong token is refused."""

    def do_GET(self):
        path = urlsplit(self.path).path
        if path.endswith("/healthz"):
            self.answer({"multi_user": False})
        elif path.endswith("/experiments"):
            self.answer({"experiments": [], "total_size": 0})
        else:
            self.answer({"error": path}, 404)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.posts.append((urlsplit(self.path).path, body))
        if self.path.endswith("/experiments"):
            self.answer(EXPERIMENT)
        else:
            self.answer({"run_id": "run-42", "display_name": body["display_name"], "experiment_id": "e1"})

    def answer(self, value, status=200):
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            value, status = {"error": "unauthenticated"}, 401
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def api():
    server = ThreadingHTTPServer(("127.0.0.1", 0), KfpApi)
    server.posts = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()


def submit(api, *more: str):
    host = f"http://127.0.0.1:{api.server_address[1]}"
    return run_pipeline("--submit", "--host", host, "--store", "s3://bucket/prefix", *more)


def test_a_run_is_started_with_the_compiled_pipeline(api):
    done = submit(api, "--token", TOKEN, "--set", "teacher.epochs=3", "--run-name", "mine")
    assert done.returncode == 0, done.stderr
    assert "started run run-42" in done.stdout
    path, run = api.posts[-1]
    assert path == "/apis/v2beta1/runs"
    assert run["display_name"] == "mine"
    assert run["experiment_id"] == "e1"
    spec = run["pipeline_spec"]
    spec = spec.get("pipeline_spec", spec)
    assert spec["pipelineInfo"]["name"] == "roomseg"
    defaults = {k: v["defaultValue"] for k, v in spec["root"]["inputDefinitions"]["parameters"].items()}
    assert json.loads(defaults["teacher"]) == demo().teacher.model_dump(mode="json") | {"epochs": 3}
    assert (defaults["store"], defaults["run_id"]) == ("s3://bucket/prefix", "mine")


def test_another_kind_of_server_is_told(api, monkeypatch):
    monkeypatch.setattr(KfpApi, "do_GET", lambda self: self.answer({"error": "nothing here"}, 404))
    done = submit(api, "--token", TOKEN)
    assert done.returncode == 1
    assert "answered 404" in done.stderr
    assert "is this the address of a KFP API server?" in done.stderr


def test_a_wrong_token_is_one_clear_line_without_the_token(api):
    done = submit(api, "--token", "wrong-token-value")
    assert done.returncode == 1
    assert "refused us (401)" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "wrong-token-value" not in done.stderr + done.stdout
