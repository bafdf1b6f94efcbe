"""``roomseg``: its commands, and what it says to a person who errs. The stages themselves are tested elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def roomseg(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "roomseg", *arguments], capture_output=True, text=True, timeout=120)


def test_help_names_every_command():
    text = roomseg("--help").stdout
    for command in ("render", "teacher", "pretrain", "distill", "evaluate", "register", "ui"):
        assert command in text


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("roomseg sta", {"status"}),
        ("roomseg data ", {"check", "show"}),
        ("roomseg predict --un", {"--units"}),
        ("roomseg predict --units ", {"auto", "m", "cm", "mm", "ft", "in"}),
    ],
)
def test_the_shell_completes_commands_options_and_values(line, offered):
    """As bash asks the installed program, by the script that --install-completion writes."""
    program = Path(sys.executable).with_name("roomseg")
    asked = {"_ROOMSEG_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    done = subprocess.run([program], capture_output=True, text=True, timeout=120, env={**os.environ, **asked})
    assert (done.returncode, set(done.stdout.split())) == (0, offered), done.stderr


def test_the_script_for_a_shell_asks_the_program():
    program = Path(sys.executable).with_name("roomseg")
    env = {**os.environ, "_ROOMSEG_COMPLETE": "source_bash"}
    script = subprocess.run([program], capture_output=True, text=True, timeout=120, env=env).stdout
    assert "_ROOMSEG_COMPLETE=complete_bash" in script
    assert script.strip().endswith(" roomseg")


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
