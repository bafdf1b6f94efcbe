"""What all tests have: their share of the cores, and a real S3 server (SeaweedFS) for those that want one."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from roomseg.processes import share_cores

BUCKET = "roomseg-tests"
_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
    "s3.port.iceberg",
    "s3.port.lance",
    "admin.port",
    "admin.port.grpc",
    "metricsPort",
)


# Below the ports that systems give to clients, so that no connection takes one before its server is there.
_SERVER_PORTS = iter(random.SystemRandom().sample(range(12_000, 32_000), 20_000))


def pytest_configure() -> None:
    """As commands do: before numpy, numba and torch are loaded."""
    share_cores()
    # The same examples each time, however slow the machine is; --hypothesis-profile=default draws others.
    settings.register_profile("roomseg", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("roomseg")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Endpoint of a SeaweedFS server on loopback; the environment names it for boto3."""
    folder = tmp_path_factory.mktemp("seaweedfs")
    ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    endpoint = f"http://127.0.0.1:{ports['s3.port']}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests-secret",
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(name, value)
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(_command(folder, ports), stdout=log, stderr=log)
        try:
            _wait(server, folder / "log")
            yield endpoint
        finally:
            server.kill()
            server.wait()


@pytest.fixture
def s3_store(s3_server: str) -> str:
    """URL of an empty store on S3."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


def free_ports(count: int) -> list[int]:
    """None is given twice, also while the server that it is for has not taken it yet."""
    return [next(port for port in _SERVER_PORTS if _is_free(port)) for _ in range(count)]


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _command(folder: Path, ports: dict[str, int]) -> list[str]:
    options = {
        "dir": folder,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "webdav": "false",
        "admin.ui": "false",
        "master.telemetry": "false",
        "s3.autoCreateBucket": "false",
        "bucket": BUCKET,
        **ports,
    }
    weed = Path(sys.executable).parent / "weed"
    return [str(weed), "mini", *(f"-{name}={value}" for name, value in options.items())]


def _wait(server: subprocess.Popen[bytes], log: Path, patience_s: float = 180.0) -> None:
    """Until the bucket takes an object."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    client = boto3.client("s3", config=Config(retries={"max_attempts": 1}, connect_timeout=1))
    end = time.monotonic() + patience_s
    while True:
        try:
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"")
            return
        except (BotoCoreError, ClientError) as error:
            if server.poll() is not None or time.monotonic() > end:
                pytest.fail(f"weed mini did not start ({error}):\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)


@pytest.fixture(autouse=True)
def _no_user_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer has set for their own runs must not reach the tests."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID", "ROOMSEG_CACHE_DIR", "ROOMSEG_PROGRESS_TTY"):
        if name in os.environ:
            monkeypatch.delenv(name)
