"""``roomseg bench complexity`` on a tiny room."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from roomseg.cli import app
from roomseg.commands.bench import Cost, chosen_networks, table
from roomseg.errors import UsageError

TINY = ("render.room_size_m=[2.2,2.6]", "render.frames_per_room=4", "render.frame_width=64", "render.frame_height=48")


def test_the_table_of_a_tiny_room(tmp_path: Path) -> None:
    settings = [part for setting in TINY for part in ("--set", setting)]
    options = ["--rooms", "1", "--networks", "T,sparse_unet", "--json", str(tmp_path / "costs.json")]
    done = CliRunner().invoke(app, ["bench", "complexity", *options, *settings])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("1 rooms, ")
    first, second = json.loads((tmp_path / "costs.json").read_text())
    assert (first["network"], first["parameters"], first["paper_s"]) == ("T", 375_036, 43.62)
    assert (second["network"], second["parameters"], second["paper_s"]) == ("sparse_unet", 2_690_430, None)
    assert min(first["seconds"], second["seconds"]) > 0
    assert f"{first['seconds']:.2f}" in done.stdout


def test_ratios_are_those_to_the_unet() -> None:
    lines = table([Cost("L", 10, 2.0, 95.89), Cost("unet3d", 20, 50.0, 254.75), Cost("vtunet", 30, 100.0, None)])
    assert [line.split() for line in lines[1:]] == [
        ["L", "10", "2.00", "25.0", "95.89", "2.7"],
        ["unet3d", "20", "50.00", "1.0", "254.75", "1.0"],
        ["vtunet", "30", "100.00", "0.5", "-", "-"],
    ]
    assert table([Cost("L", 10, 2.0, 95.89)])[1].split()[3] == "-"


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(UsageError, match="'X' is unknown; there are T, B, M, L, unet3d"):
        chosen_networks("T, X")
