"""SIGKILL at the worst points of every stage, over S3: the same command again and again ends as if there had been none.

The points and the way they are set are in ``killing``. What the stage reads is taken from an undisturbed run.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from safetensors import SafetensorError
from safetensors.torch import load

from roomseg.config import override
from roomseg.profiles import demo
from roomseg.runtime.manifest import Manifest, manifest_key
from roomseg.runtime.storage import Store, open_store
from tests.e2e.killing.points import ON_S3, again_until_it_ends
from tests.e2e.test_local_pipeline import STAGES, TINY

TELL_SECONDS = {"report.html", "hero.png"}  # so they differ from run to run
AFTER_THE_MANIFEST = {"manifest-without-end-of-run", "checkpoints-half-removed"}  # there is no attempt any more
TIMINGS = ("steps_per_s", "batches_per_s", "rooms_per_s", "data_wait_share")
Finished = tuple[Path, subprocess.CompletedProcess[str]]
Figures = list[tuple[tuple[str, str, int], float]]  # ((stage, metric, step), value), one each time that it was logged


BY_DEFAULT = ("render", "teacher", "register")  # ``test_kfp_retry`` kills the others too, once


@pytest.mark.parametrize(
    "stage", [stage if stage in BY_DEFAULT else pytest.param(stage, marks=pytest.mark.heavy) for stage in STAGES]
)
@pytest.mark.timeout(1800)
def test_killed_at_each_point_a_stage_ends_as_if_undisturbed(
    stage: str, finished: Finished, s3_store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOMSEG_CACHE_DIR", str(tmp_path / "cache"))
    undisturbed, store, database = open_store(str(finished[0])), open_store(s3_store), tmp_path / "mlflow.db"
    for earlier in STAGES[: STAGES.index(stage)]:
        copy_artifact(manifest_of(undisturbed, earlier), undisturbed, store)
    settings = [part for setting in TINY for part in ("--set", setting)]
    where = ["--store", s3_store, "--tracking-uri", f"sqlite:///{database}"]
    command = [sys.executable, "-m", "roomseg", stage, "--profile", "demo", *where, *settings]
    again_until_it_ends(command, ON_S3[stage], tmp_path / "marks")
    check_artifact(stage, store, undisturbed)
    assert manifest_of(store, stage).attempts == 1 + len(set(ON_S3[stage]) - AFTER_THE_MANIFEST)
    check_figures(tracked(database), [each for each in tracked(finished[0] / "mlflow.db") if each[0][0] == stage])
    runs = rows(database, "SELECT name, status FROM runs WHERE lifecycle_stage = 'active'")
    assert Counter(runs) == {(stage, "FINISHED"): 1, (override(demo(), TINY).run_id, "FINISHED"): 1}
    if stage == "register":
        assert rows(database, "SELECT name, version FROM model_versions") == [("roomseg", 1)]
        assert rows(database, "SELECT alias, version FROM registered_model_aliases") == [("champion", 1)]
        for query in ("SELECT name, status FROM logged_models", "SELECT source_type, destination_type FROM inputs"):
            assert Counter(rows(database, query)) == Counter(rows(finished[0] / "mlflow.db", query))


def check_artifact(stage: str, store: Store, undisturbed: Store) -> None:
    """The same files and scores, and the store has them whole."""
    manifest, wanted = manifest_of(store, stage), manifest_of(undisturbed, stage)
    made, expected = ({entry.name: entry for entry in each.files} for each in (manifest, wanted))
    assert set(made) == set(expected)
    different = {name for name in made if made[name].sha256 != expected[name].sha256} - TELL_SECONDS
    apart = [weights_apart(store.get_bytes(made[n].key), undisturbed.get_bytes(expected[n].key)) for n in different]
    assert not different, f"{stage}: {different} differ: {apart}"
    assert manifest.scores == wanted.scores
    sizes = {entry.key: entry.size for entry in manifest.files}
    assert {found.key: found.size for found in store.objects("shards/") if found.key in sizes} == sizes


def weights_apart(made: bytes, wanted: bytes) -> dict[str, float]:
    """The tensors of two files of weights that differ, and by how much; nothing for other files."""
    try:
        tensors, others = load(made), load(wanted)
    except SafetensorError:
        return {}
    differences = {name: float((tensors[name] - others[name]).abs().max()) for name in tensors}
    return {name: difference for name, difference in differences.items() if difference}


def check_figures(figures: Figures, wanted: Figures) -> None:
    """None is missing, none is there twice, and but for the speed they have the same values."""
    counted = Counter(name for name, _ in figures)
    assert counted == Counter(name for name, _ in wanted)
    assert set(counted.values()) == {1}
    steady, expected = (
        {name: value for name, value in each if not name[1].endswith(TIMINGS)} for each in (figures, wanted)
    )
    assert steady == expected


def manifest_of(store: Store, stage: str) -> Manifest:
    (key,) = [key for key in store.list(f"artifacts/{stage}/") if key.endswith("/manifest.json")]
    return Manifest.from_json(store.get_bytes(key))


def copy_artifact(manifest: Manifest, source: Store, target: Store) -> None:
    for entry in manifest.files:
        path = source.local_path(entry.key)
        assert path is not None
        target.put_file(entry.key, path)
    target.put_bytes(manifest_key(manifest.stage, manifest.fingerprint), manifest.to_json().encode())


def tracked(database: Path) -> Figures:
    query = "SELECT runs.name, key, step, value FROM metrics JOIN runs USING (run_uuid)"
    return [((run, key, step), value) for run, key, step, value in rows(database, query)]


def rows(database: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()
