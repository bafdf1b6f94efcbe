"""``roomseg bench complexity`` on a tiny room."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from roomseg.cli import app
from roomseg.commands.bench import Cost, chosen_networks, rows_of, table
from roomseg.data.rooms import Room
from roomseg.errors import UsageError, UserError
from roomseg.figures import rows_as_json

TINY = ("render.room_size_m=[2.2,2.6]", "render.frames_per_room=4", "render.frame_width=64", "render.frame_height=48")


def test_the_table_of_a_tiny_room(tmp_path: Path) -> None:
    settings = [part for setting in TINY for part in ("--set", setting)]
    options = ["--rooms", "1", "--networks", "T,sparse_unet", "--json", str(tmp_path / "costs.json")]
    done = CliRunner().invoke(app, ["bench", "complexity", *options, *settings])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("1 rooms, ")
    rows = {row["name"]: row for row in json.loads((tmp_path / "costs.json").read_text())}
    assert list(rows) == ["T_parameters", "T_seconds", "sparse_unet_parameters", "sparse_unet_seconds"]
    assert rows["T_parameters"]["value"] == 375_036
    assert rows["sparse_unet_parameters"]["value"] == 2_690_430
    assert rows["T_seconds"]["unit"] == "s, 1 rooms"
    assert rows["T_seconds"]["peer"] == "paper, its machine and 20 rooms: 43.62 s"
    assert min(rows["T_seconds"]["value"], rows["sparse_unet_seconds"]["value"]) > 0
    assert f"{rows['T_seconds']['value']:.2f}" in done.stdout


def test_ratios_are_those_to_the_unet() -> None:
    lines = table([Cost("L", 10, 2.0, 95.89), Cost("unet3d", 20, 50.0, 254.75), Cost("vtunet", 30, 100.0, None)])
    assert [line.split() for line in lines[1:]] == [
        ["L", "10", "2.00", "25.0", "95.89", "2.7"],
        ["unet3d", "20", "50.00", "1.0", "254.75", "1.0"],
        ["vtunet", "30", "100.00", "0.5", "-", "-"],
    ]
    assert table([Cost("L", 10, 2.0, 95.89)])[1].split()[3] == "-"


def test_rows_have_the_form_of_all_benchmarks() -> None:
    costs = [Cost("L", 10, 2.0, 95.89), Cost("unet3d", 20, 50.0, 254.75), Cost("vtunet", 30, 100.0, None)]
    told = json.loads(rows_as_json(rows_of(costs, rooms=3)))
    assert {tuple(row) for row in told} == {("name", "value", "unit", "peer", "ratio")}
    rows = {row["name"]: row for row in told}
    assert rows["L_seconds"]["value"] == 2.0
    assert rows["L_seconds"]["ratio"] is None
    assert rows["L_speed_vs_unet3d"]["value"] == 25.0
    assert rows["L_speed_vs_unet3d"]["peer"] == "paper: 2.7 times"
    assert rows["L_speed_vs_unet3d"]["ratio"] == pytest.approx(25 / (254.75 / 95.89))
    assert "unet3d_speed_vs_unet3d" not in rows
    assert rows["vtunet_speed_vs_unet3d"] == {
        "name": "vtunet_speed_vs_unet3d",
        "value": 0.5,
        "unit": "times",
        "peer": "",
        "ratio": None,
    }


def test_quick_takes_one_small_room(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[int, float]] = []

    def note(name: str, rooms: Sequence[Room]) -> Cost:
        taken.append((len(rooms), max(max(room.tsdf.shape) * room.voxel_m for room in rooms)))
        return Cost(name, 1, 1.0, None)

    monkeypatch.setattr("roomseg.commands.bench.measure", note)
    done = CliRunner().invoke(app, ["bench", "complexity", "--quick", "--networks", "T,unet3d"])
    assert done.exit_code == 0, done.output
    assert [count for count, _ in taken] == [1, 1]
    assert max(size for _, size in taken) < 4


@pytest.mark.parametrize("name", ["none/costs.json", "folder", "/proc/costs.json"])
def test_where_no_file_can_be_is_told_before_the_work(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr("roomseg.commands.bench.generated_rooms", lambda *_: pytest.fail("the work has begun"))
    done = CliRunner().invoke(app, ["bench", "complexity", "--json", str(tmp_path / name)])
    assert isinstance(done.exception, UserError)
    assert name in str(done.exception)


def test_quick_is_for_generated_rooms(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "complexity", "--quick", "--store", str(tmp_path)])
    assert isinstance(done.exception, UsageError)


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(UsageError, match="'X' is unknown; there are T, B, M, L, unet3d"):
        chosen_networks("T, X")
