"""Pictures of recordings: colour, 16-bit depth and class ids, decoded only after their size has been looked at."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from roomseg.errors import UserError
from roomseg.scenes.scans.textfiles import read_bytes

MAX_SIDE_PX = 8192
MAX_IMAGE_BYTES = 64 * 2**20

Size = tuple[int, int]  # width, height

_BAD_IMAGE = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def read_image(path: Path) -> bytes:
    return read_bytes(path, MAX_IMAGE_BYTES)


def image_size(path: Path) -> Size:
    """Width and height from the head of the file."""
    with _opened(read_image(path), str(path), ("PNG", "JPEG", "PPM")) as image:
        return image.size


def decode_color(data: bytes, where: str, size: Size) -> np.ndarray:  # (H, W, 3) uint8
    """A PNG or JPEG picture of the ``size``; raises ``UserError``."""
    with _opened(data, where, ("PNG", "JPEG")) as image:
        check_size(image.size, size, where)
        return np.asarray(image.convert("RGB"))


def decode_depth(data: bytes, where: str, size: Size) -> np.ndarray:  # (H, W) uint16
    """A PNG or PGM picture of the ``size`` with 16 bits a pixel; raises ``UserError``, for 8 bits too."""
    with _opened(data, where, ("PNG", "PPM")) as image:
        check_size(image.size, size, where)
        if image.mode != "I" and not image.mode.startswith("I;16"):
            raise UserError(
                f"{where} has pixels of the kind {image.mode}; expected 16 bits: 8-bit depth is a picture for people, "
                "export the sensor's values"
            )
        return np.asarray(image).astype(np.uint16)


def decode_ids(data: bytes, where: str) -> np.ndarray:  # (H, W) uint8 or uint16
    """A PNG of class ids, as many bits as the file has; of a palette the indices. Raises ``UserError``."""
    with _opened(data, where, ("PNG",)) as image:
        if image.mode in ("L", "P"):
            return np.asarray(image)
        if image.mode == "I" or image.mode.startswith("I;16"):
            return np.asarray(image).astype(np.uint16)
        raise UserError(
            f"{where} has pixels of the kind {image.mode}; expected class ids of 8 or 16 bits: export ids, no colours"
        )


def check_size(got: Size, expected: Size, where: str) -> None:
    if got != expected:
        raise UserError(
            f"{where} is {got[0]} x {got[1]}; expected {expected[0]} x {expected[1]} as the camera: "
            "export the pictures at one size"
        )


@contextmanager
def _opened(data: bytes, where: str, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    try:
        with Image.open(BytesIO(data), formats=formats) as image:
            if max(image.size) > MAX_SIDE_PX:
                raise UserError(f"{where} is {image.width} x {image.height}; expected at most {MAX_SIDE_PX} a side")
            yield image
    except UserError:
        raise
    except _BAD_IMAGE as error:
        kinds = " or ".join(formats)
        raise UserError(f"{where} is no whole picture ({error}); expected {kinds}: export it again") from None
