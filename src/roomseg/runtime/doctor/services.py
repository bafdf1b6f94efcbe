"""The services that stages use: the store is written, read, listed and cleaned, the tracking server gets a run."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from roomseg.errors import UserError
from roomseg.runtime.doctor.lines import Line
from roomseg.runtime.storage import open_store
from roomseg.runtime.tracking.client import check_reachable, connect, default_tracking_uri, mlflow_errors

MULTIPART_BYTES = 20 << 20  # above the size from which S3 takes a file in parts
EXPERIMENT = "roomseg-doctor"


def store(url: str) -> Iterator[Line]:
    """Raises ``UserError`` at the first thing that the store refuses."""
    opened = open_store(url)
    key = f"doctor/{uuid.uuid4().hex}"
    written = os.urandom(1000)
    try:
        opened.put_bytes(f"{key}/small", written)
        if opened.get_bytes(f"{key}/small") != written:
            yield Line("FAIL", "store", f"{opened.url} gave other bytes than it was given", "do not use it")
            return
        listed = opened.list(f"{key}/") == [f"{key}/small"]
        _multipart(url, f"{key}/large")
        only_once = opened.put_if_absent(f"{key}/small", b"") is None
    finally:
        for name in ("small", "large"):
            opened.delete(f"{key}/{name}")
    found = f"{opened.url}: written, read, uploaded in parts"
    if not listed:
        yield Line("FAIL", "store", f"{found}, but not listed", "allow listing (s3:ListBucket)")
    elif not only_once:
        remedy = "two writers of one artifact may meet: use a store with If-None-Match"
        yield Line("FAIL", "store", f"{found}, but a conditional write was not refused", remedy)
    else:
        yield Line("OK", "store", f"{found}, listed, written conditionally")


def _multipart(url: str, key: str) -> None:
    opened = open_store(url)
    with tempfile.TemporaryDirectory() as folder:
        sent, got = Path(folder) / "sent", Path(folder) / "got"
        sent.write_bytes(os.urandom(MULTIPART_BYTES))
        opened.put_file(key, sent)
        opened.fetch(key, got)
        if got.read_bytes() != sent.read_bytes():
            raise UserError(f"{opened.url} gave other bytes than it was given; do not use it")


def tracking(chosen: str, store_url: str) -> Iterator[Line]:
    """Raises ``UserError`` if the server does not answer or takes no run."""
    uri = chosen or default_tracking_uri(store_url)
    check_reachable(uri)
    client = connect(uri)
    with mlflow_errors(uri):
        known = client.get_experiment_by_name(EXPERIMENT)
        experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT)
        run = client.create_run(experiment).info.run_id
        client.log_metric(run, "written", 1.0)
        metrics = client.get_run(run).data.metrics
        client.delete_run(run)
    if metrics == {"written": 1.0}:
        yield Line("OK", "MLflow", f"{uri}: a run was written, read and deleted")
    else:
        yield Line("FAIL", "MLflow", f"{uri} lost a figure", "look at the server's log and its database")
