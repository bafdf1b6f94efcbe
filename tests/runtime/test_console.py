"""What the terminal shows of a local run, and what of it goes to the log."""

import pytest

from roomseg.runtime.console import StageOutput


def test_stage_lines_reach_the_terminal_and_everything_the_log(tmp_path, capsys):
    log = tmp_path / "run.log"
    with StageOutput(log, verbose=False):
        print("12:00:00 - INFO - Executing task 'render'")
        print("    render 3/5 60% 1.2 rooms/s", end="\n")
        print('    {"inputs": {}}')
        print("render: already ", end="")
        print("complete")
    assert capsys.readouterr().out == "render 3/5 60% 1.2 rooms/s\nrender: already complete\n"
    assert len(log.read_text().splitlines()) == 4


def test_verbose_shows_all(tmp_path, capsys):
    with StageOutput(tmp_path / "run.log", verbose=True):
        print("    anything")
    assert capsys.readouterr().out == "    anything\n"


def test_a_stage_s_error_is_the_failure_s_line(tmp_path, capsys):
    with StageOutput(tmp_path / "run.log", verbose=False) as output:
        print("    roomseg render: error: Scopia.sh3f: cut short")
        print("    more of KFP")
    assert output.failure() == "render: Scopia.sh3f: cut short"
    assert capsys.readouterr().out == ""


def test_a_crash_says_where_all_of_it_is(tmp_path):
    log = tmp_path / "run.log"
    with StageOutput(log, verbose=False) as output:
        print("Traceback (most recent call last):")
        print("ZeroDivisionError: division by zero")
    assert "ZeroDivisionError: division by zero" in output.failure()
    assert str(log) in output.failure()
    assert "\n" not in output.failure()


def test_stdout_comes_back_after_an_exception(tmp_path, capsys):
    with pytest.raises(RuntimeError), StageOutput(tmp_path / "run.log", verbose=False):
        raise RuntimeError
    print("seen")
    assert capsys.readouterr().out == "seen\n"
