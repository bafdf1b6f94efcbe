"""render: scenes -> rooms (TSDF, RGB, label) with panoramas, in Parquet shards.

For each room: random RGB-D and label frames at 1.4-1.8 m are drawn and fused one by one into a TSDF (paper, section
5), then a panorama is drawn at the free position nearest the room's centre.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path

import numba
import numpy as np

from roomseg.config import RenderConfig, RoomType
from roomseg.data.audit import audit_rooms
from roomseg.data.rooms import Panorama, Room
from roomseg.data.shards import write_shard
from roomseg.errors import UserError
from roomseg.geometry.cameras import Pinhole
from roomseg.geometry.panorama import render_panorama
from roomseg.geometry.projection import panorama_hits
from roomseg.geometry.raster import PackedMesh, pack_mesh, render_frame
from roomseg.geometry.tsdf import empty_volume, finish, integrate
from roomseg.labels import PANOROOMS3D
from roomseg.ports import Bar, StageContext
from roomseg.scenes.furniture import FurnitureLibrary, content_digest, open_furniture
from roomseg.scenes.generator import SceneRoom, camera_poses, generate_room, panorama_cameras
from roomseg.scenes.textures import Texture, floor_textures, wall_textures
from roomseg.splits import SPLITS
from roomseg.stages.outputs import add_json

IMAGE_FURNITURE = Path("/opt/roomseg/furniture")  # where images/render keeps the libraries
Textures = tuple[tuple[Texture, ...], tuple[Texture, ...]]  # floors, walls


@dataclass(frozen=True)
class RoomTask:
    split: str
    house: int  # counted over all splits: no house is in two of them
    index: int  # of the room in its house
    room_type: RoomType


@dataclass(frozen=True)
class ShardTask:
    name: str
    rooms: tuple[RoomTask, ...]


def run(config: RenderConfig, ctx: StageContext) -> dict[str, float]:
    """Render what is missing; returns counts and the mean panorama hit rate."""
    directory = furniture_dir(config)
    if directory is None:
        ctx.progress.say("render: no furniture libraries (`make furniture` fetches them): parametric furniture only")
    shards = plan_shards(config)
    missing = [shard for shard in shards if shard.name not in ctx.outputs]
    if missing:
        _render_shards(config, directory, missing, done=len(shards) - len(missing), ctx=ctx)
    audit = audit_rooms([ctx.outputs.path(shard.name) for shard in shards])
    add_json(ctx, "audit.json", audit)
    return {
        "rooms": sum(audit["rooms"].values()),
        "hit_rate": audit["hit_rate"],
        "labelled_share": audit["labelled_share"],
    }


def external_digests(config: RenderConfig) -> dict[str, str]:
    """What the rooms depend on besides the configuration and the code."""
    return {"furniture": content_digest(furniture_dir(config))}


def furniture_dir(config: RenderConfig) -> Path | None:
    """The folder of the ``.sh3f`` libraries, or None: parametric furniture only."""
    if config.furniture_dir != "auto":
        directory = Path(config.furniture_dir)
        if not directory.is_dir():
            raise UserError(f"render.furniture_dir: {directory} is not a folder; expected one with .sh3f files")
        return directory
    named = os.environ.get("ROOMSEG_FURNITURE_DIR")
    candidates = [Path(named)] if named else [Path(".furniture"), IMAGE_FURNITURE]
    return next((d for d in candidates if d.is_dir()), None)


def plan_shards(config: RenderConfig) -> list[ShardTask]:
    """Which room goes where: a function of the configuration alone."""
    shards, first_house = [], 0
    for split, count in zip(SPLITS, (config.train_rooms, config.val_rooms, config.test_rooms), strict=True):
        tasks = [
            RoomTask(
                split,
                first_house + n // config.rooms_per_house,
                n % config.rooms_per_house,
                config.room_types[n % len(config.room_types)],
            )
            for n in range(count)
        ]
        first_house += -(-count // config.rooms_per_house)
        for k, start in enumerate(range(0, count, config.rooms_per_shard)):
            rooms = tuple(tasks[start : start + config.rooms_per_shard])
            shards.append(ShardTask(f"rooms/{split}-{k:05d}.parquet", rooms))
    return shards


def render_room(config: RenderConfig, task: RoomTask, furniture: FurnitureLibrary, textures: Textures) -> Room:
    """One room from its seed to its planes and panorama."""
    scene = generate_room(
        (config.seed, task.house, task.index),
        f"g{config.seed}h{task.house:06d}",
        task.index,
        task.room_type,
        config.room_size_m,
        furniture,
        textures,
    )
    rng = np.random.default_rng([config.seed, task.house, task.index, 1])
    return fuse_scene(config, scene, task.split, rng)


def fuse_scene(config: RenderConfig, scene: SceneRoom, split: str, rng: np.random.Generator) -> Room:
    camera = Pinhole.from_fov(config.frame_width, config.frame_height, config.frame_fov_deg)
    mesh = pack_mesh(scene.mesh)
    low, high = scene.mesh.bounds
    volume = empty_volume(low, high, config.voxel_m, config.truncation_voxels, config.margin_voxels, len(PANOROOMS3D))
    for pose in camera_poses(scene, config.frames_per_room, config.camera_height_m, rng):
        integrate(volume, render_frame(mesh, camera, pose), camera, pose)
    tsdf, rgb, label = finish(volume)
    positions = panorama_cameras(scene, config.panoramas_per_room, rng)
    panoramas = tuple(_panorama(config, mesh, position, rng) for position in positions)
    camera_voxel = (panoramas[0].camera_m - volume.origin_m) / config.voxel_m
    hits = panorama_hits(tsdf, camera_voxel, config.panorama_height)
    return Room(
        id=scene.id,
        house_id=scene.house_id,
        split=split,
        origin_m=np.asarray(volume.origin_m, np.float64),
        voxel_m=config.voxel_m,
        tsdf=tsdf,
        rgb=rgb,
        label=label,
        panoramas=panoramas,
        meta={
            "room_type": scene.room_type,
            "truncation_voxels": config.truncation_voxels,
            "objects": [o.name for o in scene.objects],
            "credits": list(scene.credits),
            "hit_rate": round(float(hits.hit_rate), 4),  # of the panorama from the middle
        },
    )


def _panorama(config: RenderConfig, mesh: PackedMesh, position: np.ndarray, rng: np.random.Generator) -> Panorama:
    view = render_panorama(mesh, position, config.panorama_height, seed=int(rng.integers(2**31)))
    return Panorama(np.asarray(position, np.float64), view.rgb, view.label)


# The worker processes: each opens the libraries once.


@lru_cache(maxsize=1)
def _assets(directory: Path | None) -> tuple[FurnitureLibrary, Textures]:
    return open_furniture(directory), (floor_textures(directory), wall_textures(directory))


def _work(config: RenderConfig, directory: Path | None, task: RoomTask) -> Room:
    numba.set_num_threads(1)  # the processes share the cores
    furniture, textures = _assets(directory)
    return render_room(config, task, furniture, textures)


def _render_shards(
    config: RenderConfig, directory: Path | None, missing: list[ShardTask], done: int, ctx: StageContext
) -> None:
    _assets(directory)  # a damaged library is reported once, here
    workers = config.workers or len(os.sched_getaffinity(0))
    n_missing = sum(len(shard.rooms) for shard in missing)
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool,
        ctx.progress.bar("render", total=n_missing, unit="rooms") as bar,
    ):
        if done:
            ctx.progress.say(f"render: {done} shards are there already")
        tasks = [task for shard in missing for task in shard.rooms]
        rooms = _in_order(pool, partial(_work, config, directory), tasks, ahead=2 * workers)
        for shard in missing:
            path = ctx.work_dir / Path(shard.name).name
            write_shard(_counted(rooms, len(shard.rooms), bar), path)
            ctx.outputs.add(shard.name, path)
            path.unlink()


def _in_order(
    pool: ProcessPoolExecutor, work: Callable[[RoomTask], Room], tasks: list[RoomTask], ahead: int
) -> Iterator[Room]:
    """Results in the order of the tasks, with at most ``ahead`` in flight."""
    queue: deque[tuple[RoomTask, Future[Room]]] = deque()
    waiting = iter(tasks)
    for task in islice(waiting, ahead):
        queue.append((task, pool.submit(work, task)))
    while queue:
        task, future = queue.popleft()
        try:
            room = future.result()
        except BrokenProcessPool:
            raise UserError(
                f"a render worker died near house {task.house}, room {task.index}: out of memory? "
                "set render.workers lower"
            ) from None
        yield room
        for task in islice(waiting, 1):
            queue.append((task, pool.submit(work, task)))


def _counted(rooms: Iterator[Room], n: int, bar: Bar) -> Iterator[Room]:
    for room in islice(rooms, n):
        yield room
        bar.advance(1)
