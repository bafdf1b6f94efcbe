"""How much of a room's surface its frames have seen, and where to aim for the rest.

Points are drawn over the surface, and rays tell which of them free positions could see at all: the inside of a wardrobe
is no one's loss. A frame has seen a point where its depth agrees with the point's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh as EmbreeMesh

from roomseg.geometry.cameras import Lens, Pinhole, look_at
from roomseg.geometry.kernels import kernel
from roomseg.geometry.mesh import face_areas
from roomseg.geometry.raster import NEAR_M, PackedMesh

SAMPLES = 2000  # points on the whole surface, hidden or not
PROBES = 64  # free positions that say which of them could be seen
AIM_EVERY = 4  # each fourth frame is aimed at what is unseen; the others look all around
AGREES_M = 0.04
PROBES_TRIED, AXES_TRIED = 4, 32  # of an aimed frame: the positions that see most, and directions from each
STEEPEST = math.sin(math.radians(60.0))


@dataclass
class Coverage:
    """What the frames of a room have seen so far.

    Even points serve to choose poses and odd ones to measure, so that the measure is not of what was aimed at.
    """

    points: np.ndarray  # (N, 3) float64 metres, each seen from at least one probe
    probes: np.ndarray  # (P, 3) float64 metres, free positions at camera height
    visible: np.ndarray  # (P, N) bool: nothing stands between a probe and a point
    seen: np.ndarray = field(init=False)  # (N,) bool
    given_up: np.ndarray = field(init=False)  # (N,) bool: aimed at in vain (what is thinner than a pixel)
    _aimed_from: int | None = field(init=False, default=None)  # the probe of the last pose

    def __post_init__(self) -> None:
        self.seen = np.zeros(len(self.points), bool)
        self.given_up = np.zeros(len(self.points), bool)

    @property
    def surface_seen(self) -> float:
        """The share seen by any frame, by area, of the surface that at least one of the probes could see.

        1 for a room of which the probes see nothing.
        """
        measured = self.seen[1::2]
        return float(measured.mean()) if len(measured) else 1.0

    def choose(self, k: int, pose: np.ndarray, camera: Pinhole) -> np.ndarray:  # (4, 4) -> (4, 4)
        """The pose of frame ``k``: the one given, or, each ``AIM_EVERY`` frames, one that sees what none has seen."""
        self._aimed_from = None
        if k % AIM_EVERY != AIM_EVERY - 1:
            return pose
        return self._aimed(camera, otherwise=pose)

    def mark(self, depth: np.ndarray, camera: Pinhole, pose: np.ndarray) -> None:
        """Note what the frame of the pose last chosen has seen; depth (H, W) in metres, 0 = none."""
        shown = np.zeros(len(self.points), bool)
        _mark(self.points, np.ascontiguousarray(pose), camera.lens, depth, self.seen, shown)
        if self._aimed_from is not None:
            self.given_up |= shown & ~self.seen & self.visible[self._aimed_from]

    def _aimed(self, camera: Pinhole, otherwise: np.ndarray) -> np.ndarray:
        wanted = np.flatnonzero(~(self.seen | self.given_up)[::2]) * 2
        points, visible = self.points[wanted], self.visible[:, wanted]
        within = math.cos(math.atan(0.5 * min(camera.width / camera.fx, camera.height / camera.fy)))
        best, pose = 0, otherwise
        for probe in np.argsort(-visible.sum(axis=1), kind="stable")[:PROBES_TRIED]:
            eye = self.probes[probe]
            toward = _unit(points[visible[probe]] - eye)  # (M, 3)
            axes = _not_too_steep(toward[:AXES_TRIED])
            count = (toward @ axes.T > within).sum(axis=0)
            if count.max(initial=0) > best:
                best, pose = int(count.max()), look_at(eye, eye + axes[count.argmax()])
                self._aimed_from = int(probe)
        return pose


def open_coverage(mesh: PackedMesh, probes: np.ndarray, rng: np.random.Generator) -> Coverage:
    """Nothing seen yet of the mesh; ``probes`` (P, 3) are free positions, spread over the room."""
    points = surface_points(mesh, SAMPLES, rng)
    visible = _visible(mesh, probes, points)
    facing = visible.any(axis=0)
    return Coverage(points[facing], probes, np.ascontiguousarray(visible[:, facing]))


def surface_points(mesh: PackedMesh, n: int, rng: np.random.Generator) -> np.ndarray:  # (n, 3) float64
    """Points on the mesh, as many on each square metre; one is drawn in each n-th of the area."""
    corner = mesh.vertices.astype(np.float64)[mesh.faces]  # (F, 3, 3)
    a, ab, ac = corner[:, 0], corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    area = face_areas(corner).cumsum()
    place = (np.arange(n) + rng.random(n)) * (area[-1] / n)
    face = np.minimum(np.searchsorted(area, place, side="right"), len(area) - 1)
    s, t = rng.random((2, n, 1))
    s, t = np.where(s + t > 1, 1 - s, s), np.where(s + t > 1, 1 - t, t)
    points = a[face] + s * ab[face] + t * ac[face]
    return points[rng.permutation(n)]


def _visible(mesh: PackedMesh, probes: np.ndarray, points: np.ndarray) -> np.ndarray:  # (P, 3), (N, 3) -> (P, N) bool
    scene = rtcore_scene.EmbreeScene(robust=True)
    EmbreeMesh(scene, mesh.vertices, mesh.faces)
    way = (points[None] - probes[:, None]).reshape(-1, 3)
    length = np.linalg.norm(way, axis=1)
    start = np.repeat(probes, len(points), axis=0).astype(np.float32)
    ray = (way / np.maximum(length, 1e-9)[:, None]).astype(np.float32)
    reach = np.maximum(length - AGREES_M / 4, 0).astype(np.float32)  # not as far as the point's own face
    return (scene.run(start, ray, dists=reach, query="OCCLUDED") < 0).reshape(len(probes), len(points))


@kernel
def _mark(
    points: np.ndarray,  # (N, 3)
    pose: np.ndarray,  # (4, 4)
    lens: Lens,
    depth: np.ndarray,  # (H, W)
    seen: np.ndarray,  # (N,) bool, set where the depth agrees
    shown: np.ndarray,  # (N,) bool, set where an unseen point falls into the image
) -> None:
    fx, fy, cx, cy = lens
    height, width = depth.shape
    for i in range(len(points)):
        if seen[i]:
            continue
        x, y, z = points[i, 0] - pose[0, 3], points[i, 1] - pose[1, 3], points[i, 2] - pose[2, 3]
        ahead = pose[0, 2] * x + pose[1, 2] * y + pose[2, 2] * z
        if ahead <= NEAR_M:
            continue
        col = math.floor(fx * (pose[0, 0] * x + pose[1, 0] * y + pose[2, 0] * z) / ahead + cx)
        row = math.floor(fy * (pose[0, 1] * x + pose[1, 1] * y + pose[2, 1] * z) / ahead + cy)
        if col < 0 or col >= width or row < 0 or row >= height:
            continue
        shown[i] = True
        if abs(depth[row, col] - ahead) < AGREES_M:
            seen[i] = True


def _unit(vectors: np.ndarray) -> np.ndarray:  # (M, 3) -> (M, 3)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def _not_too_steep(directions: np.ndarray) -> np.ndarray:  # (M, 3) unit -> (M, 3) unit
    """Hand-held cameras look neither at their bearer's feet nor straight up."""
    z = directions[:, 2:].clip(-STEEPEST, STEEPEST)
    level = directions[:, :2] / np.maximum(np.linalg.norm(directions[:, :2], axis=1, keepdims=True), 1e-9)
    return np.concatenate([level * np.sqrt(1 - z * z), z], axis=1)
