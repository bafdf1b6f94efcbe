"""Times the panoramas and the projection, each beside a named peer in the same run, on one thread.

python benchmarks/geometry.py [--quick] [--json FILE]

Frames and fusion: see rooms.py.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are imported

import numpy as np
import torch
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh as EmbreeMesh
from synthetic import EYE_M, poses, synthetic_room
from table import Row, interleaved_medians, parse_arguments, print_table, write_json

from roomseg.geometry.cameras import Pinhole
from roomseg.geometry.equirect import directions
from roomseg.geometry.panorama import render_panorama
from roomseg.geometry.projection import panorama_hits
from roomseg.geometry.raster import PackedMesh, pack_mesh, render_frame
from roomseg.geometry.tsdf import TsdfVolume, empty_volume, finish, integrate

VOXEL_M, TRUNCATION, MARGIN = 0.04, 5, 5
CAMERA = Pinhole.from_fov(320, 240, 75)


def embree_scene(mesh: PackedMesh) -> rtcore_scene.EmbreeScene:
    scene = rtcore_scene.EmbreeScene()
    EmbreeMesh(scene, mesh.vertices, mesh.faces)
    return scene


def bench_panorama(mesh: PackedMesh, height: int, repeats: int) -> Row:
    """The peer builds its scene as we do and finds face and depth only: the share of light and colour is the rest."""

    def peer() -> object:
        rays = directions(height).reshape(-1, 3)
        return embree_scene(mesh).run(np.tile(EYE_M.astype(np.float32), (len(rays), 1)), rays, output=1)

    ours, theirs = interleaved_medians(lambda: render_panorama(mesh, EYE_M, height, seed=0), peer, repeats)
    name = f"render_panorama {height}x{2 * height}"
    return Row(name, 1e3 * ours, "ms", "embree primary rays, no light", theirs / ours)


def torch_march(tsdf: torch.Tensor, camera_voxel: np.ndarray, height: int, steps: int = 100) -> torch.Tensor:
    """The first of evenly spaced samples, 0.1 to 7 m, that is behind a surface: (H, 2H) distance in voxels."""
    size = torch.tensor(tsdf.shape, dtype=torch.float32) - 1
    rays, camera = torch.from_numpy(directions(height)), torch.tensor(camera_voxel, dtype=torch.float32)
    depth = torch.full(rays.shape[:2], torch.inf)
    for t in torch.linspace(0.1 / VOXEL_M, 7 / VOXEL_M, steps):
        grid = (2 * (camera + t * rays) / size - 1).flip(-1)[None, None]  # (1, 1, H, 2H, 3), z y x
        value = torch.nn.functional.grid_sample(tsdf[None, None], grid, padding_mode="border", align_corners=True)
        depth = torch.where((value[0, 0, 0] < 0) & torch.isinf(depth), t, depth)
    return depth


def bench_hits(volume: TsdfVolume, height: int, repeats: int) -> Row:
    tsdf = finish(volume)[0]
    camera_voxel = (EYE_M - volume.origin_m) / VOXEL_M
    field = torch.from_numpy(tsdf.astype(np.float32) / 127)
    ours, theirs = interleaved_medians(
        lambda: panorama_hits(tsdf, camera_voxel, height), lambda: torch_march(field, camera_voxel, height), repeats
    )
    return Row(f"panorama_hits {height}x{2 * height}", 1e3 * ours, "ms", "torch grid_sample, 100 steps", theirs / ours)


def fused(mesh: PackedMesh, bounds: np.ndarray) -> TsdfVolume:
    volume = empty_volume(*bounds, VOXEL_M, TRUNCATION, MARGIN, 30)
    for pose in poses(60):
        integrate(volume, render_frame(mesh, CAMERA, pose), CAMERA, pose)
    return volume


def measure(quick: bool) -> list[Row]:
    torch.set_num_threads(1)
    repeats = 3 if quick else 9
    room = synthetic_room(65, 30)
    mesh = pack_mesh(room)
    volume = fused(mesh, room.bounds)
    heights = (256,) if quick else (256, 512)
    rows = [bench_panorama(mesh, height, repeats) for height in heights]
    return rows + [bench_hits(volume, height, repeats) for height in heights]


def main() -> None:
    arguments = parse_arguments(__doc__)
    rows = measure(arguments.quick)
    print("one thread (embree builds its scene with its own); medians, in turns\n")
    print_table(rows)
    if arguments.json:
        write_json(rows, arguments.json)


if __name__ == "__main__":
    main()
