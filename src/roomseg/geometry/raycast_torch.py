"""The same hits as ``raycast.py``, with torch: all rays take a step at a time, on any device.

In float64 the numbers are those of the kernels, as both share the formulas of ``trilinear.py``; in float32 some rays
that graze an edge differ. Distillation casts with it where it trains on a GPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from roomseg.geometry.projection import Caster, cast_on_cpu
from roomseg.geometry.raycast import FAR, GENTLEST, NEWTON_STEPS, SAMPLES_PER_CELL, RayTiles
from roomseg.geometry.trilinear import Vector, along_ray, cell_polynomial, slope_at, value_at
from roomseg.geometry.tsdf import STEPS

MAX_LEAP = 16  # cells: each more costs a pass over the volume
_CORNERS = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
_ONE_AT_A_TIME = Lock()  # threads that cast would each take a device's memory for all their rays


def caster_on(device: torch.device) -> Caster:
    """The quickest way to the same hits: these rays on a GPU, the kernels on the CPU."""
    return cast_on_cpu if device.type == "cpu" else torch_caster(device)


def torch_caster(device: torch.device) -> Caster:
    """``cast_rays`` in float64, as a ``Caster``."""

    def cast(tsdf: np.ndarray, camera: Vector, tiles: RayTiles) -> tuple[np.ndarray, np.ndarray]:
        with _ONE_AT_A_TIME, torch.inference_mode():
            rays = torch.from_numpy(tiles.rays).to(device, torch.float64).flatten(0, 1)
            voxel, depth = cast_rays(torch.from_numpy(np.ascontiguousarray(tsdf)).to(device), camera, rays)
            shape = tiles.rays.shape[:2]
            return voxel.int().view(shape).cpu().numpy(), depth.float().view(shape).cpu().numpy()

    return cast


def cast_rays(
    tsdf: Tensor,  # (X, Y, Z) int8 in steps of 1/127, or floating in [-1, 1]; 127 or 1 = empty or unseen
    camera_voxel: tuple[float, float, float],
    rays: Tensor,  # (P, 3) unit vectors; their type is the precision of the search
) -> tuple[Tensor, Tensor]:  # (P,) int64, (P,)
    """The flat index of the voxel that each ray sees, -1 = none, and its distance in voxels, 0 = none."""
    volume = _Volume(tsdf, clearance(tsdf), rays.new_tensor(camera_voxel))
    voxel = torch.full((len(rays),), -1, device=rays.device)
    depth = rays.new_zeros(len(rays))
    active, state = _start(volume, rays)
    while len(active):
        leap = volume.cells[tuple(state.cell.T)].long()
        near = (leap == 0).nonzero()[:, 0]
        hit, leaves_free = _crossing(volume, state.take(near))
        state.was_free.fill_(True).index_copy_(0, near, leaves_free)
        found = near[hit >= 0]
        voxel[active[found]] = _nearest_observed(volume, state.take(found), hit[hit >= 0])
        depth[active[found]] = hit[hit >= 0]
        state.advance(volume, leap.clamp(min=1))
        going = _inside(state.cell, volume)
        going[found] = False
        active, state = active[going], state.take(going)
    return voxel, depth


def clearance(tsdf: Tensor) -> Tensor:  # (X, Y, Z) -> (X-1, Y-1, Z-1) uint8
    """As the kernel's, but at most MAX_LEAP: each dilation of the near cells reaches one cell further."""
    behind = (tsdf < 0)[None, None].float()
    near = F.max_pool3d(behind, 2, stride=1)
    cells = (near == 0).to(torch.uint8)
    for _ in range(MAX_LEAP - 1):
        near = F.max_pool3d(near, 3, stride=1, padding=1)
        cells += near == 0
    return cells[0, 0]


@dataclass(frozen=True)
class _Volume:
    tsdf: Tensor  # (X, Y, Z)
    cells: Tensor  # (X-1, Y-1, Z-1) uint8
    camera: Tensor  # (3,)

    @property
    def empty(self) -> float:
        return 1.0 if self.tsdf.is_floating_point() else float(STEPS)


@dataclass(frozen=True)
class _Rays:
    ray: Tensor  # (N, 3)
    inverse: Tensor  # (N, 3)
    cell: Tensor  # (N, 3) int64, where it is
    was_free: Tensor  # (N,) bool, in front of a surface

    def take(self, index: Tensor) -> _Rays:
        return _Rays(self.ray[index], self.inverse[index], self.cell[index], self.was_free[index])

    def advance(self, volume: _Volume, leap: Tensor) -> None:  # (N,)
        """To the first cell that is ``leap`` king's moves away."""
        ahead, leap = self.ray > 0, leap[:, None]
        end = torch.where(ahead, self.cell + leap, self.cell + 1 - leap)
        t = torch.where(self.ray == 0, FAR, (end - volume.camera) * self.inverse)
        first, axis = t.min(dim=1, keepdim=True)
        inside = torch.floor(volume.camera + first * self.ray).long()
        inside = torch.minimum(torch.maximum(inside, self.cell + 1 - leap), self.cell - 1 + leap)
        passed = torch.where(ahead, self.cell + leap, self.cell - leap)
        leaves = torch.arange(3, device=axis.device) == axis
        self.cell.copy_(torch.where(leaves, passed, inside))


def _start(volume: _Volume, rays: Tensor) -> tuple[Tensor, _Rays]:
    """The rays that meet the volume, in their first cells."""
    inverse = 1 / rays
    last = torch.tensor(volume.tsdf.shape, device=rays.device) - 1
    a, b = -volume.camera * inverse, (last - volume.camera) * inverse
    still = rays == 0
    within = ((volume.camera >= 0) & (volume.camera <= last)) | ~still
    enter = torch.where(still, 0.0, torch.minimum(a, b)).amax(1).clamp(min=0)
    leave = torch.where(still, FAR, torch.maximum(a, b)).amin(1)
    active = (within.all(1) & (leave >= enter)).nonzero()[:, 0]
    at = volume.camera + enter[active, None] * rays[active]  # (N, 3)
    cell = torch.minimum(torch.floor(at).long().clamp(min=0), last - 1)
    zero = torch.zeros_like(at).unbind(1)
    value = along_ray.py_func(_polynomial(volume, cell), (at - cell).unbind(1), zero)[0]
    return active, _Rays(rays[active], inverse[active], cell, value >= 0)


def _inside(cell: Tensor, volume: _Volume) -> Tensor:  # (N, 3) -> (N,) bool
    sizes = torch.tensor(volume.cells.shape, device=cell.device)
    return ((cell >= 0) & (cell < sizes)).all(1)


def _polynomial(volume: _Volume, cell: Tensor) -> tuple[Tensor, ...]:  # (N, 3)
    i, j, k = cell.unbind(1)
    values = [volume.tsdf[i + x, j + y, k + z].to(volume.camera.dtype) for x, y, z in _CORNERS]
    return cell_polynomial.py_func(*values)


def _crossing(volume: _Volume, near: _Rays) -> tuple[Tensor, Tensor]:  # (N,), (N,) bool
    """t of the first change from + to - in the cell, or -1; whether the ray leaves it in front of a surface."""
    a = (near.cell - volume.camera) * near.inverse
    b = (near.cell + 1 - volume.camera) * near.inverse
    still = near.ray == 0
    enter = torch.where(still, 0.0, torch.minimum(a, b)).amax(1).clamp(min=0)
    leave = torch.where(still, FAR, torch.maximum(a, b)).amin(1)
    span = leave - enter
    start = volume.camera + enter[:, None] * near.ray - near.cell
    c = along_ray.py_func(_polynomial(volume, near.cell), start.unbind(1), (span[:, None] * near.ray).unbind(1))
    hit, was_free = torch.full_like(enter, -1), near.was_free
    for n in range(SAMPLES_PER_CELL + 1):
        s = torch.full_like(enter, n / SAMPLES_PER_CELL)
        free = value_at.py_func(c, s) >= 0
        first = was_free & ~free & (hit < 0)
        root = _root(c, (s - 1 / SAMPLES_PER_CELL).clamp(min=0), s) if n else torch.zeros_like(s)
        hit = torch.where(first, enter + span * root, hit)
        was_free = free
    return hit, was_free


def _root(c: tuple[Tensor, ...], low: Tensor, high: Tensor) -> Tensor:
    at_low, at_high = value_at.py_func(c, low), value_at.py_func(c, high)
    chord = (at_high - at_low) / (high - low)
    s = low - at_low / chord
    for _ in range(NEWTON_STEPS):
        slope = torch.minimum(slope_at.py_func(c, s), GENTLEST * chord)
        s = torch.maximum(low, torch.minimum(high, s - value_at.py_func(c, s) / slope))
    return s


def _nearest_observed(volume: _Volume, seen: _Rays, t: Tensor) -> Tensor:  # (N,) int64
    """Flat index of the nearest corner of the cell within the truncation band."""
    corners = seen.cell[:, None] + torch.tensor(_CORNERS, device=t.device)  # (N, 8, 3)
    square = ((volume.camera + t[:, None] * seen.ray)[:, None] - corners).square().sum(2)
    i, j, k = corners.unbind(2)
    unseen = volume.tsdf[i, j, k] >= volume.empty
    best = square.masked_fill(unseen, FAR).argmin(1)
    flat = (i * volume.tsdf.shape[1] + j) * volume.tsdf.shape[2] + k
    return flat.gather(1, best[:, None])[:, 0]
