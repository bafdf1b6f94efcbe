"""A KFP API server on loopback, as far as runs need it. Each request is held against the models of kfp-server-api."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kfp_server_api
from google.protobuf import json_format
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

TOKEN = "secret-token"
THROUGH_THE_CLUSTER = "/api/v1/namespaces/kubeflow/services/ml-pipeline:http/proxy"  # to clients with a kubeconfig
EXPERIMENTS, RUNS = "/apis/v2beta1/experiments", "/apis/v2beta1/runs"
PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float), "datetime": str, "object": object}

# What KFP's API definition (backend/api/v2beta1/*.proto) calls required of what is sent; the package's models mark
# nothing. Of several in a tuple, one. A server for several users knows a run's namespace by its experiment alone.
REQUIRED: dict[str, list[tuple[str, ...]]] = {
    "V2beta1Experiment": [("display_name",)],
    "V2beta1Run": [
        ("display_name",),
        ("experiment_id",),
        ("pipeline_spec", "pipeline_version_reference"),
        ("runtime_config",),
    ],
    "V2beta1Filter": [("predicates",)],
    "V2beta1Predicate": [("operation",), ("key",), ("string_value", "int_value", "long_value", "timestamp_value")],
}


def request_faults(model: str, value: Any, where: str) -> list[str]:
    """Those of ``faults``, and what is missing or empty although the API requires it."""
    missing = [
        f"{where} has no {' or '.join(keys)}"
        for keys in REQUIRED[model]
        if all(value.get(k) in (None, "") for k in keys)
    ]
    return faults(model, value, where) + missing


def faults(model: str, value: Any, where: str = "") -> list[str]:
    """What of a JSON value does not fit a model of the API: unknown keys and wrong types."""
    if model in PLAIN:
        return [] if isinstance(value, PLAIN[model]) else [f"{where} is {type(value).__name__}, expected {model}"]
    if model.startswith("list["):
        inner = model[5:-1]
        return [fault for i, each in enumerate(value) for fault in faults(inner, each, f"{where}[{i}]")]
    if model.startswith("dict("):
        inner = model[5:-1].partition(", ")[2]
        return [fault for key, each in value.items() for fault in faults(inner, each, f"{where}.{key}")]
    known = getattr(kfp_server_api, model)
    if hasattr(known, "allowable_values"):
        return [] if value in known.allowable_values else [f"{where} is {value!r}"]
    types = {known.attribute_map[name]: kind for name, kind in known.openapi_types.items()}
    found = [f"{where}.{key} is unknown to {model}" for key in value if key not in types]
    return found + [
        f for key, each in value.items() if key in types for f in faults(types[key], each, f"{where}.{key}")
    ]


def pipeline_faults(spec: dict[str, Any]) -> list[str]:
    """What of a pipeline the server's own parsers would refuse."""
    if set(spec) != {"pipeline_spec", "platform_spec"}:
        return [f"pipeline_spec has the keys {sorted(spec)}"]
    try:
        json_format.ParseDict(spec["pipeline_spec"], PipelineSpec())
        platforms = spec["platform_spec"]["platforms"]
        for config in platforms["kubernetes"]["deploymentSpec"]["executors"].values():
            json_format.ParseDict(config, KubernetesExecutorConfig())
    except (json_format.ParseError, KeyError) as error:
        return [str(error)]
    return []


class KfpServer(ThreadingHTTPServer):
    """``refusals`` are answered first, one a request; ``states`` are what the next looks at the run find.

    With ``loses_answer`` "504" or "reset" the next run is started, but the answer is that one.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.faults: list[str] = []
        self.runs: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.refusals: deque[tuple[str, int, str]] = deque()  # start of "METHOD PATH", status, message
        self.loses_answer = ""
        self.resets = 0  # so many connections are broken off before an answer, as of a server that starts anew
        self.states: deque[dict[str, Any]] = deque()
        self.page = ""  # what is answered to whatever is asked, as the login of a proxy does
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: KfpServer

    def parse_request(self) -> bool:
        parsed = super().parse_request()
        if parsed:
            self.path = self.path.removeprefix(THROUGH_THE_CLUSTER)
        return parsed

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if self._refused():
            return
        if url.path == "/apis/v2beta1/healthz":
            self._answer("V2beta1GetHealthzResponse", {"multi_user": False})
        elif url.path.startswith(f"{EXPERIMENTS}"):
            self._answer("V2beta1ListExperimentsResponse", {"experiments": [], "total_size": 0})
        elif url.path == RUNS and "filter" not in url.query:
            self._answer("V2beta1ListRunsResponse", {"runs": [_brief(run) for run in self.server.runs]})
        elif url.path == RUNS:
            wanted = json.loads(parse_qs(url.query)["filter"][0])
            self.server.faults += request_faults("V2beta1Filter", wanted, "filter")
            self.server.faults += request_faults("V2beta1Predicate", wanted["predicates"][0], "filter.predicates[0]")
            named = wanted["predicates"][0]["string_value"]
            same = [run for run in self.server.runs if run["display_name"] == named]
            self._answer("V2beta1ListRunsResponse", {"runs": [_brief(run) for run in same], "total_size": len(same)})
        elif url.path == f"{RUNS}/run-1":
            self._answer("V2beta1Run", {"run_id": "run-1", "display_name": "mine", **self.server.states.popleft()})
        else:
            self._send(404, {"message": f"no {url.path}"})

    def do_POST(self) -> None:
        path, body = urlsplit(self.path).path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._refused():
            return
        if path == EXPERIMENTS:
            self.server.faults += request_faults("V2beta1Experiment", body, "experiment")
            self._answer("V2beta1Experiment", {"experiment_id": "e1", "display_name": body["display_name"]})
        elif path == RUNS:
            self.server.faults += request_faults("V2beta1Run", body, "run") + pipeline_faults(body["pipeline_spec"])
            self.server.runs.append({"run_id": f"run-{len(self.server.runs) + 1}", **body})
            lost, self.server.loses_answer = self.server.loses_answer, ""
            if lost == "reset":
                self._reset()
            elif lost == "504":
                self._send(504, {"message": "gateway time-out"})
            else:
                self._answer("V2beta1Run", _brief(self.server.runs[-1]))
        else:
            self._send(404, {"message": f"no {path}"})

    def _refused(self) -> bool:
        request = f"{self.command} {urlsplit(self.path).path}"
        self.server.requests.append(request)
        if self.server.resets:
            self.server.resets -= 1
            self._reset()
            return True
        if self.server.page:
            self._send_text(200, "text/html", self.server.page)
            return True
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(401, {"message": "unauthenticated"})
            return True
        if self.server.refusals and request.startswith(self.server.refusals[0][0]):
            _, status, message = self.server.refusals.popleft()
            self._send(status, {"message": message})
            return True
        return False

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _answer(self, model: str, value: dict[str, Any]) -> None:
        assert faults(model, value) == [], "this server does not answer as KFP does"
        self._send(200, value)

    def _send(self, status: int, value: dict[str, Any]) -> None:
        self._send_text(status, "application/json", json.dumps(value))

    def _send_text(self, status: int, kind: str, text: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def _brief(run: dict[str, Any]) -> dict[str, Any]:
    return {"run_id": run["run_id"], "display_name": run["display_name"], "experiment_id": "e1"}
