"""Where cameras may stand in a room, and where they look."""

from __future__ import annotations

import math

import numpy as np

from roomseg.errors import UserError
from roomseg.geometry.cameras import look_at
from roomseg.scenes.source import Scene

CLEARANCE_M = 0.2
WIDE_CLEARANCE_M = 0.6  # of a panorama, where the room has such a place: what is near hides the rest
N_CANDIDATES = 12  # of which the one farthest from the earlier cameras is taken
PITCH_DEG = (-40.0, 25.0)
LOOK_AHEAD_M = 1.0  # a camera nearer to the wall before it turns round
PANORAMA_HEIGHT_M = 1.6
GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples spread evenly over the unit interval


def free_points(
    room: Scene, n: int, height_range_m: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:  # (n, 3) metres
    """Uniform over the free space between two heights."""
    (x0, y0), (x1, y1) = room.floor_bounds
    found = np.empty((0, 3))
    for _ in range(200):
        points = rng.uniform((x0, y0, height_range_m[0]), (x1, y1, height_range_m[1]), (max(4 * n, 64), 3))
        found = np.concatenate([found, points[room.is_free(points, CLEARANCE_M)]])
        if len(found) >= n:
            return found[:n]
    raise UserError(f"room {room.id}: no free space for cameras at {height_range_m[0]:g}-{height_range_m[1]:g} m")


def spread_positions(
    room: Scene, n: int, height_range_m: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:  # (n, 3) metres
    """Free positions between two heights, far from one another."""
    return spread_points(free_points(room, n * N_CANDIDATES, height_range_m, rng), n)


def spread_points(points: np.ndarray, n: int) -> np.ndarray:  # (n * N_CANDIDATES, 3) -> (n, 3)
    """Best-candidate sampling: of each next N_CANDIDATES points the one farthest from all taken before."""
    groups = points.reshape(n, N_CANDIDATES, 3)
    taken = np.empty((n, 3))
    for k, group in enumerate(groups):
        gaps = np.linalg.norm(group[:, None] - taken[None, :k], axis=-1)  # (N_CANDIDATES, k)
        taken[k] = group[0] if k == 0 else group[gaps.min(axis=1).argmax()]
    return taken


def camera_poses(
    room: Scene, n: int, height_range_m: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:  # (n, 4, 4)
    """Camera-to-world poses (+X right, +Y down, +Z forward) at free positions, spread over the room.

    Any first few of them look in all directions and at all pitches: both follow golden-ratio sequences. The paper draws
    its poses at 1.4-1.8 m too but does not say how they are spread. ``coverage`` turns some of them to what is unseen.
    """
    eyes = spread_positions(room, n, height_range_m, rng)
    first_yaw, first_pitch = rng.random(2)
    poses = np.empty((n, 4, 4))
    for k, eye in enumerate(eyes):
        yaw = 2 * math.pi * ((first_yaw + k * GOLDEN) % 1)
        if room.ahead_m((eye[0], eye[1]), (math.cos(yaw), math.sin(yaw))) < LOOK_AHEAD_M:
            yaw += math.pi
        share = (first_pitch + k * GOLDEN**2 * math.sqrt(2)) % 1
        pitch = math.radians(PITCH_DEG[0] + share * (PITCH_DEG[1] - PITCH_DEG[0]))
        forward = np.array([math.cos(pitch) * math.cos(yaw), math.cos(pitch) * math.sin(yaw), math.sin(pitch)])
        poses[k] = look_at(eye, eye + forward)
    return poses


def panorama_cameras(room: Scene, n: int, rng: np.random.Generator) -> np.ndarray:  # (n, 3) metres
    """The middle of the room (paper, section 4) and n - 1 more free positions, spread over it."""
    middle = _middle(room, rng)[None]
    if n == 1:
        return middle
    heights = (PANORAMA_HEIGHT_M, PANORAMA_HEIGHT_M)
    return np.concatenate([middle, spread_positions(room, n - 1, heights, rng)])


def _middle(room: Scene, rng: np.random.Generator) -> np.ndarray:  # (3,) metres
    """The free position nearest the middle of the room's bounds, at 1.6 m."""
    center = np.array([*room.floor_bounds.mean(axis=0), PANORAMA_HEIGHT_M])
    points = np.concatenate([center[None], free_points(room, 1000, (PANORAMA_HEIGHT_M, PANORAMA_HEIGHT_M), rng)])
    roomy = room.is_free(points, WIDE_CLEARANCE_M)
    free = points[roomy if roomy.any() else room.is_free(points, CLEARANCE_M)]
    return free[np.linalg.norm(free - center, axis=1).argmin()]
