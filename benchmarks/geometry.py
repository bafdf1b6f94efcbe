"""Times the renderers, the fusion and the projection, each beside a named peer in the same run, on one thread.

python benchmarks/geometry.py [--quick] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch are imported

import numpy as np
import torch
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh as EmbreeMesh

from roomseg.geometry.cameras import Pinhole, look_at
from roomseg.geometry.equirect import directions
from roomseg.geometry.mesh import TriangleMesh, join_meshes, plain_mesh
from roomseg.geometry.panorama import render_panorama
from roomseg.geometry.projection import panorama_hits
from roomseg.geometry.raster import Frame, PackedMesh, pack_mesh, render_frame
from roomseg.geometry.tsdf import TsdfVolume, empty_volume, finish, integrate

VOXEL_M, TRUNCATION, MARGIN = 0.04, 5, 5
CAMERA = Pinhole.from_fov(320, 240, 75)
EYE_M = np.array([2.9, 2.4, 1.5])


@dataclass(frozen=True)
class Row:
    name: str
    value: float
    unit: str
    peer: str
    ratio: float  # peer's time / ours


def tessellated_box(low: list[float], high: list[float], cells: int, label: int) -> TriangleMesh:
    """A box of 12 x cells x cells triangles, with a texture."""
    line = np.linspace(0, 1, cells + 1)
    a, b = np.meshgrid(line, line, indexing="ij")
    at = np.arange(a.size).reshape(a.shape)
    p, q, r, s = at[:-1, :-1].ravel(), at[1:, :-1].ravel(), at[1:, 1:].ravel(), at[:-1, 1:].ravel()
    side = np.concatenate([np.stack([p, q, r], 1), np.stack([p, r, s], 1)])
    vertices, faces = [], []
    for n, (axis, end) in enumerate((axis, end) for axis in range(3) for end in (0.0, 1.0)):
        corner = np.insert(np.stack([a.ravel(), b.ravel()], 1), axis, end, axis=1)
        vertices.append(np.array(low) + corner * (np.array(high) - np.array(low)))
        faces.append(side + n * a.size)
    mesh = plain_mesh(np.concatenate(vertices), np.concatenate(faces), label, (180, 170, 160))
    uv = np.tile(np.stack([a.ravel(), b.ravel()], 1), (6, 1))[mesh.faces] * 3
    texture = np.random.default_rng(label).integers(90, 240, (256, 256, 3), np.uint8)
    return replace(mesh, uv=uv.astype(np.float32), face_texture=np.zeros(len(mesh), np.int32), textures=(texture,))


def synthetic_room() -> TriangleMesh:
    """6 x 5 x 2.6 m and five pieces of furniture: 104,400 triangles."""
    furniture = [
        ([0.3, 0.3, 0.0], [2.3, 2.0, 0.5], 13),
        ([4.0, 3.5, 0.0], [5.8, 4.8, 1.9], 2),
        ([1.2, 3.6, 0.70], [2.6, 4.4, 0.75], 3),
        ([4.8, 0.2, 0.0], [5.8, 1.2, 0.9], 7),
        ([2.6, 2.0, 2.3], [3.0, 2.4, 2.6], 6),
    ]
    parts = [tessellated_box(low, high, 30, label) for low, high, label in furniture]
    return join_meshes([tessellated_box([0, 0, 0], [6, 5, 2.6], 65, 17), *parts])


def median_s(work: Callable[[], object], repeats: int) -> float:
    work()  # compile, touch memory
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def poses(n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    eyes = EYE_M + rng.uniform(-0.4, 0.4, (n, 3))
    return [look_at(eye, eye + rng.normal(size=3) * [1, 1, 0.4]) for eye in eyes]


def per_item(work: Callable[[int], object], n: int) -> Callable[[], None]:
    def run() -> None:
        for i in range(n):
            work(i)

    return run


def embree_scene(mesh: PackedMesh) -> rtcore_scene.EmbreeScene:
    scene = rtcore_scene.EmbreeScene()
    EmbreeMesh(scene, mesh.vertices, mesh.faces)
    return scene


def bench_frame(mesh: PackedMesh, repeats: int) -> Row:
    """The peer finds face and depth only; its scene is built beforehand."""
    views, scene = poses(8), embree_scene(mesh)

    def peer(i: int) -> object:
        rays = (CAMERA.rays().reshape(-1, 3) @ views[i][:3, :3].T).astype(np.float32)
        eye = np.tile(views[i][:3, 3].astype(np.float32), (len(rays), 1))
        return scene.run(eye, rays, output=1)

    ours = median_s(per_item(lambda i: render_frame(mesh, CAMERA, views[i]), 8), repeats) / 8
    theirs = median_s(per_item(peer, 8), repeats) / 8
    return Row("render_frame 320x240", 1e3 * ours, "ms", "embree primary rays, no colour", theirs / ours)


def numpy_integrate(volume: TsdfVolume, frame: Frame, camera: Pinhole, pose: np.ndarray) -> None:
    """Fusion over the whole volume with array operations, as common code without a GPU has it."""
    index = np.stack(np.indices(volume.distance.shape), axis=-1).reshape(-1, 3)
    to_camera = np.linalg.inv(pose)
    x, y, z = ((volume.origin_m + volume.voxel_m * index) @ to_camera[:3, :3].T + to_camera[:3, 3]).T
    ahead = np.nonzero(z > 0)[0]
    col = np.floor(camera.fx * x[ahead] / z[ahead] + camera.cx).astype(int)
    row = np.floor(camera.fy * y[ahead] / z[ahead] + camera.cy).astype(int)
    inside = (col >= 0) & (col < camera.width) & (row >= 0) & (row < camera.height)
    voxel, row, col = ahead[inside], row[inside], col[inside]
    distance = (frame.depth[row, col] - z[voxel]) / volume.truncation_m
    seen = (frame.depth[row, col] > 0) & (distance >= -1)
    volume.distance.reshape(-1)[voxel[seen]] += np.minimum(distance[seen], 1).astype(np.float32)
    volume.weight.reshape(-1)[voxel[seen]] += 1
    near = seen & (np.abs(distance) < 1)
    volume.color.reshape(-1, 3)[voxel[near]] += frame.rgb[row, col][near]
    volume.votes.reshape(len(volume.votes), -1)[frame.label[row, col][near], voxel[near]] += 1


def bench_integrate(mesh: PackedMesh, volume: TsdfVolume, repeats: int) -> Row:
    views = poses(8)
    frames = [render_frame(mesh, CAMERA, pose) for pose in views]
    ours = median_s(per_item(lambda i: integrate(volume, frames[i], CAMERA, views[i]), 8), repeats) / 8
    theirs = median_s(per_item(lambda i: numpy_integrate(volume, frames[i], CAMERA, views[i]), 2), 3) / 2
    shape = "x".join(map(str, volume.distance.shape))
    return Row(f"integrate 320x240 into {shape}", 1e3 * ours, "ms", "numpy, whole volume", theirs / ours)


def bench_panorama(mesh: PackedMesh, height: int, repeats: int) -> Row:
    """The peer builds its scene as we do and finds face and depth only: the share of light and colour is the rest."""

    def peer() -> object:
        rays = directions(height).reshape(-1, 3)
        return embree_scene(mesh).run(np.tile(EYE_M.astype(np.float32), (len(rays), 1)), rays, output=1)

    ours = median_s(lambda: render_panorama(mesh, EYE_M, height, seed=0), repeats)
    name = f"render_panorama {height}x{2 * height}"
    return Row(name, 1e3 * ours, "ms", "embree primary rays, no light", median_s(peer, repeats) / ours)


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
    ours = median_s(lambda: panorama_hits(tsdf, camera_voxel, height), repeats)
    theirs = median_s(lambda: torch_march(field, camera_voxel, height), 3)
    return Row(f"panorama_hits {height}x{2 * height}", 1e3 * ours, "ms", "torch grid_sample, 100 steps", theirs / ours)


def measure(quick: bool) -> list[Row]:
    torch.set_num_threads(1)
    repeats = 5 if quick else 15
    room = synthetic_room()
    mesh, volume = pack_mesh(room), empty_volume(*room.bounds, VOXEL_M, TRUNCATION, MARGIN, 30)
    rows = [bench_frame(mesh, repeats)]
    for pose in poses(60):
        integrate(volume, render_frame(mesh, CAMERA, pose), CAMERA, pose)
    rows.append(bench_integrate(mesh, volume, repeats))
    heights = (256,) if quick else (256, 512)
    rows += [bench_panorama(mesh, height, repeats) for height in heights]
    rows += [bench_hits(volume, height, repeats) for height in heights]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, small panoramas only: within a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows as JSON")
    arguments = parser.parse_args()
    rows = measure(arguments.quick)
    print("one thread (embree builds its scene with its own); medians; ratio = time of the peer / ours\n")
    print(f"{'':40}{'ours':>12}  {'ratio':>7}  peer")
    for row in rows:
        print(f"{row.name:40}{row.value:9.2f} {row.unit}  {row.ratio:6.1f}x  {row.peer}")
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
