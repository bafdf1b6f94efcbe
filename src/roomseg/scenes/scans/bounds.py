"""How large a volume a scan needs: found from a spread of its frames, deaf to stray depths."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from roomseg.errors import UserError
from roomseg.scenes.scans.points import grid_points
from roomseg.scenes.scans.recording import RecordedFrames
from roomseg.scenes.source import Scan

LOOKED_AT = 64  # frames of a recording
PIXELS_ACROSS = 40  # looked at in a frame
CELL_M = 0.2
LEAST_POINTS = 3  # of a cell that counts
CUT_PERCENT = 0.5  # of the cells, at each end of each axis
MARGIN_M = 0.2
MAX_POINTS = 2**20
MAX_EXTENT_M = 60.0


def scan_bounds(scan: Scan, max_depth_m: float) -> np.ndarray:  # (2, 3) metres
    """Lowest and highest corner of what the frames see within ``max_depth_m``.

    The points are counted in cells, so a place that was looked at for long weighs no more than another; cells with few
    points and the outermost half percent of the others on each side do not count, then a margin is added.
    Raises ``UserError`` for a scan without depth, or one that spreads beyond ``MAX_EXTENT_M``.
    """
    points = _thinned(_points(scan, max_depth_m))
    cells, count = np.unique(np.floor(points / CELL_M).astype(np.int64), axis=0, return_counts=True)
    kept = cells[count >= LEAST_POINTS]
    if not len(kept):
        raise UserError(f"{scan.id}: the frames have no depth within {max_depth_m} m; expected some: check its unit")
    centres = (kept + 0.5) * CELL_M
    lower, upper = np.percentile(centres, (CUT_PERCENT, 100 - CUT_PERCENT), axis=0)
    bounds = np.stack([lower - CELL_M / 2 - MARGIN_M, upper + CELL_M / 2 + MARGIN_M])
    extent = bounds[1] - bounds[0]
    if extent.max() > MAX_EXTENT_M:
        size = " x ".join(f"{side:.0f}" for side in extent)
        raise UserError(
            f"{scan.id}: the frames spread over {size} m; expected at most {MAX_EXTENT_M:.0f}: poses must be camera to "
            "world, in metres"
        )
    return bounds


def _points(scan: Scan, max_depth_m: float) -> Iterator[np.ndarray]:  # each (n, 3) of a frame
    if isinstance(scan.frames, RecordedFrames):  # spares the colours and most of the frames
        camera = scan.frames.recording.rig.depth
        views = ((depth, camera, pose) for depth, pose in scan.frames.depths(LOOKED_AT))
    else:
        views = ((posed.frame.depth, posed.camera, posed.pose) for posed in scan.frames())
    for depth, camera, pose in views:
        points, seen = grid_points(np.where(depth <= max_depth_m, depth, 0), camera, pose, PIXELS_ACROSS)
        yield points[seen]


def _thinned(parts: Iterator[np.ndarray]) -> np.ndarray:  # (n, 3), n not far above MAX_POINTS
    """All the points, or a spread of them: whenever they are too many, every third is kept."""
    kept: list[np.ndarray] = []
    every, total = 1, 0
    for points in parts:
        kept.append(points[::every])
        total += len(kept[-1])
        if total > MAX_POINTS:
            kept, every = [part[::3].copy() for part in kept], 3 * every
            total = sum(map(len, kept))
    return np.concatenate(kept) if kept else np.zeros((0, 3))
