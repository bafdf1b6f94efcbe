"""Which voxel does each pixel of a panorama see? Ray casting through a trilinear TSDF (the paper, section 3.3).

What is seen depends on the geometry alone, not on what is projected: the map is made once a room and viewpoint, and
serves any number of classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from roomseg.errors import UserError
from roomseg.geometry.equirect import directions
from roomseg.geometry.raycast import RayTiles, cast, tile_rays
from roomseg.geometry.trilinear import Vector
from roomseg.geometry.tsdf import STEPS

BEFORE_VOXELS = 1.5  # inside any truncation band, where free space was observed to be near a surface
MOST_FROM_BEHIND = 0.5  # of the surfaces seen; generated rooms have 0.1 at most, inside furniture it is above 0.9
Caster = Callable[[np.ndarray, Vector, RayTiles], tuple[np.ndarray, np.ndarray]]  # as ``cast_on_cpu``
_ADVICE = "render the panorama again from free space, or leave it out"


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


def cast_on_cpu(tsdf: np.ndarray, camera: Vector, tiles: RayTiles) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) int32 voxels and float32 distances by the kernels; ``raycast_torch.caster_on`` is for other devices."""
    return cast(tsdf, _empty(tsdf), camera, tiles)


def panorama_hits(
    tsdf: np.ndarray,  # (X, Y, Z) int8 in steps of 1/127, or float32 in [-1, 1]; 127 or 1 = empty or unseen
    camera_voxel: np.ndarray,  # (3,) in voxels: (camera_m - origin_m) / voxel_m
    height: int,
    caster: Caster = cast_on_cpu,
) -> HitMap:
    """The map from the pixels of a panorama to the voxels of the first surface, + to -, that they see.

    The voxel is the nearest one to the crossing that is inside the truncation band, so that it has a label and a
    colour. Raises ``UserError`` for a volume that is no TSDF. A camera anywhere will do: see ``check_camera``.
    """
    return ray_hits(tsdf, camera_voxel, _panorama_rays(height), caster)


def ray_hits(tsdf: np.ndarray, camera_voxel: np.ndarray, tiles: RayTiles, caster: Caster = cast_on_cpu) -> HitMap:
    """``panorama_hits`` for any rays."""
    _check_tsdf(tsdf)
    return HitMap(*caster(tsdf, _vector(camera_voxel), tiles))


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
    value = _value_at(tsdf, camera)
    if value < 0:
        raise UserError(f"{at} lies behind a surface: the TSDF is {value:.2f} there, expected 0 or more; {_ADVICE}")
    share = _seen_from_behind(tsdf, camera_voxel)
    if share > MOST_FROM_BEHIND:
        expected = f"expected {MOST_FROM_BEHIND:.0%} at most"
        raise UserError(f"{at} lies inside something: {share:.0%} of its rays meet a back side, {expected}; {_ADVICE}")


def _value_at(tsdf: np.ndarray, camera: Vector) -> float:
    """The TSDF, from -1 to 1."""
    low = [min(int(c), n - 2) for c, n in zip(camera, tsdf.shape, strict=True)]
    corners = tsdf[low[0] : low[0] + 2, low[1] : low[1] + 2, low[2] : low[2] + 2].astype(np.float64)
    for c, first in zip(camera, low, strict=True):
        corners = corners[0] + (c - first) * (corners[1] - corners[0])
    return float(corners) / _empty(tsdf)


def _seen_from_behind(tsdf: np.ndarray, camera_voxel: np.ndarray) -> float:
    """The share of the surfaces seen that have unseen space right before them."""
    hits = panorama_hits(tsdf, camera_voxel, 32)
    far_enough = hits.depth_voxels > BEFORE_VOXELS
    before = hits.positions(camera_voxel) - BEFORE_VOXELS * directions(32)
    i, j, k = np.rint(before[far_enough]).astype(int).T
    return float((tsdf[i, j, k] >= _empty(tsdf)).mean()) if far_enough.any() else 0.0


def _empty(tsdf: np.ndarray) -> float:
    """The value that means empty or unseen."""
    return float(STEPS) if tsdf.dtype == np.int8 else 1.0


def _vector(camera_voxel: np.ndarray) -> Vector:
    x, y, z = (float(c) for c in camera_voxel)
    if not np.isfinite([x, y, z]).all():
        raise UserError(f"got a camera at voxel ({x}, {y}, {z}); expected finite numbers")
    return x, y, z


def _check_tsdf(tsdf: np.ndarray) -> None:
    if tsdf.ndim != 3 or min(tsdf.shape) < 2 or tsdf.dtype not in (np.int8, np.float32, np.float64):
        got = f"{tsdf.dtype} of shape {tsdf.shape}"
        raise UserError(f"got a TSDF of {got}; expected (X, Y, Z) int8 or float32, 2 voxels or more along each axis")


@lru_cache(maxsize=4)  # 7 MB for 512 x 1024
def _panorama_rays(height: int) -> RayTiles:
    return tile_rays(directions(height))
