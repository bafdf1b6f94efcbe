"""Which voxel does each pixel of a panorama see? Ray casting through a trilinear TSDF (the paper, section 3.3).

What is seen depends on the geometry alone, not on what is projected: the map is made once a room and viewpoint, and
serves any number of classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from roomseg.errors import UserError
from roomseg.geometry.equirect import directions
from roomseg.geometry.raycast import RayTiles, cast, tile_rays
from roomseg.geometry.trilinear import Vector
from roomseg.geometry.tsdf import STEPS


@dataclass(frozen=True)
class HitMap:
    """H x W pixels; of a panorama (W = 2H) unless it was made for other rays."""

    voxel: np.ndarray  # (H, W) int32, flat C-order index of the nearest voxel of the surface, -1 = none
    depth_voxels: np.ndarray  # (H, W) float32, distance from the camera to the surface, 0 = none

    @property
    def hit_rate(self) -> float:
        """The share of pixels that see a surface."""
        return float((self.voxel >= 0).mean())

    def positions(
        self,
        camera_voxel: np.ndarray,  # (3,) that the map was made for
        rays: np.ndarray | None = None,  # (H, W, 3) that it was made for; None = a panorama's
    ) -> np.ndarray:  # (H, W, 3) float32, voxels
        """The points seen, where the TSDF is 0; the camera itself where there is none."""
        rays = directions(len(self.voxel)) if rays is None else rays
        return rays * self.depth_voxels[..., None] + np.asarray(camera_voxel, np.float32)


def panorama_hits(
    tsdf: np.ndarray,  # (X, Y, Z) int8 in steps of 1/127, or floating in [-1, 1]; 127 or 1 = empty or unseen
    camera_voxel: np.ndarray,  # (3,) in voxels: (camera_m - origin_m) / voxel_m
    height: int,
) -> HitMap:
    """The map from the pixels of a panorama to the voxels of the first surface, + to -, that they see.

    The voxel is the nearest one to the crossing that is inside the truncation band, so that it has a label and a
    colour. Raises ``UserError`` for a volume that is no TSDF. A camera anywhere will do: see ``check_camera``.
    """
    return ray_hits(tsdf, camera_voxel, _panorama_rays(height))


def ray_hits(tsdf: np.ndarray, camera_voxel: np.ndarray, tiles: RayTiles) -> HitMap:
    """``panorama_hits`` for any rays."""
    _check_tsdf(tsdf)
    empty = float(STEPS) if tsdf.dtype == np.int8 else 1.0
    return HitMap(*cast(tsdf, empty, _vector(camera_voxel), tiles))


def check_camera(tsdf: np.ndarray, camera_voxel: np.ndarray) -> None:
    """Raises ``UserError`` for a camera from which the room cannot be seen: outside the volume, or inside furniture.

    Deep inside furniture the TSDF is unseen, as free space is; but surfaces are seen from behind there, where the
    truncation band begins without a passage from + to 0.
    """
    _check_tsdf(tsdf)
    camera = _vector(camera_voxel)
    at = f"the camera at voxel ({', '.join(f'{c:.1f}' for c in camera)})"
    if not all(0 <= c <= n - 1 for c, n in zip(camera, tsdf.shape, strict=True)):
        size = " x ".join(str(n) for n in tsdf.shape)
        raise UserError(f"{at} lies outside the volume of {size} voxels; check the panorama's camera_m")


def _vector(camera_voxel: np.ndarray) -> Vector:
    x, y, z = (float(c) for c in camera_voxel)
    if not np.isfinite([x, y, z]).all():
        raise UserError(f"got a camera at voxel ({x}, {y}, {z}); expected finite numbers")
    return x, y, z


def _check_tsdf(tsdf: np.ndarray) -> None:
    if tsdf.ndim != 3 or min(tsdf.shape) < 2 or not (tsdf.dtype == np.int8 or np.issubdtype(tsdf.dtype, np.floating)):
        got = f"{tsdf.dtype} of shape {tsdf.shape}"
        raise UserError(f"got a TSDF of {got}; expected (X, Y, Z) int8 or float32, 2 voxels or more along each axis")


@lru_cache(maxsize=4)  # 7 MB for 512 x 1024
def _panorama_rays(height: int) -> RayTiles:
    return tile_rays(directions(height))
