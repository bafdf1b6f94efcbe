"""Where the tracking server is, a quiet client for it, and its failures as one line. mlflow is imported on use only."""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from roomseg.errors import UsageError, UserError, first_line, without_logins
from roomseg.runtime.storage import DirectoryStore, open_store

EXPERIMENT = "roomseg"
_SQLITE = "sqlite:///"
_REMEDY = "start it, or give another --tracking-uri"


def default_tracking_uri(store: str) -> str:
    """SQLite beside a directory store; raises ``UsageError`` for S3, which has no place for a database."""
    opened = open_store(store)
    if isinstance(opened, DirectoryStore):
        return f"{_SQLITE}{opened.root / 'mlflow.db'}"
    raise UsageError(f"no tracking server for the store {store}: give --tracking-uri or set MLFLOW_TRACKING_URI")


def has_registry(uri: str) -> bool:
    """False for a local database that is not there: nothing has run beside it yet."""
    return not uri.startswith(_SQLITE) or sqlite_path(uri).is_file()


def serve_ui(uri: str, port: int) -> NoReturn:
    """Become MLflow's web page for a local database, on 127.0.0.1 until Ctrl-C; raises ``UserError``."""
    if not sqlite_path(uri).is_file():
        raise UserError(f"there are no runs yet: {sqlite_path(uri)} is not there; run a stage with the same --store")
    _silence()
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # eight processes that a page does not need
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    # In place of this process, so that Ctrl-C and SIGTERM reach the server itself.
    os.execv(command[0], [*command, "--backend-store-uri", uri])


class Unreachable(UserError):
    """Nobody answers, or only something in front of the server that says so."""


def check_reachable(uri: str, attempts: int = 3) -> None:
    """Raises ``Unreachable`` if the server does not answer, ``UserError`` if the SQLite file cannot be written."""
    if uri.startswith(("http://", "https://")):
        _check_answers(uri, attempts)
    elif uri.startswith(_SQLITE):
        _check_writable(uri)


def connect(uri: str) -> Any:
    """A quiet ``MlflowClient``, also for the registry; an SQLite database is made where there is none."""
    _silence()
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.ERROR)  # after the import, which sets its own level
    logging.getLogger("alembic").setLevel(logging.ERROR)
    with mlflow_errors(uri):
        if uri.startswith(_SQLITE) and not sqlite_path(uri).exists():
            _make_database(sqlite_path(uri))
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


def _make_database(path: Path) -> None:
    """All tables first, the name last: MLflow cannot mend a database that a kill left half made."""
    from mlflow import MlflowClient

    half = path.with_name(f"{path.name}.half")
    for remains in (half, half.with_name(f"{half.name}-journal")):
        remains.unlink(missing_ok=True)
    uri = f"{_SQLITE}{half}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    client.search_experiments(max_results=1)
    client.search_registered_models(max_results=1)
    half.rename(path)


def experiment_id(client: Any, uri: str) -> str:
    """The id of our experiment, made if there is none."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return found.experiment_id
    # A server knows where artifacts go; a bare file would put them into the current directory.
    folder = sqlite_path(uri).parent / "mlartifacts" if uri.startswith(_SQLITE) else None
    try:
        return client.create_experiment(EXPERIMENT, artifact_location=folder and folder.as_uri())
    except MlflowException:
        found = client.get_experiment_by_name(EXPERIMENT)  # another stage was quicker
        if found is None:
            raise
        return found.experiment_id


@contextmanager
def one_at_a_time(uri: str) -> Iterator[None]:
    """Stages that start together on one SQLite file: only one at a time makes its tables and finds the parent run."""
    if not uri.startswith(_SQLITE):
        yield
        return
    path = sqlite_path(uri)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def mlflow_errors(uri: str) -> Iterator[None]:
    """MLflow's failures, and those of the database below it, as ``UserError``."""
    from mlflow.exceptions import MlflowException

    where = f"MLflow at {uri}"
    try:
        yield
    except MlflowException as error:
        raise UserError(f"{where} refuses: {first_line(error)}") from error
    except _database_errors() as error:
        remedy = "move it away: it has the runs, and no artifacts" if uri.startswith(_SQLITE) else _REMEDY
        raise UserError(f"{where} has no database that can be read ({first_line(error)}): {remedy}") from error
    except ImportError as error:
        raise UserError(f"{where} needs a driver ({first_line(error)}): install it, or {_REMEDY}") from error


def _database_errors() -> tuple[type[Exception], ...]:
    """None where MLflow is the slim package, as in the image of render: it only talks to servers."""
    try:
        from alembic.util import CommandError
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:
        return ()
    return SQLAlchemyError, CommandError


def sqlite_path(uri: str) -> Path:
    return Path(uri.removeprefix(_SQLITE)).absolute()


def _silence() -> None:
    for name, value in {
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # figures wait in a journal; seven would hold a stage's end
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        "MLFLOW_DISABLE_TELEMETRY": "true",  # a training job must not call home
    }.items():
        os.environ.setdefault(name, value)


def _check_answers(uri: str, attempts: int, pause_s: float = 2.0) -> None:
    """A short look before MLflow's own retries, which would hold a stage for minutes."""
    reason = ""
    for attempt in range(attempts):
        if attempt:
            time.sleep(pause_s)
        try:
            urllib.request.urlopen(without_logins(uri).rstrip("/") + "/health", timeout=10).close()
            return
        except urllib.error.HTTPError as error:
            if error.code not in (502, 503, 504):
                return  # it answers; rights are MLflow's matter
            reason = f"{error.code} {error.reason}"
        except (OSError, ValueError) as error:
            reason = str(getattr(error, "reason", error))
    raise Unreachable(f"MLflow at {uri} does not answer ({reason}): {_REMEDY}")


def _check_writable(uri: str) -> None:
    folder = sqlite_path(uri).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{sqlite_path(uri).name}.lock").touch()
    except OSError as error:
        raise UserError(f"cannot write the MLflow database in {folder} ({error.strerror}): {_REMEDY}") from error
