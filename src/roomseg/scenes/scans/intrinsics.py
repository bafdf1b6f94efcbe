"""Pinholes from the intrinsic matrices that recordings come with.

Those put pixel centres at whole numbers; ``Pinhole`` puts the centre of the first pixel at 0.5, so the principal
point moves by half a pixel.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from roomseg.errors import UserError
from roomseg.geometry.cameras import Pinhole
from roomseg.scenes.scans.images import Size
from roomseg.scenes.scans.registration import Rig
from roomseg.scenes.scans.textfiles import read_json, read_matrix

LENS_FILES = (
    "intrinsics.txt",
    "camera-intrinsics.txt",
    "intrinsics.json",
    "intrinsic.json",
    "camera_intrinsic.json",
    "camera.json",
)


def lens_matrix(fx: float, fy: float, cx: float, cy: float) -> np.ndarray:  # (3, 3)
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def pinhole(matrix: np.ndarray, size: Size, where: str) -> Pinhole:
    """Of a matrix (3, 3) or (4, 4) with pixel centres at whole numbers.

    Raises ``UserError`` where the focal lengths or the principal point cannot belong to an image of the ``size``.
    """
    fx, fy, cx, cy = (float(matrix[i, j]) for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    if not (np.isfinite([fx, fy, cx, cy]).all() and fx > 0 and fy > 0):
        raise UserError(f"{where}: got focal lengths {fx}, {fy} and centre {cx}, {cy}; expected finite, positive ones")
    if not _fits(matrix, size):
        raise UserError(
            f"{where}: got a principal point ({cx:g}, {cy:g}) for images of {size[0]} x {size[1]}; expected one near "
            "the middle: give the intrinsics of the images as they are"
        )
    return Pinhole(*size, fx, fy, cx + 0.5, cy + 0.5)


def _fits(matrix: np.ndarray, size: Size) -> bool:
    """Whether the principal point lies in the middle half of the image."""
    return all(0.25 * side <= matrix[axis, 2] + 0.5 <= 0.75 * side for axis, side in enumerate(size))


def resized(camera: Pinhole, size: Size, where: str) -> Pinhole:
    """The same view in another number of pixels; raises ``UserError`` where the sides are in another proportion."""
    across, down = size[0] / camera.width, size[1] / camera.height
    if abs(across / down - 1) > 0.02:
        raise UserError(
            f"{where}: images of {camera.width} x {camera.height} and {size[0]} x {size[1]} cannot show the same view; "
            "expected colour and depth of one proportion: register them first"
        )
    return Pinhole(*size, camera.fx * across, camera.fy * down, camera.cx * across, camera.cy * down)


def registered_rig(folder: Path, depth: Size, color: Size, default: np.ndarray) -> Rig:
    """Depth and colour of one view, maybe of two sizes, with the folder's own lens file or else the ``default``.

    A lens file that does not say for which size it is belongs to the depth, or to the colour where only that fits.
    """
    matrix, size, where = own_lens(folder) or (default, None, f"{folder}: the layout's usual intrinsics")
    if size is None:
        size = color if _fits(matrix, color) and not _fits(matrix, depth) else depth
    camera = pinhole(matrix, size, where)
    return Rig(resized(camera, depth, where), resized(camera, color, where), np.eye(4))


def own_lens(folder: Path) -> tuple[np.ndarray, Size | None, str] | None:
    """Matrix, image size where it is said, and name of the lens file that the folder has, if it has one."""
    path = next((folder / name for name in LENS_FILES if (folder / name).is_file()), None)
    if path is None:
        return None
    if path.suffix == ".txt":
        return read_matrix(path, (3, 4)), None, str(path)
    return (*json_lens(read_json(path), str(path)), str(path))


def json_lens(entry: object, where: str) -> tuple[np.ndarray, Size]:
    """Open3D's pinhole: ``width``, ``height`` and ``intrinsic_matrix``, 9 numbers, column-major."""
    try:
        values = entry if isinstance(entry, dict) else {}
        columns = np.array(values["intrinsic_matrix"], np.float64).reshape(3, 3)
        return columns.T, (int(values["width"]), int(values["height"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise UserError(f"{where}: expected width, height and intrinsic_matrix with 9 numbers, as Open3D's") from None
