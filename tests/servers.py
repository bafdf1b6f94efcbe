"""Real servers on loopback for tests: MLflow, and PostgreSQL from Debian's package in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import free_ports


def wait_for_answer(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the process answers there; fails with what its log says when it ends before, or after three minutes."""
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(url, timeout=5).close()
            return
        time.sleep(0.3)
    pytest.fail(log.read_text()[-2000:])


class MlflowServer:
    """``artifacts`` is where it keeps them, a folder or s3://; the database is SQLite in ``folder`` unless named."""

    def __init__(self, folder: Path, database: str = "", artifacts: str = "") -> None:
        self.folder, self.port = folder, free_ports(1)[0]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._stores = ["--backend-store-uri", database or f"sqlite:///{folder}/mlflow.db"]
        self._stores += ["--artifacts-destination", artifacts or str(folder / "artifacts"), "--serve-artifacts"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1"]
        environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "mlflow.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--port", str(self.port), *self._stores],
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        wait_for_answer(f"{self.uri}/health", self._process, self.folder / "mlflow.log")

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


class PostgresServer:
    """A cluster made by initdb; as root its processes run as the user ``postgres``, as PostgreSQL demands."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_ports(1)[0]
        self.uri = f"postgresql://mlflow@127.0.0.1:{self.port}/postgres"

    @staticmethod
    def programs() -> Path | None:
        """The folder of the newest installed ``initdb``."""
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
        return found[-1].parent if found else None

    def start(self) -> None:
        self.folder.mkdir()
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            for parent in self.folder.parents[:2]:
                parent.chmod(parent.stat().st_mode | 0o011)
        self._run(
            "initdb", "--username=mlflow", "--auth=trust", "--encoding=UTF8", "--no-sync", str(self.folder / "data")
        )
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c fsync=off"
        self._run("pg_ctl", "start", "--wait", f"--log={self.folder}/log", f"--options={options}", *self._data())

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "--mode=immediate", *self._data())

    def _data(self) -> list[str]:
        return [f"--pgdata={self.folder / 'data'}"]

    def _run(self, program: str, *arguments: str) -> None:
        folder = self.programs()
        assert folder is not None
        command = [str(folder / program), *arguments]
        as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.geteuid() == 0 else []
        # To files and not pipes: the server that pg_ctl starts would hold them open.
        log = self.folder / f"{program}.log"
        with log.open("wb") as out:
            done = subprocess.run([*as_postgres, *command], stdout=out, stderr=out, cwd="/")
        assert done.returncode == 0, log.read_text()
