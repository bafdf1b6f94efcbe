"""What many rooms cost: the arithmetic, by hand."""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_the_table_is_worked_out() -> None:
    words = ["--core-seconds", "9", "--room-mb", "1.5", "--index-bytes", "50", "--rooms-per-shard", "100"]
    done = subprocess.run([sys.executable, "benchmarks/scale.py", *words], cwd=ROOT, capture_output=True, text=True)
    rows = {
        line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:-1]]
        for line in done.stdout.splitlines()
    }
    assert rows["core-hours of `render`"] == ["15", "250", "2,500"]
    assert rows["wall time, 2 cores"] == ["7.4 h", "5.2 days", "52.1 days"]
    assert rows["wall time, 1,000 cores (`--shard i/n`)"] == ["1 min", "15 min", "2.5 h"]
    assert rows["compute"] == ["$0.59", "$10.00", "$100.00"]
    assert rows["storage"] == ["9 GB", "150 GB", "1,500 GB"]
    assert rows["storage a month"] == ["$0.20", "$3.45", "$34.50"]
    assert rows["objects"] == ["244", "4,004", "40,004"]
    assert rows["index"] == ["0.3 MB", "5.0 MB", "50.0 MB"]


def test_without_options_it_is_the_table_of_the_docs_and_the_rows_say_the_same(tmp_path: Path) -> None:
    words = [sys.executable, "benchmarks/scale.py", "--quick", "--json", str(tmp_path / "rows.json")]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout in (ROOT / "docs" / "scale.md").read_text()
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert all(row.keys() == {"name", "value", "unit", "peer", "ratio"} for row in rows)
    values = {row["name"]: row["value"] for row in rows}
    table = [line.split("|")[2:-1] for line in done.stdout.splitlines()[2:]]
    assert len(values) == sum(map(len, table)) == 30
    (hours,) = (line for line in done.stdout.splitlines() if line.startswith("| core-hours"))
    told = [float(number.replace(",", "")) for number in re.findall(r"[\d,]+", hours)]
    assert told == [round(values[f"core_hours_{rooms}"]) for rooms in (5917, 100000, 1000000)]
