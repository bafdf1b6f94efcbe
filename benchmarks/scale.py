"""What many rooms cost, worked out from what one costs: the second table of docs/scale.md, as Markdown.

python benchmarks/scale.py [--core-seconds S] [--room-mb M] [--index-bytes B] [--rooms-per-shard N] ...

The figures of one room are measured: those of docs/scale.md, which says by which commands, where none are given. Prices
are of the options. There is nothing to be quick about: ``--quick`` changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

from table import Row, argument_parser, write_json

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


def core_hours(rooms: int, unit: Unit) -> float:
    return rooms * unit.core_seconds / 3600


def gigabytes(rooms: int, unit: Unit) -> float:
    return rooms * unit.room_mb / 1000


def duration(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


@dataclass(frozen=True)
class Figure:
    name: str  # of its rows; the number of rooms follows
    title: str  # in the table
    unit: str
    of: Callable[[int, Unit], float]  # rooms
    text: Callable[[float], str]


def dollars(value: float) -> str:
    return f"${value:,.2f}"


FIGURES = (
    Figure("core_hours", "core-hours of `render`", "h", core_hours, "{:,.0f}".format),
    Figure("wall_2_cores", "wall time, 2 cores", "h", lambda n, u: core_hours(n, u) / 2, duration),
    Figure("wall_64_cores", "wall time, 64 cores", "h", lambda n, u: core_hours(n, u) / 64, duration),
    Figure(
        "wall_1000_cores",
        "wall time, 1,000 cores (`--shard i/n`)",
        "h",
        lambda n, u: core_hours(n, u) / 1000,
        duration,
    ),
    Figure("compute", "compute", "$", lambda n, u: core_hours(n, u) * u.core_hour, dollars),
    Figure("storage", "storage", "GB", gigabytes, "{:,.0f} GB".format),
    Figure("storage_month", "storage a month", "$", lambda n, u: gigabytes(n, u) * u.gb_month, dollars),
    Figure("objects", "objects", "", objects, "{:,}".format),
    Figure("puts", "writing the objects", "$", lambda n, u: objects(n, u) / 1000 * u.thousand_puts, dollars),
    Figure("index", "index", "MB", lambda n, u: n * u.index_bytes / 1e6, "{:,.1f} MB".format),
)


def rows_of(unit: Unit) -> list[Row]:
    return [Row(f"{each.name}_{rooms}", each.of(rooms, unit), each.unit) for each in FIGURES for rooms in ROOMS]


def markdown(unit: Unit) -> str:
    lines = ["| | " + " | ".join(f"{rooms:,} rooms" for rooms in ROOMS) + " |", "|---" * (len(ROOMS) + 1) + "|"]
    for each in FIGURES:
        cells = [each.text(each.of(rooms, unit)) for rooms in ROOMS]
        lines.append(f"| {each.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argument_parser(__doc__)
    parser.add_argument("--core-seconds", type=float, default=5.8, help="of one core, to make a room")
    parser.add_argument("--room-mb", type=float, default=1.16, help="in its shard, with its panorama")
    parser.add_argument("--index-bytes", type=float, default=40.0, help="of a room, in the index")
    parser.add_argument("--rooms-per-shard", type=int, default=64, help="render.rooms_per_shard")
    parser.add_argument("--core-hour", type=float, default=0.04, help="$ of a core for an hour")
    parser.add_argument("--gb-month", type=float, default=0.023, help="$ of a GB for a month")
    parser.add_argument("--thousand-puts", type=float, default=0.005, help="$ of writing 1,000 objects")
    arguments = parser.parse_args()
    given = Unit(**{field.name: getattr(arguments, field.name) for field in fields(Unit)})
    print(markdown(given))
    if arguments.json:
        write_json(rows_of(given), arguments.json)
