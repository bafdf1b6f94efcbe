"""Classes of a volume's voxels, and of points on its surfaces.

A point takes the mean of the logits' probabilities at the voxels around it that are not empty. It lies on a surface,
so void is no answer there: the best of the other classes is, and its confidence is its share of their probability.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn

from roomseg.geometry.kernels import kernel
from roomseg.labels import VOID
from roomseg.models.networks import as_network
from roomseg.models.student import Student
from roomseg.models.upsampled import upsampled_labels

REACH_VOXELS = 5.0  # a point farther from every seen voxel is left void
CHUNK = 200_000  # voxels whose logits are computed at once
EMPTY = 127


@dataclass(frozen=True)
class PointClasses:
    label: np.ndarray  # (N,) uint8, 0 = void: nothing was seen near
    confidence: np.ndarray | None  # (N,) float32 in 0..1; None where the network gives only classes


class Labeller:
    """A network's answer for one volume, asked for once and then read at any points."""

    def __init__(self, network: nn.Module, volume: np.ndarray, tsdf: np.ndarray) -> None:
        """``volume`` (4, X, Y, Z) float32 as ``data.rooms.network_input`` gives it; tsdf (X, Y, Z) int8."""
        self._network, self._tsdf = network, tsdf
        device = next(network.parameters()).device
        self._input = torch.from_numpy(volume)[None].to(device)
        with torch.inference_mode():
            if isinstance(network, Student):
                self._coarse: Tensor | None = network.room_coarse(self._input)
                labels = upsampled_labels(self._coarse, self._input, network.pixel_head)
            else:
                self._coarse = None
                labels = as_network(network).predict(self._input)
        self.voxels: np.ndarray = labels[0].cpu().numpy()  # (X, Y, Z) uint8

    def at(self, places: np.ndarray) -> PointClasses:  # (N, 3) voxel coordinates
        """Classes at points; a point that is not finite or far from all that was seen is void."""
        full = np.flatnonzero(self._tsdf.ravel() < EMPTY)
        label, confidence = np.zeros(len(places), np.uint8), np.zeros(len(places), np.float32)
        near = np.flatnonzero(np.isfinite(places).all(axis=1))
        if not len(full) or not len(near):
            return PointClasses(label, confidence if self._coarse is not None else None)
        places, on_surface = self._moved_to_seen(places[near], full)
        near = near[on_surface]
        corners = _corner_voxels(places[on_surface], self._tsdf)  # (n, 8) flat, -1 = empty
        weights = _corner_weights(places[on_surface], corners)
        used, rows = np.unique(corners[corners >= 0], return_inverse=True)
        index = np.full(corners.shape, -1, np.int64)
        index[corners >= 0] = rows
        label[near], confidence[near] = _best(self._probabilities(used), index, weights)
        return PointClasses(label, confidence if self._coarse is not None else None)

    def _moved_to_seen(self, places: np.ndarray, full: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points with no seen voxel around them go to the nearest one; (n, 3) and which have one within reach."""
        lost: np.ndarray = np.all(_corner_voxels(places, self._tsdf) < 0, axis=1)
        if not lost.any():
            return places, ~lost
        seen = np.stack(np.unravel_index(full, self._tsdf.shape), axis=1)
        distance, nearest = cKDTree(seen).query(places[lost], distance_upper_bound=REACH_VOXELS, workers=-1)
        found = np.isfinite(distance)
        moved, kept = places.copy(), ~lost
        rows = np.flatnonzero(lost)[found]
        moved[rows], kept[rows] = seen[nearest[found]], True
        return moved, kept

    def _probabilities(self, voxels: np.ndarray) -> np.ndarray:  # (n,) flat -> (n, K) float32, void left out
        if self._coarse is None:
            return np.eye(256, dtype=np.float32)[self.voxels.ravel()[voxels]]
        assert isinstance(self._network, Student)
        parts = []
        with torch.inference_mode():
            for start in range(0, len(voxels), CHUNK):
                index = torch.from_numpy(voxels[start : start + CHUNK]).to(self._input.device)
                logits = self._network.logits_at(self._coarse, self._input, index)
                logits[:, VOID] = -torch.inf
                parts.append(logits.softmax(dim=1).cpu().numpy())
        return np.concatenate(parts)


def _corner_voxels(places: np.ndarray, tsdf: np.ndarray) -> np.ndarray:  # (N, 3) -> (N, 8) int64 flat, -1 = empty
    low = np.floor(np.clip(places, -2, np.array(tsdf.shape) + 1)).astype(np.int64)
    corner = low[:, None] + np.array(list(np.ndindex(2, 2, 2)))  # (N, 8, 3)
    inside = ((corner >= 0) & (corner < tsdf.shape)).all(axis=2)
    flat = np.ravel_multi_index(tuple(np.moveaxis(corner, -1, 0)), tsdf.shape, mode="clip")
    return np.where(inside & (tsdf.ravel()[flat] < EMPTY), flat, -1)


def _corner_weights(places: np.ndarray, corners: np.ndarray) -> np.ndarray:  # (N, 8) float32, of the full ones, sum 1
    part = (places - np.floor(places))[:, None]  # (N, 1, 3)
    far = np.array(list(np.ndindex(2, 2, 2)))
    weight = np.where(far == 1, part, 1 - part).prod(axis=2) + 1e-4  # so that one at a distance of 1 still counts
    weight = np.where(corners >= 0, weight, 0)
    return (weight / weight.sum(axis=1, keepdims=True)).astype(np.float32)


@kernel
def _best(
    probability: np.ndarray,  # (U, K) float32
    index: np.ndarray,  # (N, 8) int64, rows of probability or -1
    weight: np.ndarray,  # (N, 8) float32
) -> tuple[np.ndarray, np.ndarray]:  # (N,) uint8, (N,) float32
    n, classes = len(index), probability.shape[1]
    label, share = np.zeros(n, np.uint8), np.zeros(n, np.float32)
    total = np.empty(classes, np.float32)
    for i in range(n):
        total[:] = 0
        for k in range(8):
            if index[i, k] >= 0:
                for c in range(classes):
                    total[c] += weight[i, k] * probability[index[i, k], c]
        best = 0
        for c in range(1, classes):
            if total[c] > total[best]:
                best = c
        label[i], share[i] = best, total[best]
    return label, share
