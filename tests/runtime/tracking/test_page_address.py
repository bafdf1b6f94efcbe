"""``roomseg ui`` listens on loopback only: looked up where the system keeps the sockets of the running server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from roomseg.runtime.tracking.client import connect
from tests.conftest import free_ports
from tests.listening import listening, processes_of
from tests.servers import wait_for_answer


def test_the_page_listens_on_loopback_only(tmp_path: Path) -> None:
    connect(f"sqlite:///{tmp_path / 'mlflow.db'}")
    port, log = free_ports(1)[0], tmp_path / "log"
    command = [sys.executable, "-m", "roomseg", "ui", "--store", str(tmp_path), "--port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
    try:
        wait_for_answer(f"http://127.0.0.1:{port}/health", process, log)
        assert listening(processes_of(process.pid)) == {("127.0.0.1", port)}
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_another_address_would_be_seen() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert ("0.0.0.0", server.getsockname()[1]) in listening([os.getpid()])
