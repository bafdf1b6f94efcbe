"""Where cameras may stand in a scan of which nothing is known but its surface, and where they look.

A place is good that stands over something, has room around it, and sees the scan all around: inside a room most rays
meet a surface, on its roof and outside its walls most do not.
"""

from __future__ import annotations

import math

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh as EmbreeMesh
from scipy.spatial import cKDTree

from roomseg.geometry.cameras import look_at
from roomseg.geometry.equirect import directions
from roomseg.geometry.raster import PackedMesh
from roomseg.scenes.user_scan.samples import Samples
from roomseg.scenes.viewpoints import GOLDEN, LOOK_AHEAD_M, N_CANDIDATES, PITCH_DEG, spread_points

HEIGHT_M = (1.0, 1.8)  # above what it stands over; as people hold a phone, and lower where they sit
CLEARANCE_M = 0.25
FACES_UP = math.cos(math.radians(25.0))
TRIED = 4000
RAYS_HEIGHT = 8  # rows of the little panorama of rays that each place is judged by
ENCLOSED = 0.55  # share of rays that meet something; on a roof it is half at most
ALMOST_AS_GOOD = 0.8  # of the best share, where no place is enclosed: a scan without a ceiling
OUTSIDE = 0.35  # the best share is less: a thing and not a room
TYPICAL_M = 0.5  # the median ray is longer, or the place is the inside of a cupboard
FEWEST_PLACES = 8
AROUND = 48  # places around a scan that cannot be stood in


def standing_places(mesh: PackedMesh, samples: Samples, rng: np.random.Generator) -> np.ndarray:  # (n, 3) metres
    """Free places inside, in no order; none where the scan is of a thing and not of a room."""
    ground = samples.points[np.abs(samples.normals[:, 2]) > FACES_UP]
    if not len(ground):
        return np.zeros((0, 3))
    places = ground[rng.integers(len(ground), size=TRIED)] + [0, 0, 1] * rng.uniform(*HEIGHT_M, (TRIED, 1))
    places = places[cKDTree(samples.points).query(places, distance_upper_bound=CLEARANCE_M)[0] > CLEARANCE_M]
    if not len(places):
        return places
    length, weight = _looks(mesh, places)  # (P, R), (R,)
    met = (np.isfinite(length) * weight).sum(axis=1) / weight.sum()
    roomy = np.median(length, axis=1) > TYPICAL_M  # a ray that meets nothing is infinitely long
    if not roomy.any():
        return places[:0]
    best = float(met[roomy].max())
    good = places[roomy & (met >= min(ENCLOSED, ALMOST_AS_GOOD * best))]
    return good if len(good) >= FEWEST_PLACES and best > OUTSIDE else good[:0]


def around_poses(bounds: np.ndarray) -> np.ndarray:  # (2, 3) metres -> (n, 4, 4)
    """From a ring around a thing, from half its height to above it."""
    middle, half = bounds.mean(axis=0), (bounds[1] - bounds[0]) / 2
    angle = 2 * math.pi * GOLDEN * np.arange(AROUND)
    radius = float(np.linalg.norm(half)) + 0.4
    lift = np.linspace(0, math.radians(60), AROUND)
    ring = np.stack([np.cos(lift) * np.cos(angle), np.cos(lift) * np.sin(angle), np.sin(lift)], axis=1)
    return np.stack([look_at(eye, middle) for eye in middle + radius * ring])


def inside_poses(
    mesh: PackedMesh, places: np.ndarray, n: int, rng: np.random.Generator
) -> np.ndarray:  # (P, 3) -> (n, 4, 4)
    """Poses at places far from one another that look in all directions and at all pitches, as those of training do."""
    eyes = spread_points(places[rng.integers(len(places), size=n * N_CANDIDATES)], n)
    first_yaw, first_pitch = rng.random(2)
    k = np.arange(n)
    yaw = 2 * math.pi * ((first_yaw + k * GOLDEN) % 1)
    level = np.stack([np.cos(yaw), np.sin(yaw), np.zeros(n)], axis=1)
    near_wall = _lengths(mesh, eyes, level) < LOOK_AHEAD_M
    level[near_wall] *= -1
    pitch = np.radians(PITCH_DEG[0] + (first_pitch + k * GOLDEN**2 * math.sqrt(2)) % 1 * (PITCH_DEG[1] - PITCH_DEG[0]))
    forward = np.cos(pitch)[:, None] * level + np.sin(pitch)[:, None] * [0, 0, 1]
    return np.stack([look_at(eye, eye + ahead) for eye, ahead in zip(eyes, forward, strict=True)])


def _looks(mesh: PackedMesh, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # (P, R), (R,)
    """The way to what each of the rays of each place meets, and the solid angle that each stands for."""
    rays = directions(RAYS_HEIGHT).reshape(-1, 3)
    weight = np.sqrt(1 - rays[:, 2] ** 2)
    every = np.repeat(places, len(rays), axis=0)
    return _lengths(mesh, every, np.tile(rays, (len(places), 1))).reshape(len(places), -1), weight


def _lengths(mesh: PackedMesh, start: np.ndarray, direction: np.ndarray) -> np.ndarray:  # (N, 3), (N, 3) -> (N,)
    scene = rtcore_scene.EmbreeScene(robust=True)
    EmbreeMesh(scene, mesh.vertices, mesh.faces)
    hit = scene.run(np.ascontiguousarray(start, np.float32), np.ascontiguousarray(direction, np.float32), output=1)
    return np.where(hit["primID"] >= 0, hit["tfar"], np.inf)
