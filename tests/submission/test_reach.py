"""The way to the KFP server as the command line tells it: what does not lead there is one line each."""

from __future__ import annotations

import os
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.submission.server import TOKEN, KfpServer
from tests.submission.test_submit import IMAGES
from tests.test_pipeline import NO_CLUSTER, run_pipeline


def kubeconfig(path: Path, **tables: Any) -> str:
    """The tables ``clusters``, ``users`` and ``contexts`` by name, as ``name -> content``."""
    lists = {kind: [{"name": name, **content} for name, content in each.items()] for kind, each in tables.items()}
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **lists}))
    return str(path)


def cluster_of(server: KfpServer) -> dict[str, Any]:
    return {"c": {"cluster": {"server": server.url}}}


USER = {"u": {"user": {"token": TOKEN}}}
CONTEXT = {"mine": {"context": {"cluster": "c", "user": "u"}}}


def submit(*reach: str) -> Any:
    return run_pipeline("--submit", *reach, "--run-name", "mine", "--store", "s3://b/p", *IMAGES)


def told(*reach: str) -> tuple[int, str]:
    """Exit code and the one line of a command that must fail."""
    done = submit(*reach)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.returncode, done.stderr.strip()


def test_a_kubeconfig_that_is_named_is_the_one_that_is_used(server, tmp_path):
    path = kubeconfig(tmp_path / "kubeconfig", clusters=cluster_of(server), users=USER, contexts=CONTEXT)
    done = submit("--kubeconfig", path, "--kube-context", "mine", "--token", "of-another-server")
    assert done.returncode == 0, done.stderr
    assert f"started run run-1 (mine) on {path}" in done.stdout
    assert [run["display_name"] for run in server.runs] == ["mine"]


def test_several_kubeconfigs_are_merged_and_those_that_are_not_there_left_out(server, tmp_path):
    one = kubeconfig(tmp_path / "one", clusters=cluster_of(server), users={}, contexts={})
    two = kubeconfig(tmp_path / "two", clusters={}, users=USER, contexts=CONTEXT)
    done = submit("--kubeconfig", os.pathsep.join([one, "/nowhere/config", two]), "--kube-context", "mine")
    assert done.returncode == 0, done.stderr
    assert [run["display_name"] for run in server.runs] == ["mine"]


def test_a_kubeconfig_that_is_named_wins_over_the_address_in_the_clusters_file(tmp_path):
    cluster = tmp_path / "cluster.toml"
    cluster.write_text('[kfp]\nhost = "https://kfp.example.org"\n')
    done = submit("--cluster", str(cluster), "--kubeconfig", "mine.yaml", "--dry-run")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "server     that of mine.yaml"), done.stderr


def test_an_address_in_the_clusters_file_wins_over_the_kubeconfig_that_every_program_sees(tmp_path, monkeypatch):
    cluster = tmp_path / "cluster.toml"
    cluster.write_text('[kfp]\nhost = "https://kfp.example.org"\n')
    monkeypatch.setitem(NO_CLUSTER, "KUBECONFIG", "everybodys.yaml")
    done = submit("--cluster", str(cluster), "--dry-run")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "server     https://kfp.example.org"), done.stderr


def test_two_ways_to_the_server_are_one_too_many():
    code, line = told("--host", "https://kfp.example.org", "--kubeconfig", "mine.yaml")
    assert (code, line.startswith("error: --host and --kubeconfig are two ways to one server")) == (2, True), line


KEY = "key-of-the-user"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such file"),
        ("", "expected a YAML table with clusters and contexts"),
        (f"- {KEY}", "expected a YAML table with clusters and contexts"),
        (f"users: {KEY}: [", "is no valid YAML in line 1"),
        ("\x00", "is no YAML text"),
        (f"clusters: 3\ncurrent-context: {KEY}", "is no kubeconfig"),
        ("apiVersion: v1", "current-context"),
    ],
)
def test_a_kubeconfig_that_is_none_is_told_without_its_keys(tmp_path, text, words):
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text)
    code, line = told("--kubeconfig", str(path))
    assert code == 2
    assert line.startswith(f"error: --kubeconfig {path}")
    assert words in line
    assert KEY not in line


def test_a_cluster_without_kfp_is_told(server, tmp_path):
    path = kubeconfig(tmp_path / "kubeconfig", clusters=cluster_of(server), users=USER, contexts=CONTEXT)
    server.refusals.append(("GET /apis/v2beta1/healthz", 404, 'services "ml-pipeline" not found'))
    code, line = told("--kubeconfig", path, "--kube-context", "mine")
    assert (code, "answered 404 Not Found" in line) == (1, True), line


@pytest.fixture
def ssh() -> Iterator[str]:
    """The address of a server that speaks, but not HTTP."""

    class Banner(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

    with socketserver.TCPServer(("127.0.0.1", 0), Banner) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()


def test_a_server_that_does_not_speak_http_is_told(ssh):
    code, line = told("--host", ssh)
    assert (code, line.startswith(f"error: --host {ssh}: no KFP server answers there (")) == (1, True), line


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("http://a b", "InvalidURL"),
        ("http://h:port", "InvalidURL"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("kfp.example.org", "expected an address that begins with https:// or http://"),
        ("file:///etc/hostname", "expected an address that begins with https:// or http://"),
    ],
)
def test_an_address_that_is_none_is_told(host, words):
    code, line = told("--host", host)
    assert (code, words in line) == (1, True), line


@pytest.mark.parametrize("page", ["[]", "3", "<html>Sign in</html>"])
def test_what_is_no_kfp_server_is_told(server, page):
    server.page = page
    code, line = told("--host", server.url, "--token", TOKEN)
    assert (code, "no KFP server answers there (the answer is no JSON" in line) == (1, True), line


def test_a_token_that_no_header_takes_is_told_without_the_token(server):
    code, line = told("--host", server.url, "--token", f"{TOKEN}\n")
    assert (code, "the token has a blank, a line break" in line, TOKEN in line) == (2, True, False), line
    assert server.requests == []
