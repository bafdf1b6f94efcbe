"""A box room with a table, and what a rig of two cameras sees of it: pictures with known depths, colours and ids."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from roomseg.geometry.cameras import Pinhole, look_at
from roomseg.geometry.mesh import TriangleMesh, join_meshes, plain_mesh
from roomseg.geometry.raster import pack_mesh, render_frame
from roomseg.scenes.scans.registration import Rig

ROOM_M = np.array([[0.0, 0.0, 0.0], [4.0, 3.0, 2.5]])
TABLE_M = np.array([[2.4, 1.8, 0.0], [3.4, 2.6, 0.8]])
WALL, FLOOR, TABLE, CEILING = 1, 3, 4, 41  # as ScanNet numbers them

# Of the two cameras, with pixel centres at whole numbers, as files have them.
DEPTH_LENS = np.array([[62.0, 0, 31.2], [0, 61.0, 24.4], [0, 0, 1]])
COLOR_LENS = np.array([[95.0, 0, 47.9], [0, 96.0, 35.1], [0, 0, 1]])
DEPTH_SIZE, COLOR_SIZE = (64, 48), (96, 72)


def box(corners_m: np.ndarray, labels: tuple[int, ...], colors: tuple[tuple[int, int, int], ...]) -> TriangleMesh:
    """An axis-aligned box; labels and colours of its sides at low x, high x, low y, high y, low z, high z."""
    low, high = corners_m
    vertices = np.array([[(low, high)[i][0], (low, high)[j][1], (low, high)[k][2]] for i, j, k in np.ndindex(2, 2, 2)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    sides = [
        plain_mesh(vertices, np.array([(a, b, c), (a, c, d)]), label, color)
        for (a, b, c, d), label, color in zip(quads, labels, colors, strict=True)
    ]
    return join_meshes(sides)


@lru_cache(maxsize=1)
def room_mesh() -> TriangleMesh:
    walls = ((200, 60, 60), (60, 200, 60), (60, 60, 200), (200, 200, 60), (120, 100, 80), (240, 240, 240))
    shell = box(ROOM_M, (WALL, WALL, WALL, WALL, FLOOR, CEILING), walls)
    return join_meshes([shell, box(TABLE_M, (TABLE,) * 6, ((150, 40, 150),) * 6)])


@dataclass(frozen=True)
class Take:
    """A frame as a file has it."""

    pose: np.ndarray  # (4, 4) depth camera to world
    depth_mm: np.ndarray  # (h, w) uint16
    rgb: np.ndarray  # (H, W, 3) uint8, of the colour camera
    ids: np.ndarray  # (H, W) uint8, of the colour camera


def half_pixel_pinhole(lens: np.ndarray, size: tuple[int, int]) -> Pinhole:
    return Pinhole(*size, lens[0, 0], lens[1, 1], lens[0, 2] + 0.5, lens[1, 2] + 0.5)


def two_camera_rig() -> Rig:
    """The colour camera 2.5 cm beside the depth camera and turned by 2 degrees."""
    angle = np.radians(2)
    to_color = np.eye(4)
    to_color[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    to_color[:3, 3] = (-0.025, 0.004, 0.001)
    return Rig(half_pixel_pinhole(DEPTH_LENS, DEPTH_SIZE), half_pixel_pinhole(COLOR_LENS, COLOR_SIZE), to_color)


def one_camera_rig(lens: np.ndarray, size: tuple[int, int]) -> Rig:
    """Colour registered to depth."""
    camera = half_pixel_pinhole(lens, size)
    return Rig(camera, camera, np.eye(4))


def poses(n: int) -> list[np.ndarray]:
    """Looking round from the middle of the free part, upright, now up and now down."""
    eye = np.array([1.5, 1.2, 1.5])
    turns = np.linspace(0, 2 * np.pi, n, endpoint=False)
    pitches = np.resize([-0.45, 0.5, -0.15], n)
    return [
        look_at(eye, eye + np.array([np.cos(turn), np.sin(turn), pitch]))
        for turn, pitch in zip(turns, pitches, strict=True)
    ]


def takes(rig: Rig, n: int) -> list[Take]:
    mesh = pack_mesh(room_mesh())
    made = []
    for pose in poses(n):
        depth = render_frame(mesh, rig.depth, pose).depth
        color = render_frame(mesh, rig.color, pose @ np.linalg.inv(rig.depth_to_color))
        made.append(Take(pose, np.rint(1000 * depth).astype(np.uint16), color.rgb, color.label))
    return made


def inner(ids: np.ndarray) -> np.ndarray:  # (H, W) -> (H, W) bool
    """Pixels whose neighbours, two each way, have the same id."""
    same = np.ones(ids.shape, bool)
    for rows, cols in np.ndindex(5, 5):
        same &= np.roll(ids, (rows - 2, cols - 2), (0, 1)) == ids
    same[[0, 1, -2, -1]] = same[:, [0, 1, -2, -1]] = False
    return same
