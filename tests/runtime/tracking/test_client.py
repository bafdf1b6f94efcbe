"""The SQLite database is there whole or not at all."""

import signal
import subprocess
import sys

import pytest

from roomseg.errors import UserError
from roomseg.runtime.tracking.client import connect, experiment_id, mlflow_errors

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


def test_a_damaged_database_is_one_line(tmp_path):
    connect(f"sqlite:///{tmp_path / 'good.db'}")
    whole = (tmp_path / "good.db").read_bytes()
    for damage in (b"no database" * 500, whole[: len(whole) // 2], whole[:4096] + b"\xff" * len(whole)):
        path = tmp_path / "mlflow.db"
        path.write_bytes(damage)
        told = rf"MLflow at sqlite:///{path} has no database that can be read \(.*\): move it away"
        with pytest.raises(UserError, match=told):
            experiment_id(connect(f"sqlite:///{path}"), f"sqlite:///{path}")


def test_a_database_whose_driver_is_not_there_is_one_line():
    with pytest.raises(UserError, match=r"MLflow at mysql://localhost/runs needs a driver \(.*MySQLdb.*\): install it"):
        connect("mysql://me:hid/d@n@localhost/runs")
    with pytest.raises(UserError, match=r"MLflow at mssql.foo://localhost/runs has no database that can be read"):
        connect("mssql+foo://me:hidden@localhost/runs")


def test_an_error_without_a_text():
    from mlflow.exceptions import MlflowException

    for nothing in (MlflowException(""), ImportError()):
        with pytest.raises(UserError, match=r"MlflowException|ImportError"), mlflow_errors("http://localhost:1"):
            raise nothing
