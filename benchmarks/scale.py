"""What many rooms cost, worked out from what one costs: the second table of docs/scale.md, as Markdown.

python benchmarks/scale.py --core-seconds S --room-mb M [--index-bytes B] [--rooms-per-shard N] ...

The figures of one room are measured (docs/scale.md says by which commands); prices are of the options.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

ROOMS = (5_917, 100_000, 1_000_000)  # the first: the published set's
SUMMARY_AND_SHARD = 2  # objects of a shard in the artifact
JOURNAL = 2  # notes that they are there, which let an interrupted stage continue
FIXED = 4  # index, audit, what was turned away, manifest


@dataclass(frozen=True)
class Unit:
    core_seconds: float  # of a room
    room_mb: float
    index_bytes: float  # of a room
    rooms_per_shard: int
    core_hour: float  # $
    gb_month: float  # $
    thousand_puts: float  # $


def objects(rooms: int, unit: Unit) -> int:
    return -(-rooms // unit.rooms_per_shard) * (SUMMARY_AND_SHARD + JOURNAL) + FIXED


def columns(rooms: int, unit: Unit) -> list[str]:
    """What so many rooms cost, in the order of ``NAMES``."""
    core_hours, gb = rooms * unit.core_seconds / 3600, rooms * unit.room_mb / 1000
    return [
        f"{core_hours:,.0f}",
        duration(core_hours / 2),
        duration(core_hours / 64),
        duration(core_hours / 1000),
        f"${core_hours * unit.core_hour:,.2f}",
        f"{gb:,.0f} GB",
        f"${gb * unit.gb_month:,.2f}",
        f"{objects(rooms, unit):,}",
        f"${objects(rooms, unit) / 1000 * unit.thousand_puts:,.2f}",
        f"{rooms * unit.index_bytes / 1e6:,.1f} MB",
    ]


NAMES = (
    "core-hours of `render`",
    "wall time, 2 cores",
    "wall time, 64 cores",
    "wall time, 1,000 cores (`--shard i/n`)",
    "compute",
    "storage",
    "storage a month",
    "objects",
    "writing the objects",
    "index",
)


def duration(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def markdown(unit: Unit) -> str:
    cells = [columns(rooms, unit) for rooms in ROOMS]
    lines = ["| | " + " | ".join(f"{rooms:,} rooms" for rooms in ROOMS) + " |", "|---" * (len(ROOMS) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(values) + " |" for name, *values in zip(NAMES, *cells, strict=True)]
    return "\n".join(lines)


def parse() -> Unit:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core-seconds", type=float, required=True, help="of one core, to make a room")
    parser.add_argument("--room-mb", type=float, required=True, help="in its shard, with its panorama")
    parser.add_argument("--index-bytes", type=float, default=40.0, help="of a room, in the index")
    parser.add_argument("--rooms-per-shard", type=int, default=64, help="render.rooms_per_shard")
    parser.add_argument("--core-hour", type=float, default=0.04, help="$ of a core for an hour")
    parser.add_argument("--gb-month", type=float, default=0.023, help="$ of a GB for a month")
    parser.add_argument("--thousand-puts", type=float, default=0.005, help="$ of writing 1,000 objects")
    return Unit(**vars(parser.parse_args()))


if __name__ == "__main__":
    print(markdown(parse()))
