"""The peers of rooms.py: Open3D's ray casting and fusion, and fusion in plain numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from synthetic import poses, synthetic_room

from roomseg.geometry.cameras import Pinhole
from roomseg.geometry.mesh import TriangleMesh
from roomseg.geometry.raster import Frame, pack_mesh, render_frame
from roomseg.geometry.tsdf import TsdfVolume

VOXEL_M, TRUNCATION = 0.04, 5
BLOCK = 16  # voxels on a side of Open3D's blocks


class Views(NamedTuple):
    """A mesh, a camera, and frames of it."""

    mesh: TriangleMesh
    camera: Pinhole
    poses: list[np.ndarray]  # each (4, 4), camera to world
    frames: list[Frame]


def synthetic_views(n: int, width: int, cells: tuple[int, int]) -> Views:
    mesh, camera, places = synthetic_room(*cells), Pinhole.from_fov(width, 3 * width // 4, 75), poses(n)
    packed = pack_mesh(mesh)
    return Views(mesh, camera, places, [render_frame(packed, camera, pose) for pose in places])


def open3d() -> Any:
    """The module, or None."""
    try:
        import open3d as module
    except ImportError:
        return None
    return module


def open3d_renderer(o3d: Any, mesh: TriangleMesh, camera: Pinhole) -> Callable[[np.ndarray, bool], Frame]:
    """Depth, labels and, if asked for, colours (the nearest texel, lit by the face) by rays through Open3D's scene.

    The rays of the camera and all that does not depend on the pose are made beforehand.
    """
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor(mesh.vertices), o3d.core.Tensor(mesh.faces.astype(np.uint32)))
    packed = pack_mesh(mesh)
    shade = np.empty(len(mesh), np.float32)
    shade[packed.order] = packed.surfaces["shade"]
    textures = np.stack(mesh.textures)
    rays = camera.rays().astype(np.float32)
    both = np.empty((*rays.shape[:2], 6), np.float32)

    def render(pose: np.ndarray, with_colour: bool) -> Frame:
        both[..., :3], both[..., 3:] = pose[:3, 3], rays @ pose[:3, :3].T.astype(np.float32)
        hits = scene.cast_rays(o3d.core.Tensor.from_numpy(both))
        face, depth = hits["primitive_ids"].numpy().astype(np.int64), hits["t_hit"].numpy()
        label = mesh.face_label[face]
        rgb = np.zeros((*face.shape, 3), np.uint8)
        if with_colour:
            weight, corner = hits["primitive_uvs"].numpy(), mesh.uv[face]
            uv = corner[..., 0, :] + weight[..., :1] * (corner[..., 1, :] - corner[..., 0, :])
            uv += weight[..., 1:] * (corner[..., 2, :] - corner[..., 0, :])
            size = np.array([textures.shape[2], textures.shape[1]], np.float32)
            texel = ((uv - np.floor(uv)) * size).astype(np.int64).clip(max=(size - 1).astype(np.int64))
            texture = mesh.face_texture[face]
            row = textures.shape[1] - 1 - texel[..., 1]
            rgb = (textures[texture, row, texel[..., 0]] * shade[face][..., None]).astype(np.uint8)
        return Frame(rgb, depth, label)

    return render


class NumpyVolume:
    """Fusion over the whole volume with array operations, as common code without a GPU has it."""

    def __init__(self, volume: TsdfVolume) -> None:
        self.volume = volume
        self.distance, self.weight = np.zeros(volume.shape, np.float32), np.zeros(volume.shape, np.float32)
        self.color = np.zeros((*volume.shape, 3), np.float32)
        self.votes = np.zeros((len(volume.votes), *volume.shape), np.uint16)
        self.points = volume.origin_m + volume.voxel_m * np.stack(np.indices(volume.shape), axis=-1).reshape(-1, 3)

    def integrate(self, frame: Frame, camera: Pinhole, pose: np.ndarray) -> None:
        to_camera = np.linalg.inv(pose)
        x, y, z = (self.points @ to_camera[:3, :3].T + to_camera[:3, 3]).T
        ahead = np.nonzero(z > 0)[0]
        col = np.floor(camera.fx * x[ahead] / z[ahead] + camera.cx).astype(int)
        row = np.floor(camera.fy * y[ahead] / z[ahead] + camera.cy).astype(int)
        inside = (col >= 0) & (col < camera.width) & (row >= 0) & (row < camera.height)
        voxel, row, col = ahead[inside], row[inside], col[inside]
        distance = (frame.depth[row, col] - z[voxel]) / self.volume.truncation_m
        seen = (frame.depth[row, col] > 0) & (distance >= -1)
        self.distance.reshape(-1)[voxel[seen]] += np.minimum(distance[seen], 1).astype(np.float32)
        self.weight.reshape(-1)[voxel[seen]] += 1
        near = seen & (np.abs(distance) < 1)
        self.color.reshape(-1, 3)[voxel[near]] += frame.rgb[row, col][near]
        self.votes.reshape(len(self.votes), -1)[frame.label[row, col][near], voxel[near]] += 1


def open3d_fusion(o3d: Any, views: Views) -> Callable[[int], None]:
    """Adds frame i to a VoxelBlockGrid with colour, without labels; all is turned into tensors beforehand.

    It touches the blocks near surfaces only: free space, which we count, is not its work.
    """
    kinds = (o3d.core.float32,) * 3
    grid = o3d.t.geometry.VoxelBlockGrid(("tsdf", "weight", "color"), kinds, ((1), (1), (3)), VOXEL_M, BLOCK, 4000)
    lens = [[views.camera.fx, 0, views.camera.cx], [0, views.camera.fy, views.camera.cy], [0, 0, 1.0]]
    intrinsic = o3d.core.Tensor(np.array(lens))
    depth = [o3d.t.geometry.Image(o3d.core.Tensor(frame.depth)) for frame in views.frames]
    color = [o3d.t.geometry.Image(o3d.core.Tensor(frame.rgb.astype(np.float32))) for frame in views.frames]
    extrinsic = [o3d.core.Tensor(np.linalg.inv(pose)) for pose in views.poses]
    limits = (1.0, float(max(frame.depth.max() for frame in views.frames)) + 1, float(TRUNCATION))

    def add(i: int) -> None:
        blocks = grid.compute_unique_block_coordinates(depth[i], intrinsic, extrinsic[i], *limits)
        grid.integrate(blocks, depth[i], color[i], intrinsic, intrinsic, extrinsic[i], *limits)

    return add
