"""The SQLite database is there whole or not at all."""

import signal
import subprocess
import sys

from roomseg.runtime.tracking.client import connect, experiment_id

DIES_BEFORE_THE_NAME = """
import os, pathlib, sys
from roomseg.runtime.tracking.client import connect
pathlib.Path.rename = lambda *_: os.kill(os.getpid(), 9)
connect(sys.argv[1])
"""


def test_a_database_that_a_kill_left_half_made_is_made_anew(tmp_path):
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    done = subprocess.run([sys.executable, "-c", DIES_BEFORE_THE_NAME, uri], capture_output=True)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "mlflow.db").exists()
    half = tmp_path / "mlflow.db.half"
    half.write_bytes(half.read_bytes()[:20_000])  # as a kill in the middle leaves it
    client = connect(uri)
    assert client.get_experiment(experiment_id(client, uri)).name == "roomseg"
    assert not half.exists()
