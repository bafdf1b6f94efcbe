"""The six faces of a cube around the camera, 90 degrees each, and the panorama stitched of them (paper, section 4).

The paper projects onto the faces first (``distill.hits=cube``). One cast of the panorama's own rays is exact and the
default.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from roomseg.errors import UserError
from roomseg.geometry.cameras import Pinhole, look_at
from roomseg.geometry.equirect import directions
from roomseg.geometry.projection import Caster, HitMap, cast_on_cpu, ray_hits
from roomseg.geometry.raycast import RayTiles, tile_rays

FACES = {  # what each looks at
    "+x": (1.0, 0.0, 0.0),
    "-x": (-1.0, 0.0, 0.0),
    "+y": (0.0, 1.0, 0.0),
    "-y": (0.0, -1.0, 0.0),
    "+z": (0.0, 0.0, 1.0),
    "-z": (0.0, 0.0, -1.0),
}


def face_pose(face: str) -> np.ndarray:  # (3, 3): right, down and forward as columns
    """How a face lies in the world; upright, +Y of the world is up in the faces +z and -z."""
    if face not in FACES:
        raise UserError(f"got the cube face {face!r}; expected one of {', '.join(FACES)}")
    return look_at(np.zeros(3), np.array(FACES[face]))[:3, :3]


def face_directions(face: str, size: int) -> np.ndarray:  # (size, size, 3) float32
    """Unit vectors through the pixel centres of a face."""
    rays = Pinhole.from_fov(size, size, 90.0).rays() @ face_pose(face).T
    return (rays / np.linalg.norm(rays, axis=-1, keepdims=True)).astype(np.float32)


def cube_face_hits(
    tsdf: np.ndarray, camera_voxel: np.ndarray, face: str, size: int, caster: Caster = cast_on_cpu
) -> HitMap:  # size x size
    """What the pixels of a face see, as ``panorama_hits``; ``positions`` needs ``face_directions``."""
    return ray_hits(tsdf, camera_voxel, _face_rays(face, size), caster)


def panorama_faces(height: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The face (H, 2H) int64, in the order of FACES, of each pixel of a panorama; (row, col) on it, pixel centres at
    integers, from -0.5 to size - 0.5."""
    rays = directions(height).astype(np.float64)
    forward = np.stack([rays @ np.array(axis) for axis in FACES.values()])  # (6, H, 2H)
    face = forward.argmax(axis=0)
    right, down, ahead = np.einsum("hwi,hwij->jhw", rays, np.stack([face_pose(name) for name in FACES])[face])
    row, col = (size / 2 * (1 + side / ahead) - 0.5 for side in (down, right))
    return face, row, col


def stitched_hits(
    tsdf: np.ndarray, camera_voxel: np.ndarray, height: int, size: int, caster: Caster = cast_on_cpu
) -> HitMap:
    """The paper's way to a panorama: each pixel takes what the nearest pixel of its face sees.

    The distance is that of the face's pixel, whose ray differs by half a pixel at most.
    """
    faces = [cube_face_hits(tsdf, camera_voxel, face, size, caster) for face in FACES]
    face, row, col = panorama_faces(height, size)
    at = face, *(np.clip(np.rint(side), 0, size - 1).astype(np.int64) for side in (row, col))
    return HitMap(np.stack([hits.voxel for hits in faces])[at], np.stack([hits.depth_voxels for hits in faces])[at])


@lru_cache(maxsize=12)
def _face_rays(face: str, size: int) -> RayTiles:
    return tile_rays(face_directions(face, size))
