"""What all benchmarks share: clocks that measure two rivals in turns, the table, the JSON file and the command line.

BENCH_CLOCK=cpu in the environment counts the CPU time of the process, of all its threads, and not the time on the wall:
for a machine that has other work. With OMP_WAIT_POLICY=PASSIVE threads that wait are not counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from roomseg.figures import Row, rows_as_json


def parse_arguments(description: str | None) -> argparse.Namespace:
    """``quick`` (bool) and ``json`` (Path or None) of the command line."""
    return argument_parser(description).parse_args()


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """Of ``parse_arguments``, for a benchmark with further options."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller: ends within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows as JSON")
    return parser


def print_table(rows: Sequence[Row]) -> None:
    width = max((len(row.name) for row in rows), default=0) + 2
    print(f"{'':{width}}{'ours':>12} {'unit':<14}{'ratio':>9}  peer")
    for row in rows:
        ratio = "" if row.ratio is None else f"{row.ratio:.3g}x"
        print(f"{row.name:{width}}{row.value:12.4g} {row.unit:<14}{ratio:>9}  {row.peer}")


def write_json(rows: Sequence[Row], path: Path) -> None:
    path.write_text(rows_as_json(rows))


def seconds(work: Callable[[], object]) -> float:
    """How long one call takes."""
    clock = time.process_time if os.environ.get("BENCH_CLOCK") == "cpu" else time.perf_counter
    start = clock()
    work()
    return clock() - start


def median_s(work: Callable[[], object], repeats: int) -> float:
    """The median time of a call; one more before it compiles and touches memory."""
    work()
    return statistics.median(seconds(work) for _ in range(repeats))


def interleaved_medians(
    ours: Callable[[], object], peer: Callable[[], object], repeats: int
) -> tuple[float, float]:  # seconds of ours and of the peer
    """Median times of two calls made in turns, so that other load on the machine strikes both."""
    ours(), peer()
    pairs = [(seconds(ours), seconds(peer)) for _ in range(repeats)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)
