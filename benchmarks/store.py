"""What a store of very many rooms costs to write, open, sample and audit, and what one room of the paper's size costs.

python benchmarks/store.py [--quick] [--json FILE] [--rooms N] [--keep FOLDER]

The many rooms are tiny (4^3 voxels, no panorama), so that the bookkeeping is what is measured; the real writer, index,
audit and check handle them. Each action runs in a process of its own, whose peak memory is given beside that of a
process that only imports the same modules. The rooms of the paper's size are generated and rendered with its settings.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy is imported

import numpy as np
from table import Row, print_table, write_json

from roomseg.config import override
from roomseg.data import index
from roomseg.data.audit import audit_report
from roomseg.data.check import check_rooms, damage
from roomseg.data.dataset import find_room, open_rooms
from roomseg.data.rooms import TSDF_STEPS, Room
from roomseg.data.shards import ShardFile, pack_room, write_shard
from roomseg.data.summary import RoomLine, ShardSummary
from roomseg.profiles import profile
from roomseg.runtime.artifacts import AttemptClock, StoreArtifactWriter, open_render
from roomseg.runtime.manifest import Manifest, Origin
from roomseg.runtime.storage import DirectoryStore

ROOMS, QUICK_ROOMS, INDEXED = 100_000, 5_000, 1_000_000
ROOMS_PER_SHARD, ROOMS_PER_HOUSE, SAMPLED = 64, 4, 1000
ORIGIN = Origin(stage="render", fingerprint="be7c", code_version="benchmark", config={}, parents={})


# The many tiny rooms


def split_of(house: int) -> str:
    return {0: "val", 1: "test"}.get(house % 20, "train")


def tiny_room(number: int) -> Room:
    rng = np.random.default_rng(number)
    tsdf = rng.integers(-127, 128, (4, 4, 4), np.int8)
    full = tsdf != TSDF_STEPS
    house = number // ROOMS_PER_HOUSE
    return Room(
        id=f"g0h{house:06d}-{number % ROOMS_PER_HOUSE}",
        house_id=f"g0h{house:06d}",
        split=split_of(house),
        origin_m=np.zeros(3),
        voxel_m=0.04,
        tsdf=tsdf,
        rgb=np.repeat(full[..., None], 3, axis=-1).astype(np.uint8),
        label=full.astype(np.uint8) * np.uint8(17),
        meta={"room_type": "bedroom", "credits": ["roomseg, parametric, Apache-2.0"], "hit_rate": 0.99},
    )


def write_store(root: Path, rooms: int) -> Manifest:
    """As the stage ``render`` does: shard, summary, journal; at the end index, audit and manifest."""
    store = DirectoryStore(root)
    writer = StoreArtifactWriter(store, ORIGIN, AttemptClock(store, ORIGIN.folder), root)
    scratch = root / "scratch"
    scratch.mkdir(parents=True)
    names = []
    for n, first in enumerate(range(0, rooms, ROOMS_PER_SHARD)):
        names.append(f"rooms/train-{n:05d}.parquet")
        numbers = range(first, min(first + ROOMS_PER_SHARD, rooms))
        summary = write_shard(map(tiny_room, numbers), scratch / "shard")
        writer.add(names[-1], scratch / "shard")
        (scratch / "summary").write_bytes(summary.to_json())
        writer.add(summary_name(names[-1]), scratch / "summary")

    def summaries() -> Iterator[tuple[str, ShardSummary]]:
        for name in names:
            yield name, ShardSummary.from_json(writer.path(summary_name(name)).read_bytes())

    index.write_index(summaries(), scratch / "index")
    writer.add(index.NAME, scratch / "index")
    (scratch / "audit").write_text(json.dumps(audit_report(summary for _, summary in summaries())))
    writer.add("audit.json", scratch / "audit")
    shutil.rmtree(scratch)
    return writer.finish({})


def summary_name(shard: str) -> str:
    return shard.replace(".parquet", ".json")


def index_summaries(rooms: int) -> Iterator[tuple[str, ShardSummary]]:
    """Summaries without shards: to write and open an index of very many rooms takes nothing else."""
    for n, first in enumerate(range(0, rooms, ROOMS_PER_SHARD)):
        lines = tuple(
            RoomLine.model_construct(
                id=f"g0h{k // ROOMS_PER_HOUSE:06d}-{k % ROOMS_PER_HOUSE}",
                house_id=f"g0h{k // ROOMS_PER_HOUSE:06d}",
                split=split_of(k // ROOMS_PER_HOUSE),
                shape=(160 + k % 7, 140 + k % 5, 85),
                room_type="bedroom",
                hit_rate=0.9 + (k % 97) / 1000,
                surface_seen=0.95,
                panoramas=1,
                bytes=1_000_000 + k % 1000,
            )
            for k in range(first, min(first + ROOMS_PER_SHARD, rooms))
        )
        yield f"rooms/train-{n:05d}.parquet", ShardSummary.model_construct(labels="panorooms3d", rooms=lines)


# The actions, each in a process of its own


def sample(root: Path) -> dict[str, float]:
    """Rooms at random, the first time a shard is touched (its sha256 is checked) and again."""
    rooms = open_rooms(open_render(str(root)), "train")
    chosen = np.random.default_rng(0).integers(len(rooms), size=SAMPLED).tolist()
    tiny_room(0), pack_room(tiny_room(0)), rooms[0]  # compile
    start = time.perf_counter()
    assert len({rooms[n].id for n in chosen}) == len(set(chosen))
    cold = time.perf_counter() - start
    shard = [n for n in range(ROOMS_PER_SHARD) if rooms.refs[n].shard == rooms.refs[0].shard]
    start = time.perf_counter()
    for n in chosen:
        rooms[shard[n % len(shard)]]
    return {"first_ms": 1e3 * cold / SAMPLED, "again_ms": 1e3 * (time.perf_counter() - start) / SAMPLED}


def deep_check(root: Path) -> None:
    assert list(damage(open_render(str(root)))) == []


def sound(root: Path) -> None:
    assert check_rooms(open_render(str(root))).faults == []


def million_index(root: Path, rooms: int) -> None:
    index.write_index(index_summaries(rooms), root / "index.parquet")


class _IndexOnly:
    """An artifact that has nothing but an index."""

    def __init__(self, root: Path) -> None:
        self.path = lambda name: root / "index.parquet"


ACTIONS: dict[str, Callable[[Path, int], dict[str, float] | None]] = {
    "import": lambda root, n: None,
    "write": lambda root, n: write_store(root, n) and None,
    "open": lambda root, n: open_rooms(open_render(str(root)), "train") and None,
    "sample": lambda root, n: sample(root),
    "find": lambda root, n: find_room(open_render(str(root)), tiny_room(n - 1).id).load() and None,
    "check": lambda root, n: sound(root),
    "check --deep": lambda root, n: deep_check(root),
    "index write": million_index,
    "index open": lambda root, n: open_rooms(_IndexOnly(root), "train") and None,  # type: ignore[arg-type]
}


def act(action: str, root: Path, rooms: int) -> None:
    """One action; prints its seconds and the process's peak memory as JSON."""
    start = time.perf_counter()
    more = ACTIONS[action](root, rooms) or {}
    seconds = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb, **more}))


def run(action: str, root: Path, rooms: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--action", action, "--rooms", str(rooms), "--keep", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{action} failed:\n{done.stderr}")
    return json.loads(done.stdout)


def store_rows(root: Path, rooms: int) -> list[Row]:
    figures = {name: run(name, root, rooms) for name in ("import", "write", "open", "sample", "find", "check")}
    figures["check --deep"] = run("check --deep", root, rooms)
    files = [path for path in root.rglob("*") if path.is_file()]
    manifest = next(root.glob("artifacts/render/*/manifest.json"))
    parts = list(root.glob("parts/*/*.json"))
    stored = open_render(str(root))
    rows = [
        Row("rooms", rooms, f"in {ROOMS_PER_SHARD}s"),
        Row("objects", len(files), "files"),
        Row("objects_journal", len(list(root.glob("artifacts/render/*/added/*"))), "files"),
        Row("manifest_kb", manifest.stat().st_size / 1e3, "kB"),
        Row("largest_part_kb", max([path.stat().st_size for path in parts], default=0) / 1e3, "kB"),
        Row("parts", len(parts), "files"),
        Row("index_bytes_a_room", stored.path(index.NAME).stat().st_size / rooms, "bytes"),
        Row("write_ms_a_room", 1e3 * figures["write"]["seconds"] / rooms, "ms"),
        Row("sample_first_ms", figures["sample"]["first_ms"], "ms a room"),
        Row("sample_again_ms", figures["sample"]["again_ms"], "ms a room"),
    ]
    rows += [Row(f"{name}_s", figures[name]["seconds"], "s") for name in ("open", "find", "check", "check --deep")]
    return rows + memory_rows(figures)


def memory_rows(figures: dict[str, dict[str, float]]) -> list[Row]:
    peer = f"{figures['import']['peak_mb']:.0f} MB for the imports alone"
    return [Row(f"{name}_peak_mb", each["peak_mb"], "MB", peer) for name, each in figures.items() if name != "import"]


def index_rows(root: Path, rooms: int) -> list[Row]:
    figures = {name: run(name, root, rooms) for name in ("import", "index write", "index open")}
    size = (root / "index.parquet").stat().st_size
    return [
        Row("million_index_mb", size / 1e6, "MB"),
        Row("million_index write_s", figures["index write"]["seconds"], "s"),
        Row("million_index open_s", figures["index open"]["seconds"], "s"),
        *(replace(row, name=f"million_{row.name}") for row in memory_rows(figures)),
    ]


# Rooms of the paper's size


def paper_rooms(n: int) -> list[Room]:
    """6 x 5 m, as the profile ``paper`` renders them; the furniture libraries where they are."""
    from roomseg.stages.rendering.rooms import make_room
    from roomseg.stages.sources import open_source

    settings = ["render.room_size_m=[5,6]", f"render.train_rooms={n}", "render.val_rooms=0", "render.test_rooms=0"]
    config = override(profile("paper"), settings).render
    source = open_source(config)
    return [make_room(config, source.load(key), key) for key in source.plan()[0]]


def with_noise(room: Room) -> Room:
    """Colour noise of 2 levels at each voxel: what the mean of 64 frames leaves of a camera's 16."""
    noise = np.random.default_rng(0).normal(0, 2, room.rgb.shape)
    rgb = np.clip(room.rgb + noise, 0, 255).astype(np.uint8)
    return replace(room, rgb=rgb * (room.tsdf != TSDF_STEPS)[..., None].astype(np.uint8))


def near_surface(room: Room) -> Room:
    """Colour within one voxel of the surface only: what a trilinear crossing needs."""
    near = np.abs(room.tsdf.astype(np.int16)) * room.meta["truncation_voxels"] <= TSDF_STEPS
    return replace(room, rgb=room.rgb * near[..., None].astype(np.uint8))


def best_ms(work: Callable[[], object], repeats: int = 9) -> float:
    """The least time of several, in ms of this thread: what the work takes when nothing else runs."""
    times = []
    for _ in range(repeats):
        start = time.thread_time()
        work()
        times.append(time.thread_time() - start)
    return 1e3 * min(times)


def room_rows(folder: Path, n: int) -> list[Row]:
    """The peer is one compressed npz a room with the same planes and JPEG, as numpy writes it."""
    folder.mkdir(exist_ok=True)
    rooms = paper_rooms(n)
    changes = {"": lambda room: room, "_noisy_colour": with_noise, "_near_surface": near_surface}
    rows = [Row("room_voxels", float(np.mean([r.tsdf.size for r in rooms])) / 1e6, "million")]
    for kind, change in changes.items():
        each = [change(room) for room in rooms]
        shard = folder / f"rooms{kind}.parquet"
        summary = write_shard(each, shard)
        views = [len(pack_room(r).row["panoramas"][0]["rgb_jpeg"]) for r in each]
        theirs = [npz_bytes(r, folder / "peer.npz") + view for r, view in zip(each, views, strict=True)]
        ours = [line.bytes for line in summary.rooms]
        rows.append(Row(f"room_mb{kind}", np.mean(ours) / 1e6, "MB", "npz, compressed", sum(theirs) / sum(ours)))
    return rows + timing_rows(rooms, ShardFile(folder / "rooms.parquet"), folder / "peer.npz")


def timing_rows(rooms: list[Room], shard: ShardFile, peer: Path) -> list[Row]:
    pack_ms, read_ms, view_ms, peer_write_ms, peer_read_ms = [], [], [], [], []
    for row, room in enumerate(rooms):
        pack_ms.append(best_ms(lambda room=room: pack_room(room), 4))
        read_ms.append(best_ms(lambda row=row: shard.room(row)))
        view_ms.append(best_ms(lambda row=row: shard.panoramas(row)[0]))
        peer_write_ms.append(best_ms(lambda room=room: npz_bytes(room, peer), 1))
        peer_read_ms.append(best_ms(lambda: {**np.load(peer)}, 3))
    packed, read = float(np.mean(pack_ms)), float(np.mean(read_ms))
    return [
        Row("room_pack_ms", packed, "ms", "npz, compressed, no picture", float(np.mean(peer_write_ms)) / packed),
        Row("room_read_ms", read, "ms", "npz, compressed, no picture", float(np.mean(peer_read_ms)) / read),
        Row("panorama_read_ms", float(np.mean(view_ms)), "ms"),
    ]


def npz_bytes(room: Room, path: Path) -> int:
    np.savez_compressed(path, tsdf=room.tsdf, rgb=room.rgb, label=room.label)
    return path.stat().st_size


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller: ends within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows as JSON")
    parser.add_argument("--rooms", type=int, help=f"tiny rooms; default {ROOMS}, {QUICK_ROOMS} with --quick")
    parser.add_argument("--only", choices=["store", "index", "rooms"], help="one part of it")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="make the store here, and leave it")
    parser.add_argument("--action", choices=list(ACTIONS), help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(arguments: argparse.Namespace, folder: Path) -> list[Row]:
    quick, only = arguments.quick, arguments.only
    rows = []
    if only in (None, "store"):
        rows += store_rows(folder / "store", arguments.rooms or (QUICK_ROOMS if quick else ROOMS))
    if only == "index" or (only is None and not quick):
        rows += index_rows(folder, INDEXED)
    if only in (None, "rooms"):
        rows += room_rows(folder / "rooms", 1 if quick else 8)
    return rows


def main() -> None:
    arguments = parse()
    if arguments.action:
        act(arguments.action, arguments.keep, arguments.rooms)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        rows = measure(arguments, folder)
    print_table(rows)
    if arguments.json:
        write_json(rows, arguments.json)


if __name__ == "__main__":
    main()
