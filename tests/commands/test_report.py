"""``roomseg report``: an evaluation's files come out of a store as they went in, and help where there are none."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from roomseg.cli import app
from roomseg.errors import UsageError, UserError
from roomseg.report.page import write_report
from roomseg.runtime.artifacts import AttemptClock, StoreArtifactWriter
from roomseg.runtime.manifest import Origin
from roomseg.runtime.storage import open_store
from tests.report.synthetic import synthetic_content

Evaluation = Callable[[str, bytes], StoreArtifactWriter]


@pytest.fixture(params=["directory", "s3"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ROOMSEG_CACHE_DIR", str(tmp_path / "cache"))
    return str(tmp_path / "store") if request.param == "directory" else request.getfixturevalue("s3_store")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(synthetic_content(), path)
    return path.read_bytes()


@pytest.fixture
def evaluation(store_url: str, page: bytes, tmp_path: Path) -> Evaluation:
    """An evaluation's files in the store; its manifest is left to be written."""

    def write(fingerprint: str, view: bytes) -> StoreArtifactWriter:
        store, file = open_store(store_url), tmp_path / "file"
        origin = Origin(stage="evaluate", fingerprint=fingerprint, code_version="", config={}, parents={})
        writer = StoreArtifactWriter(store, origin, AttemptClock(store, origin.folder), tmp_path / "cache")
        files = {"report.html": page, "views/room-1.html": view, "hero.png": b"a picture", "scores.json": b"{}"}
        for name, data in files.items():
            file.write_bytes(data)
            writer.add(name, file)
        return writer

    return write


def report(store_url: str, out: Path, *options: str) -> Result:
    return CliRunner().invoke(app, ["report", "-o", str(out), "--store", store_url, *options])


def refused(store_url: str, out: Path, *options: str) -> str:
    result = report(store_url, out, *options)
    assert isinstance(result.exception, UserError), repr(result.exception)
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_the_newest_evaluation_comes_with_all_that_its_page_links_to(
    store_url: str, evaluation: Evaluation, tmp_path: Path
) -> None:
    evaluation("older", b"an old view").finish({"miou": 0.9})
    time.sleep(1.1)  # manifests tell the time in seconds
    evaluation("newer", b"a new view").finish({"miou": 0.1})
    evaluation("unfinished", b"no view yet")
    out = tmp_path / "not" / "yet"
    result = report(store_url, out)
    assert result.exit_code == 0, repr(result.exception)
    assert result.output == f"look    {out / 'report.html'}\n"
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == {
        "report.html", "views/room-1.html", "hero.png", "scores.json"
    }  # fmt: skip
    assert (out / "views" / "room-1.html").read_bytes() == b"a new view"
    linked = re.findall(r'href="([^"#]+)"', (out / "report.html").read_text())
    assert "views/room-1.html" in linked
    assert [link for link in linked if "://" not in link and not (out / link).is_file()] == []

    assert report(store_url, out, "--fingerprint", "older").exit_code == 0  # over what lies there
    assert (out / "views" / "room-1.html").read_bytes() == b"an old view"


def test_a_store_without_a_complete_evaluation(store_url: str, evaluation: Evaluation, tmp_path: Path) -> None:
    out = tmp_path / "out"
    none = f"{open_store(store_url).url} has no complete evaluation"
    then = ": run `roomseg evaluate` with this store first"
    assert "is no store" in refused(store_url, out)
    evaluation("unfinished", b"")
    assert refused(store_url, out) == none + then
    assert refused(store_url, out, "--fingerprint", "unfinished") == f"{none} unfinished{then}"
    assert not out.exists()


def test_a_damaged_evaluation(store_url: str, evaluation: Evaluation, tmp_path: Path) -> None:
    manifest, store, out = evaluation("whole", b"a view").finish({}), open_store(store_url), tmp_path / "out"
    (view,) = (file for file in manifest.files if file.name.startswith("views/"))
    store.put_bytes(view.key, b"others")
    text = refused(store_url, out)
    assert view.name in text
    assert "evaluate" in text
    store.put_bytes("artifacts/evaluate/whole/manifest.json", b'{"stage": "eva')
    assert re.search(r"manifest.json is no valid manifest \(.*\): delete it and run the stage again$",
                     refused(store_url, out))  # fmt: skip


def test_where_nothing_can_be_written(evaluation: Evaluation, store_url: str, tmp_path: Path) -> None:
    evaluation("whole", b"a view").finish({})
    (tmp_path / "notes.txt").write_text("mine")
    expected = "a part of the path is a file, expected a directory; choose another --out"
    for out in (tmp_path / "notes.txt", tmp_path / "notes.txt" / "below"):
        assert refused(store_url, out) == f"cannot write {out}: {expected}"
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_store_that_is_none(tmp_path: Path, s3_server: str) -> None:
    assert "--store ftp://host: expected a directory or s3://bucket/prefix" in refused("ftp://host", tmp_path / "out")
    assert "there is no bucket 'no-such-bucket'" in refused("s3://no-such-bucket/x", tmp_path / "out")
    assert f"{tmp_path}/gone is no store: expected" in refused(str(tmp_path / "gone"), tmp_path / "out")
    assert not (tmp_path / "gone").exists()


def test_a_path_is_no_fingerprint(store_url: str, tmp_path: Path) -> None:
    open_store(store_url).put_bytes("runs/a", b"")
    result = report(store_url, tmp_path / "out", "--fingerprint", "../..")
    assert isinstance(result.exception, UsageError), repr(result.exception)
    assert str(result.exception).startswith("'../..' is no fingerprint; expected letters and digits")
