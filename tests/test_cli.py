"""``roomseg``: its commands, and what it says to a person who errs. The stages themselves are tested elsewhere."""

import subprocess
import sys

import pytest


def roomseg(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "roomseg", *arguments], capture_output=True, text=True, timeout=120)


def test_help_names_every_command():
    text = roomseg("--help").stdout
    for command in ("render", "teacher", "pretrain", "distill", "evaluate", "register", "ui"):
        assert command in text


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["teacher"], 1, "run `roomseg render` first"),
        (["register"], 1, "run `roomseg render` first"),
        (["render", "--profile", "nope"], 2, "there are demo and paper"),
        (["render", "--set", "render.train_room=1"], 2, "did you mean 'train_rooms'?"),
        (["render", "--set", "render.furniture_dir=/nowhere"], 1, "/nowhere is not a folder"),
        (["render", "--set", "render.source=scannet"], 2, "--set render.scannet_root=DIR"),
        (["render", "--shard", "3/2"], 2, "--shard 3/2: expected I/N with 1 <= I <= N, such as 1/4"),
        (["render", "--shard", "x"], 2, "--shard x: expected I/N"),
        (["ui"], 1, "there are no runs yet"),
    ],
)
def test_mistakes_get_one_line(arguments, code, words, tmp_path):
    done = roomseg(*arguments, "--store", str(tmp_path))
    assert done.returncode == code
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_s3_without_a_tracking_server_is_refused(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "planted-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "planted-secret")
    done = roomseg("render", "--store", "s3://bucket/prefix")
    assert done.returncode in (1, 2)
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "planted-secret" not in done.stderr
