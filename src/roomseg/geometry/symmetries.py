"""The eight ways to turn a room about the vertical by quarter turns and to mirror it, for volumes and panoramas alike.

Axes X and Y come first in every array here; Z stays. All is exact: voxels and pixels are permuted, never resampled.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Sizes = tuple[int, int, int]


@dataclass(frozen=True)
class Symmetry:
    """First mirrored, X to -X; then turned ``turns`` times by 90 degrees from X towards Y, as seen from above."""

    turns: int = 0
    mirrored: bool = False

    def volume(self, array: np.ndarray) -> np.ndarray:  # (X, Y, ...) -> (X', Y', ...), a view
        flipped = array[::-1] if self.mirrored else array
        return np.rot90(flipped, self.turns, axes=(0, 1))

    def shape(self, sizes: Sizes) -> Sizes:
        x, y, z = sizes
        return (y, x, z) if self.turns % 2 else (x, y, z)

    def point(self, voxel: np.ndarray, sizes: Sizes) -> np.ndarray:  # (..., 3), both in voxels
        """Where a place of the room, such as the camera, comes to lie."""
        x, y, z = np.moveaxis(np.asarray(voxel), -1, 0)
        nx, ny, _ = sizes
        if self.mirrored:
            x = nx - 1 - x
        for _ in range(self.turns % 4):
            x, y = ny - 1 - y, x
            nx, ny = ny, nx
        return np.stack([x, y, z], axis=-1)

    def places(self, index: np.ndarray, sizes: Sizes) -> np.ndarray:  # (...) flat in C order, both; -1 stays
        """Where voxels come to lie."""
        known = index >= 0
        places = np.stack(np.unravel_index(np.where(known, index, 0), sizes), axis=-1)
        moved = np.moveaxis(self.point(places, sizes), -1, 0)
        flat = np.ravel_multi_index(tuple(moved), self.shape(sizes))
        return np.where(known, flat, -1).astype(index.dtype)

    def panorama(self, image: np.ndarray) -> np.ndarray:  # (H, 2H, ...), both; H even
        """What the camera sees in the moved room: the columns rolled by quarters, and reversed where it is mirrored."""
        columns = image.shape[1]
        seen = np.roll(image[:, ::-1], columns // 2, axis=1) if self.mirrored else image
        return np.roll(seen, self.turns * (columns // 4), axis=1)
