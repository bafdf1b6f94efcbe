"""Which way is up in a recording's world, and the rotation that makes it +Z."""

from __future__ import annotations

from typing import Literal

import numpy as np

from roomseg.scenes.scans.points import grid_points
from roomseg.scenes.scans.recording import RecordedFrames, Recording

Up = Literal["+z", "+y", "-y", "auto"]

AXES: dict[str, tuple[float, float, float]] = {"+z": (0, 0, 1), "+y": (0, 1, 0), "-y": (0, -1, 0)}
LOOKED_AT = 12  # frames
PIXELS_ACROSS = 80  # of a frame that normals are taken from
CONES_DEG = (30.0, 15.0, 7.5)  # normals within them of the guess are averaged to a better one, in turn
LEAST_SHARE = 0.03  # of all normals that must lie in a cone


def world_to_z_up(up: Up, recording: Recording, max_depth_m: float) -> np.ndarray:  # (4, 4)
    """The turn of a recording's world that puts its ``up`` on +Z; the floor's height is left as it is."""
    direction = _seen_up(recording, max_depth_m) if up == "auto" else np.array(AXES[up], np.float64)
    world = np.eye(4)
    world[:3, :3] = rotation_to_z(direction)
    return world


def rotation_to_z(direction: np.ndarray) -> np.ndarray:  # (3,) -> (3, 3)
    """The least turn that takes the direction to +Z; straight down turns about X."""
    x, y, z = direction / np.linalg.norm(direction)
    if z < -1 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])
    return np.array(
        [[1 - x * x / (1 + z), -x * y / (1 + z), -x], [-x * y / (1 + z), 1 - y * y / (1 + z), -y], [x, y, z]]
    )


def _seen_up(recording: Recording, max_depth_m: float) -> np.ndarray:  # (3,) unit
    """The way up in the images, on the mean over all poses, then the mean normal of the surfaces that face along it.

    People hold cameras upright, so the first is within some 30 degrees; floors, tables and ceilings give the rest.
    Where too few surfaces face that way the first guess stands.
    """
    guess = -np.mean([shot.pose[:3, 1] for shot in recording.shots], axis=0)
    if np.linalg.norm(guess) < 0.1:  # held every way: no guess to be had
        guess = np.array(AXES["+z"])
    guess /= np.linalg.norm(guess)
    frames = RecordedFrames(recording, np.eye(4), max_depth_m)
    normals = np.concatenate([_normals(depth, recording, pose) for depth, pose in frames.depths(LOOKED_AT)])
    for cone in CONES_DEG:
        along = normals @ guess
        near = np.abs(along) > np.cos(np.radians(cone))
        if near.sum() < max(LEAST_SHARE * len(normals), 3):
            break
        guess = (normals[near] * np.sign(along[near])[:, None]).mean(axis=0)
        guess /= np.linalg.norm(guess)
    return guess


def _normals(depth: np.ndarray, recording: Recording, pose: np.ndarray) -> np.ndarray:  # (n, 3) unit
    """Of the surface between grid points of a frame; across edges they point anywhere, and few agree."""
    points, seen = grid_points(depth, recording.rig.depth, pose, PIXELS_ACROSS)
    across, down = points[:-1, 1:] - points[:-1, :-1], points[1:, :-1] - points[:-1, :-1]
    normal = np.cross(across, down)[seen[:-1, :-1] & seen[:-1, 1:] & seen[1:, :-1]]
    length = np.linalg.norm(normal, axis=1)
    return normal[length > 0] / length[length > 0, None]
