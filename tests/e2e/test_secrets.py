"""Planted secrets: nothing that a run prints, stores or tracks holds one of them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest

from roomseg.config import override
from roomseg.profiles import demo
from roomseg.runtime.stage import run_stage
from roomseg.runtime.storage import Store, open_store
from tests.conftest import free_ports
from tests.e2e.planted import PLANTED, dumped, files_in, leaks
from tests.e2e.test_kill_points import Finished, copy_artifact, manifest_of
from tests.e2e.test_local_pipeline import STAGES, TINY

ON_S3 = {name: value for name, value in PLANTED.items() if not name.startswith("AWS_")}  # the server has its own


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


def check_run_on_s3(store: Store, folder: Path, output: str) -> None:
    """Neither what was planted nor the key that the server knows."""
    objects = {key: store.get_bytes(key) for key in store.list("")}
    assert any(key.endswith("manifest.json") for key in objects)
    tracked = dumped(folder / "mlflow.db")
    assert b"roomseg.code_version" in tracked
    places: Mapping[str, bytes] = {"output": output.encode(), "tracked": tracked, **objects, **files_in(folder)}
    assert leaks([*ON_S3.values(), os.environ["AWS_SECRET_ACCESS_KEY"]], places) == []


def test_a_whole_run_writes_no_secret(finished: Finished) -> None:
    folder, done = finished
    places = files_in(folder)
    store = open_store(str(folder))
    made = {entry.name: entry.key for stage in STAGES for entry in manifest_of(store, stage).files}
    assert set(made.values()) <= set(places)
    assert {"report.html", "teacher.safetensors", "model.safetensors"} <= set(made)
    for known in (b"roomseg.code_version", b"min_hit_rate", b"champion"):  # a tag, a parameter, an alias
        assert known in places["tables of mlflow.db"]
    assert leaks(PLANTED.values(), places | {"output": (done.stdout + done.stderr).encode()}) == []


def test_a_registration_on_s3_writes_no_secret(
    finished: Finished,
    s3_store: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name, value in ON_S3.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ROOMSEG_CACHE_DIR", str(tmp_path / "cache"))
    store, undisturbed = open_store(s3_store), open_store(str(finished[0]))
    inputs = {"distilled": manifest_of(undisturbed, "distill"), "evaluation": manifest_of(undisturbed, "evaluate")}
    for manifest in inputs.values():
        copy_artifact(manifest, undisturbed, store)
    where = {"store": s3_store, "run_id": "run", "tracking_uri": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    run_stage("register", override(demo(), TINY).section("register"), inputs=inputs, **where)
    check_run_on_s3(store, tmp_path, "".join(capfd.readouterr()))


@pytest.mark.heavy
def test_a_run_on_s3_writes_no_secret(s3_store: str, tmp_path: Path) -> None:
    done = render(s3_store, tmp_path, f"sqlite:///{tmp_path / 'mlflow.db'}", **ON_S3)
    assert done.returncode == 0, done.stderr[-2000:]
    check_run_on_s3(open_store(s3_store), tmp_path, done.stdout + done.stderr)


def test_errors_and_warnings_name_no_secret(s3_store: str, tmp_path: Path) -> None:
    server = f"http://ann:planted-in-url-8c31@127.0.0.1:{free_ports(1)[0]}"
    done = render(s3_store, tmp_path, server, **PLANTED)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "no right to read" in line
    assert leaks([*PLANTED.values(), "planted-in-url-8c31"], {"output": (done.stdout + done.stderr).encode()}) == []


def test_a_secret_that_was_left_is_found(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "params.yaml").write_bytes(b"\x00token: planted-a\xff")
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
        database.execute("CREATE TABLE params (value)")
        database.execute("INSERT INTO params VALUES (?)", ["." * 5000 + "planted-b"])
    found = leaks(["planted-a", "planted-b", "planted-c"], files_in(tmp_path))
    assert {("below/params.yaml", "planted-a"), ("tables of mlflow.db", "planted-b")} <= set(found)
    assert "planted-c" not in {secret for _, secret in found}
