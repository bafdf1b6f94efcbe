"""Values that stand for secrets, and where a run left them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path

PLANTED = {
    "AWS_SECRET_ACCESS_KEY": "planted-key-4d02",
    "AWS_SESSION_TOKEN": "planted-session-5f1c",
    "MLFLOW_TRACKING_TOKEN": "planted-mlflow-93ab",
    "MLFLOW_TRACKING_PASSWORD": "planted-password-c07d",
    "KF_PIPELINES_TOKEN": "planted-kfp-1e55",
    "KFP_TOKEN": "planted-kfp-2b19",
    "HF_TOKEN": "planted-hub-77e0",
}


def leaks(secrets: Iterable[str], places: Mapping[str, bytes]) -> list[tuple[str, str]]:
    """Which secret lies where."""
    wanted = list(secrets)
    return [(where, secret) for where, data in places.items() for secret in wanted if secret.encode() in data]


def files_in(folder: Path) -> dict[str, bytes]:
    """All files below it, of databases what they hold as well: a long value lies there in pieces."""
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    databases = {f"tables of {name}": dumped(path) for name, path in files.items() if path.suffix == ".db"}
    return {name: path.read_bytes() for name, path in files.items()} | databases


def dumped(database: Path) -> bytes:
    with closing(sqlite3.connect(database)) as opened:
        return "\n".join(opened.iterdump()).encode()
