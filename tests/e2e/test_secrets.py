"""Planted secrets: nothing that a run prints, stores or tracks holds one of them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from roomseg.runtime.storage import open_store
from tests.conftest import free_ports
from tests.e2e.test_local_pipeline import TINY

PLANTED = {
    "AWS_SESSION_TOKEN": "planted-session-5f1c",
    "MLFLOW_TRACKING_TOKEN": "planted-mlflow-93ab",
    "MLFLOW_TRACKING_PASSWORD": "planted-password-c07d",
    "KF_PIPELINES_TOKEN": "planted-kfp-1e55",
    "KFP_TOKEN": "planted-kfp-2b19",
    "HF_TOKEN": "planted-hub-77e0",
}


def render(store: str, folder: Path, tracking: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = [part for setting in TINY if setting.startswith("render.") for part in ("--set", setting)]
    settings += ["--set", "render.train_rooms=1", "--set", "render.source=generated"]
    command = [sys.executable, "-m", "roomseg", "render", "--profile", "demo", "--store", store, *settings]
    return subprocess.run(
        [*command, "--tracking-uri", tracking],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, **environment, "ROOMSEG_CACHE_DIR": str(folder / "cache")},
    )


def check_clean(secrets: list[str], **places: bytes) -> None:
    found = [(where, secret) for where, data in places.items() for secret in secrets if secret.encode() in data]
    assert found == []


@pytest.mark.heavy
def test_a_run_on_s3_writes_no_secret(s3_store: str, tmp_path: Path) -> None:
    planted = {name: value for name, value in PLANTED.items() if name != "AWS_SESSION_TOKEN"}
    secrets = [*planted.values(), os.environ["AWS_SECRET_ACCESS_KEY"]]
    database = tmp_path / "mlflow.db"
    done = render(s3_store, tmp_path, f"sqlite:///{database}", **planted)
    assert done.returncode == 0, done.stderr[-2000:]
    store = open_store(s3_store)
    objects = {key: store.get_bytes(key) for key in store.list("")}
    assert any(key.endswith("manifest.json") for key in objects)
    cached = {str(path): path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    with sqlite3.connect(database) as opened:
        tracked = "\n".join(opened.iterdump())
    assert "roomseg.code_version" in tracked
    check_clean(secrets, output=(done.stdout + done.stderr).encode(), tracked=tracked.encode(), **objects, **cached)


def test_errors_and_warnings_name_no_secret(s3_store: str, tmp_path: Path) -> None:
    server = f"http://ann:planted-in-url-8c31@127.0.0.1:{free_ports(1)[0]}"
    secrets = [*PLANTED.values(), "planted-in-url-8c31", "planted-key-4d02"]
    done = render(s3_store, tmp_path, server, **PLANTED, AWS_SECRET_ACCESS_KEY="planted-key-4d02")
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "no right to read" in line
    check_clean(secrets, output=(done.stdout + done.stderr).encode())


@pytest.mark.parametrize("module", ["roomseg.runtime.tracking.client"])
def test_the_page_listens_on_loopback_only(module: str) -> None:
    source = Path(sys.modules.get(module, __import__(module, fromlist=["x"])).__file__ or "").read_text()
    assert '"--host", "127.0.0.1"' in source
